// SPDX-License-Identifier: Apache-2.0
/* The way in: everything berth does is a command. */
#include "cli/cli.h"

int main(int argc, char **argv)
{
    return cli_main(argc, argv);
}
