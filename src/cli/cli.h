// SPDX-License-Identifier: Apache-2.0
/* The command line: `berth [--data-dir D | --url U] COMMAND …`. Commands talk HTTP to the daemon
 * like any client. */
#pragma once

/* Runs the command that argv names; returns the exit code: 0 good, 2 wrong usage or refused input,
 * 3 not allowed, 4 not found, 5 not there now, 6 conflict, 1 anything else. */
int cli_main(int argc, char **argv);
