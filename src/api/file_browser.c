// SPDX-License-Identifier: Apache-2.0
/*
 * The file browser's look at folders. A path is resolved, opened, and what was opened is asked for
 * its name again before it is read: so a folder that is exchanged for a link meanwhile shows
 * nothing. Hidden entries, links that lead out of the roots, sockets and the like, and names that
 * are not UTF-8 are left out.
 */
#include "api/file_browser.h"

#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "base/timefmt.h"

const struct paging_kind browser_paging = {
    .sorts = "name size modified",
    .texts = "name",
    .filters = "",
};

/* ---- where a path leads ---- */

static bool is_below(const char *path, const char *root)
{
    const size_t n = strlen(root);

    return str_eq(root, "/") || (strncmp(path, root, n) == 0 && (!path[n] || path[n] == '/'));
}

/* path: resolved */
static bool is_allowed(const char *const *roots, const char *path)
{
    for (; *roots; roots++) {
        _cleanup_(freep) char *root = realpath(*roots, NULL);

        if (root && is_below(path, root)) {
            return true;
        }
    }
    return false;
}

/* Cuts the last name off; false: nothing but the root is left. */
static bool cut_last(char *path)
{
    char *slash = strrchr(path, '/');

    if (!slash || !path[1]) {
        return false;
    }
    slash[slash == path] = '\0'; /* "/a" becomes "/" */
    return true;
}

/* Does the part of it that is there lie below a root? */
static bool is_missing_inside(const char *const *roots, const char *path)
{
    _cleanup_(freep) char *rest = xstrdup(path);

    while (cut_last(rest)) {
        _cleanup_(freep) char *real = realpath(rest, NULL);

        if (real) {
            return is_allowed(roots, real);
        }
    }
    return false;
}

static int refuse(const char *path, int code, struct error *reterr)
{
    switch (code) {
    case ENOENT:
        return error_set(reterr, -ENOENT, "there is nothing at %s", path);
    case EACCES:
    case EPERM:
        return error_set(reterr, -EACCES, "berth may not read %s", path);
    default:
        return error_set(reterr, -EINVAL, "%s cannot be read: %s", path, strerror(code));
    }
}

static int say_outside(struct error *reterr)
{
    return error_set(reterr, -EPERM,
                     "this path lies outside the folders that may be shown "
                     "(files.roots)");
}

/* *ret: where it leads, owned by the caller. */
static int resolve(const char *const *roots, const char *path, char **ret, struct error *reterr)
{
    _cleanup_(freep) char *real = NULL;
    int code;

    if (path[0] != '/' || strlen(path) > BROWSER_PATH_MAX || !is_valid_utf8(path, strlen(path))) {
        return error_set(reterr, -EINVAL, "path must be an absolute path, in UTF-8");
    }
    real = realpath(path, NULL);
    code = errno;
    if (real ? !is_allowed(roots, real) : !is_missing_inside(roots, path)) {
        return say_outside(reterr);
    }
    if (!real) {
        return refuse(path, code == ENOTDIR ? ENOENT : code, reterr);
    }
    if (!is_valid_utf8(real, strlen(real))) { /* a link to it: no answer could name it */
        return error_set(reterr, -EINVAL, "%s leads to a name that is not UTF-8", path);
    }
    *ret = TAKE_PTR(real);
    return 0;
}

/* ---- entries ---- */

static bool is_model_name(const char *name)
{
    static const char *const endings[] = { ".gguf", ".bin",    ".safetensors", ".pt",  ".pth",
                                           ".onnx", ".tflite", ".h5",          ".pkl", ".joblib" };
    const size_t n = strlen(name);

    for (size_t i = 0; i < ARRAY_SIZE(endings); i++) {
        const size_t m = strlen(endings[i]);

        if (n > m && strcasecmp(name + n - m, endings[i]) == 0) {
            return true;
        }
    }
    return false;
}

