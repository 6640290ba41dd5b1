// SPDX-License-Identifier: Apache-2.0
/* What the task commands share: words for what the daemon tells of tasks, and waiting for one. */
#include "cli/task_view.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "cli/follow.h"

enum { NOTE_MAX_BYTES = 4096 };

static const char *const priorities[] = { NULL, "low", "medium", "high" };

int priority_from_string(const char *text)
{
    for (int i = PRIORITY_LOW; i <= PRIORITY_HIGH; i++) {
        if (str_eq(text, priorities[i]) || (text[0] == '0' + i && !text[1])) {
            return i;
        }
    }
    return 0;
}

const char *priority_name(int64_t priority)
{
    return priority >= PRIORITY_LOW && priority <= PRIORITY_HIGH ? priorities[priority] : "?";
}

char *task_path(const char *id, const char *after)
{
    uint64_t n;

    if (span_to_u64(span_of(id), &n) < 0 || n == 0) {
        complain("'%s' is no task: its number is wanted, as 'berth tasks' shows it", id);
        return NULL;
    }
    return xasprintf("/api/v1/tasks/%llu%s", (unsigned long long)n, after);
}

const json_t *answer_data(const json_t *answer)
{
    return json_object_get(answer, "data");
}

const char *task_model(const json_t *task)
{
    const char *name = member_str(task, "model_name", NULL);

    return name ? name : member_str(json_object_get(task, "model"), "name", "?");
}

/* "the model is offline, place 3, starts in 20s" */
static void add_waiting(struct buf *b, const json_t *waiting)
{
    const int64_t place = member_int(waiting, "place");
    char start[AGE_SIZE];

    buf_puts(b, member_str(waiting, "reason", ""));
    if (place > 0) {
        buf_printf(b, "%splace %lld", b->len > 0 ? ", " : "", (long long)place);
    }
    if (format_until(member_str(waiting, "estimated_start", NULL), start)) {
        buf_printf(b, "%sstarts in %s", b->len > 0 ? ", " : "", start);
    }
}

char *task_note(const json_t *task)
{
    struct buf b = BUF_INIT(NOTE_MAX_BYTES);
    const bool pending = str_eq(member_str(task, "status", ""), "pending");

    if (pending) {
        add_waiting(&b, json_object_get(task, "waiting"));
    }
    if (member_str(task, "error_message", NULL)) {
        buf_printf(&b, "%s%s%s", b.len > 0 ? "; " : "", pending ? "before: " : "",
                   member_str(task, "error_message", ""));
    }
    if (b.len == 0) {
        buf_puts(&b, "");
    }
    return buf_take(&b, NULL);
}

/* ---- waiting for one ---- */

static bool has_ended(const json_t *answer)
{
    const char *status = member_str(answer_data(answer), "status", "?");

    return !str_eq(status, "pending") && !str_eq(status, "running");
}

static void say(const json_t *answer, struct buf *line)
{
    const json_t *task = answer_data(answer);
    _cleanup_(freep) char *note = task_note(task);

    buf_puts(line, member_str(task, "status", "?"));
    if (note && note[0]) {
        buf_printf(line, ", %s", note);
    }
}

static void print_output(const json_t *task)
{
    const json_t *output = json_object_get(task, "output");
    const size_t n = json_string_length(output);

    fwrite(n > 0 ? json_string_value(output) : "", 1, n, stdout);
    if (n == 0 || json_string_value(output)[n - 1] != '\n') {
        putchar('\n');
    }
}

static int tell_end(const struct cli *cli, int64_t id, const json_t *task)
{
    const char *status = member_str(task, "status", "?");
    const bool good = str_eq(status, "completed");

    if (cli->json) {
        print_json(task);
    } else if (good) {
        print_output(task);
    } else {
        const char *why = member_str(task, "error_message", NULL);

        complain("task %lld is %s%s%s", (long long)id, status, why ? ": " : "", why ? why : "");
    }
    return good ? 0 : 1;
}

int task_wait(struct cli *cli, int64_t id, uint64_t limit_ms)
{
    _cleanup_(freep) char *path = xasprintf("/api/v1/tasks/%lld", (long long)id);
    _cleanup_(freep) char *name = xasprintf("task %lld", (long long)id);
    const struct followed f = {
        .path = path, .name = name, .limit_ms = limit_ms, .ended = has_ended, .say = say
    };
    struct reply reply;
    int code = follow_until_end(cli, &f, &reply);

    if (code != 0) {
        return code;
    }
    code = tell_end(cli, id, answer_data(reply.json));
    reply_finish(&reply);
    return code;
}
