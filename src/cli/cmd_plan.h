// SPDX-License-Identifier: Apache-2.0
/* Inside the cli room: the parts of `berth plan`. */
#pragma once

#include "cli/cli_int.h"
#include "presets/presets.h"

/* berth plan check FILE: predictions for the rows of a CSV of measurements, how far off they are,
 * and with rows_path a CSV of each. Returns the exit code. */
int plan_check(struct cli *cli, const char *path, const char *rows_path);
/* All of a file, into a buffer that bounds it (PLAN_FILE_MAX); complains when it cannot. */
enum { PLAN_FILE_MAX = 256 << 20 };
int plan_read_file(const char *path, struct buf *b) _must_check_;

/* What was found, with the question that was asked. */
struct plan_report {
    const struct plan_request *request;
    const struct planner_setup *setup;
    const struct planner_findings *findings;
};
/* plan_view.c: as a table with its legend, or as JSON, also with the bars of the first plan. */
void plan_print_table(const struct cli *cli, const struct plan_report *p);
void plan_print_json(const struct plan_report *p, bool timeline);
/* plan_chart.c: the first plan's timeline as a Gantt chart in text, and as an array of bars (empty
 * when there is none). */
void plan_print_timeline(const struct plan_report *p);
json_t *plan_timeline_json(const struct plan_report *p) _must_check_;

/* plan_lists.c: what is known. Return the exit code. */
int plan_list_chips(const struct cli *cli, const struct presets *presets);
int plan_list_models(const struct cli *cli, const struct presets *presets);

/* plan_calibrate.c: a chip that is set right by measurements, as YAML: of a CSV, or of the daemon's
 * instances of this model; the options say chip, model and plan. Returns the exit code. */
int plan_calibrate(struct cli *cli, const struct presets *presets, const char *what);

/* cmd_plan.c: the options as a question. -EINVAL, having spoken. */
int plan_ask(const struct cli *cli, const struct presets *presets,
             struct plan_request *ret) _must_check_;
