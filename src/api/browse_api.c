// SPDX-License-Identifier: Apache-2.0
/*
 * The file browser's doors, /api/files: what a model's definition may name. The roots are those of
 * files.roots, or the folders in which the defined models' files lie; file_browser.c looks, on a
 * worker of its own, since a file system may hang.
 */
#include <stdlib.h>
#include <string.h>

#include "api/api_int.h"
#include "api/file_browser.h"
#include "base/mem.h"
#include "base/worker.h"

enum { ROOTS_MAX = 64, THREADS = 2, JOBS_MAX = 32 };

enum question { BROWSE, LOOK, ROOTS };

struct visit {
    struct job job;
    struct http_exchange *x; /* NULL once the client is gone */
    enum question question;
    char *path;
    char **roots; /* NULL-terminated, owned */
    struct paging paging;
    int result;
    json_t *answer;
    struct error error;
};

/* ---- the roots ---- */

static bool is_known(char *const *roots, size_t count, const char *root)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(roots[i], root)) {
            return true;
        }
    }
    return false;
}

static void add_root(char **roots, size_t *count, struct span root)
{
    _cleanup_(freep) char *text = span_dup(root);

    if (*count < ROOTS_MAX && !is_known(roots, *count, text) && is_valid_utf8(text, strlen(text))) {
        roots[(*count)++] = TAKE_PTR(text);
    }
}

/* "/models/a.gguf": "/models". Nobody means all of the disk by a file that lies at its top. */
static void add_folder_of(char **roots, size_t *count, const char *path)
{
    const char *slash = strrchr(path, '/');

    if (path[0] == '/' && slash != path) {
        add_root(roots, count, (struct span){ path, (size_t)(slash - path) });
    }
}

/* NULL-terminated, owned by the caller. */
static char **collect_roots(struct api *api)
{
    const char *const *listed = config_list(api->in.config, "files.roots");
    char **roots = xcalloc(ROOTS_MAX + 1, sizeof(*roots));
    const struct model *model;
    size_t count = 0, cursor = 0;

    for (; listed && *listed; listed++) {
        add_root(roots, &count, span_of(*listed));
    }
    if (count > 0) {
        return roots;
    }
    while ((model = models_next(api->in.models, &cursor))) {
        add_folder_of(roots, &count, model->config->model_path);
    }
    return roots;
}

/* ---- a visit ---- */

static void visit_free(struct visit *v)
{
    for (char **root = v->roots; *root; root++) {
        free(*root);
    }
    free(v->roots);
    free(v->path);
    paging_finish(&v->paging);
    json_decref(v->answer);
    free(v);
}

static void run(struct job *job)
{
    struct visit *v = container_of(job, struct visit, job);
    const char *const *roots = (const char *const *)v->roots;

    switch (v->question) {
    case BROWSE:
        v->result = browser_list(roots, v->path, &v->paging, &v->answer, &v->error);
        break;
    case LOOK:
        v->result = browser_look(roots, v->path, &v->answer, &v->error);
        break;
    case ROOTS:
        v->answer = browser_roots(roots);
        break;
    }
}

static json_t *texts_json(char *const *texts)
{
    json_t *list = json_array();

    for (; *texts; texts++) {
        json_array_append_new(list, json_string(*texts));
    }
    return list;
}

/* The contract: an empty list with the roots, not an error. */
static void respond_outside(struct visit *v)
{
    http_respond_json(v->x, 200,
                      json_pack("{s:o, s:[], s:[], s:n, s:o, s:i, s:b, s:s}", "path",
                                json_text(v->path), "directories", "files", "parent",
                                "allowed_roots", texts_json(v->roots), "total_count", 0,
                                "truncated", 0, "message", v->error.text));
}