static json_t *modified_json(const struct stat *st)
{
    char text[TIMEFMT_SIZE];

    timefmt_iso((int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000, text);
    return json_string(text);
}

static char *join(const char *folder, const char *name)
{
    return xasprintf("%s%s%s", folder, str_eq(folder, "/") ? "" : "/", name);
}

/* A folder of a model has a config.json, as those of Hugging Face. */
static bool is_model_folder(int fd, const char *name)
{
    _cleanup_(freep) char *config = join(name, "config.json");

    return faccessat(fd, config, F_OK, 0) == 0;
}

static json_t *directory_json(int fd, const char *name, const char *path, const struct stat *st)
{
    return json_pack("{s:s, s:s, s:b, s:b, s:o}", "name", name, "path", path, "accessible",
                     faccessat(fd, name, R_OK | X_OK, AT_EACCESS) == 0, "is_model",
                     is_model_folder(fd, name), "modified", modified_json(st));
}

static json_t *file_json(const char *name, const char *path, const struct stat *st)
{
    return json_pack("{s:s, s:I, s:o, s:b, s:s}", "name", name, "size", (json_int_t)st->st_size,
                     "modified", modified_json(st), "is_model", is_model_name(name), "path", path);
}

/* A folder that is being read. */
struct reading {
    const char *const *roots;
    const char *folder; /* resolved */
    const char *q;      /* NULL: all names */
    int fd;
    json_t *directories, *files;
    bool truncated;
};

static bool leads_inside(const struct reading *r, const char *path)
{
    _cleanup_(freep) char *real = realpath(path, NULL);

    return real && is_allowed(r->roots, real);
}

static void add_entry(struct reading *r, const char *name)
{
    _cleanup_(freep) char *path = join(r->folder, name);
    struct stat st;

    if (name[0] == '.' || (r->q && !strcasestr(name, r->q)) || !is_valid_utf8(path, strlen(path)) ||
        fstatat(r->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        return;
    }
    if (S_ISLNK(st.st_mode) && (!leads_inside(r, path) || fstatat(r->fd, name, &st, 0) < 0)) {
        return;
    }
    if (S_ISDIR(st.st_mode)) {
        json_array_append_new(r->directories, directory_json(r->fd, name, path, &st));
    } else if (S_ISREG(st.st_mode)) {
        json_array_append_new(r->files, file_json(name, path, &st));
    }
}

static void read_entries(struct reading *r, DIR *dir)
{
    const struct dirent *entry;

    for (unsigned looks = 0; (entry = readdir(dir)); looks++) {
        if (looks == BROWSER_LOOKS_MAX ||
            json_array_size(r->directories) + json_array_size(r->files) == BROWSER_ENTRIES_MAX) {
            r->truncated = true;
            return;
        }
        add_entry(r, entry->d_name);
    }
}

/* ---- a folder ---- */

/* Opens what resolve found. */
static int open_folder(const char *const *roots, const char *real, DIR **ret, struct error *reterr)
{
    char link[64], now[PATH_MAX];
    ssize_t n;
    int fd;

    assert(real);
    fd = open(real, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        return errno == ENOTDIR ? error_set(reterr, -ENOTDIR, "%s is not a folder", real)
                                : refuse(real, errno, reterr);
    }
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    n = readlink(link, now, sizeof(now) - 1);
    now[n > 0 ? n : 0] = '\0';
    if (n <= 0 || !is_allowed(roots, now)) {
        close(fd);
        return say_outside(reterr);
    }
    *ret = fdopendir(fd);
    if (!*ret) {
        close(fd);
        return refuse(real, errno, reterr);
    }
    return 0;
}

static json_t *parent_json(const char *const *roots, const char *path)
{
    _cleanup_(freep) char *parent = xstrdup(path);

    return cut_last(parent) && is_allowed(roots, parent) ? json_string(parent) : json_null();
}

static json_t *roots_json(const char *const *roots)
{
    json_t *list = json_array();

    for (; *roots; roots++) {
        json_array_append_new(list, json_string(*roots));
    }
    return list;
}

/* Sorted, and what q leaves, of all pages; the list is stolen. */
static json_t *sorted(const struct paging *paging, json_t *list)
{
    struct paging all = *paging;
    size_t total;

    all.offset = 0;
    all.limit = UINT64_MAX;
    all.sort = all.sort ? all.sort : UNCONST(char *, "name");
    return paging_take(&all, list, &total);
}

/* One page of the folders and the files behind them: cuts both lists, which are owned. */
static size_t cut_page(const struct paging *paging, json_t *directories, json_t *files)
{
    const size_t folders = json_array_size(directories), total = folders + json_array_size(files);
    size_t end = paging->limit < total - MIN_OF(total, paging->offset)
                     ? paging->offset + paging->limit
                     : total;

    for (size_t i = total; i-- > 0;) {
        if (i < paging->offset || i >= end) {
            json_array_remove(i < folders ? directories : files, i < folders ? i : i - folders);
        }
    }
    return total;
}

int browser_list(const char *const *roots, const char *path, const struct paging *paging,
                 json_t **ret, struct error *reterr)
{
    _cleanup_(freep) char *real = NULL;
    struct reading reading = { .roots = roots, .q = paging->q };
    DIR *dir = NULL;
    size_t total;
    int r = resolve(roots, path, &real, reterr);

    r = r < 0 ? r : open_folder(roots, real, &dir, reterr);
    if (r < 0) {
        return r;
    }
    assert(real && dir);
    reading.folder = real;
    reading.fd = dirfd(dir);
    reading.directories = json_array();
    reading.files = json_array();
    read_entries(&reading, dir);
    closedir(dir);
    reading.directories = sorted(paging, reading.directories);
    reading.files = sorted(paging, reading.files);
    total = cut_page(paging, reading.directories, reading.files);
    *ret = json_pack("{s:s, s:o, s:o, s:o, s:o, s:I, s:b}", "path", real, "directories",
                     reading.directories, "files", reading.files, "parent",
                     parent_json(roots, real), "allowed_roots", roots_json(roots), "total_count",
                     (json_int_t)total, "truncated", reading.truncated);
    return 0;
}

/* ---- one path, and the roots ---- */

int browser_look(const char *const *roots, const char *path, json_t **ret, struct error *reterr)
{
    _cleanup_(freep) char *real = NULL;
    const char *name;
    struct stat st;
    bool folder;
    int r = resolve(roots, path, &real, reterr);

    if (r < 0) {
        return r;
    }
    assert(real);
    if (stat(real, &st) < 0 || access(real, R_OK) < 0) {
        return refuse(path, errno, reterr);
    }
    folder = S_ISDIR(st.st_mode);
    name = strrchr(real, '/') + 1;
    *ret = json_pack("{s:b, s:{s:s, s:I, s:o, s:b}, s:s}", "is_model",
                     folder ? is_model_folder(AT_FDCWD, real) : is_model_name(name), "file_info",
                     "name", name, "size", (json_int_t)st.st_size, "modified", modified_json(&st),
                     "is_directory", folder, "path", real);
    return 0;
}

json_t *browser_roots(const char *const *roots)
{
    json_t *list = json_array();

    for (; *roots; roots++) {
        const char *name = strrchr(*roots, '/');

        json_array_append_new(list, json_pack("{s:s, s:s, s:b}", "path", *roots, "name",
                                              name && name[1] ? name + 1 : *roots, "accessible",
                                              access(*roots, R_OK | X_OK) == 0));
    }
    return list;
}
