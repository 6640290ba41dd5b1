// SPDX-License-Identifier: Apache-2.0
/* What an instance really takes. */
#include "engines/engines_int.h"

void inst_measure(struct inst *inst)
{
}