static void respond_failure(struct visit *v)
{
    if (v->question == BROWSE && v->result == -EPERM) {
        respond_outside(v);
    } else if (v->question == LOOK && v->result != -EPERM) {
        http_respond_json(v->x, 200,
                          json_pack("{s:b, s:s, s:o}", "valid", 0, "message", v->error.text, "path",
                                    json_text(v->path)));
    } else {
        respond_detail(v->x,
                       v->result == -ENOENT                          ? 404
                       : v->result == -EACCES || v->result == -EPERM ? 403
                                                                     : 400,
                       "%s", v->error.text);
    }
}

static void on_done(struct job *job)
{
    struct visit *v = container_of(job, struct visit, job);

    if (v->x && v->result < 0) {
        respond_failure(v);
    } else if (v->x) {
        if (v->question == LOOK) {
            json_object_set_new(v->answer, "valid", json_true());
        }
        http_respond_json(v->x, 200, json_incref(v->answer));
    }
    visit_free(v);
}

static void on_lost(struct job *job)
{
    visit_free(container_of(job, struct visit, job));
}

static void on_gone(void *arg)
{
    ((struct visit *)arg)->x = NULL;
}

static const struct http_exchange_events visit_events = { .on_gone = on_gone };

static struct worker *browser_worker(struct api *api)
{
    if (!api->browser_worker) {
        api->browser_worker =
            worker_create(api->in.world, &(struct worker_options){ .name = "file browser",
                                                                   .threads = THREADS,
                                                                   .max_queued = JOBS_MAX });
    }
    return api->browser_worker;
}

/* path is taken over; paging NULL: there is none. */
static void visit(struct api *api, struct http_exchange *x, enum question question, char *path,
                  const struct paging *paging)
{
    struct visit *v = xcalloc(1, sizeof(*v));

    v->job = (struct job){ .run = run, .done = on_done, .lost = on_lost };
    v->x = x;
    v->question = question;
    v->path = path;
    v->roots = collect_roots(api);
    v->paging = paging ? *paging : (struct paging){ 0 };
    if (worker_submit(browser_worker(api), &v->job) < 0) {
        respond_detail(x, 503, "too many look at files already; try again in a moment");
        visit_free(v);
        return;
    }
    http_exchange_set_events(x, &visit_events, v);
}

/* ---- the doors ---- */

static char *query_path(struct http_exchange *x)
{
    return http_query_get(http_exchange_head(x)->query, "path");
}

static void handle_browse(void *owner, struct http_exchange *x, const struct route_params *params)
{
    char *path = query_path(x);
    struct paging paging;

    if (!paging_read(x, &browser_paging, &paging)) {
        free(path);
        return;
    }
    visit(owner, x, BROWSE, path ? path : xstrdup("/"), &paging);
}

static void handle_look(void *owner, struct http_exchange *x, const struct route_params *params)
{
    char *path = query_path(x);

    if (!path) {
        paging_refuse(x, "path", "is needed");
        return;
    }
    visit(owner, x, LOOK, path, NULL);
}

static void handle_roots(void *owner, struct http_exchange *x, const struct route_params *params)
{
    visit(owner, x, ROOTS, NULL, NULL);
}

// clang-format off
const struct route browse_routes[] = {
    { "GET", "/api/files/browse",   SCOPE_ADMIN, handle_browse, "What stands in a folder of this machine, of those that files.roots allows: folders first, without what is hidden; at most 2,000 entries.",
      { NULL, "FileList", "200 400 403 404 422 503", "path:string " PAGING_QUERY } },
    { "GET", "/api/files/validate", SCOPE_ADMIN, handle_look,   "Is there a file or folder of this name, and does it look like a model?",
      { NULL, "FileCheck", "200 403 422 503", "path:string" } },
    { "GET", "/api/files/roots",    SCOPE_ADMIN, handle_roots,  "The folders that may be shown.",
      { NULL, "FileRootList", "200 503", NULL } },
};
// clang-format on
const size_t browse_route_count = ARRAY_SIZE(browse_routes);
