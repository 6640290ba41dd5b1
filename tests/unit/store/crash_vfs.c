// SPDX-License-Identifier: Apache-2.0
/* The disk that forgets. What a file would be after a cut is `durable` plus a random part of
 * `pending`. */
#include "crash_vfs.h"

#include <assert.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

enum { SECTOR = 512 };

struct image {
    char *p;
    size_t n, cap;
};

/* One change since the last sync: bytes at an offset, or (bytes NULL) a new length. */
struct change {
    struct list node;
    char *bytes;
    size_t n;
    uint64_t offset;
};

struct crash_file {
    struct crash_disk *disk;
    char *path; /* NULL: a temporary file, gone when closed */
    unsigned refs;
    bool there;         /* as the program sees it */
    bool durable_there; /* as after a cut, when nothing of what is pending arrives */
    bool fresh; /* made since the last sync: pending starts from nothing, not from durable */
    struct image now, durable;
    struct list pending;
};

struct crash_disk {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    struct map files; /* path → struct crash_file, never removed */
    uint64_t seed, operations, cut_at, capacity;
    bool cut, ignore_syncs;
};

struct handle {
    sqlite3_file base;
    struct crash_file *file;
    sqlite3_file *real; /* of the main database: for locks and shared memory; else NULL */
    bool syncs_folder;  /* a new journal or log: its first sync makes the folder's entries last */
};

static uint64_t next_random(struct crash_disk *d)
{
    uint64_t z = (d->seed += 0x9e3779b97f4a7c15u);

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static bool coin(struct crash_disk *d)
{
    return next_random(d) & 1;
}

/* ---- images and changes ---- */

static void image_resize(struct image *i, size_t n)
{
    if (n > i->cap) {
        i->cap = MAX_OF(n, 2 * i->cap);
        i->p = xrealloc(i->p, i->cap);
    }
    if (n > i->n) {
        memset(i->p + i->n, 0, n - i->n);
    }
    i->n = n;
}

static void image_write(struct image *i, uint64_t offset, const char *p, size_t n)
{
    if (offset + n > i->n) {
        image_resize(i, offset + n);
    }
    assert(i->p);
    memcpy(i->p + offset, p, n);
}

static void image_clear(struct image *i)
{
    free(i->p);
    *i = (struct image){ 0 };
}

static void image_copy(struct image *to, const struct image *from)
{
    image_clear(to);
    image_resize(to, from->n);
    if (from->n) {
        memcpy(to->p, from->p, from->n);
    }
}

static void forget_pending(struct crash_file *f)
{
    struct change *c, *tmp;

    list_for_each_safe (c, tmp, &f->pending, node) {
        list_remove(&c->node);
        free(c->bytes);
        free(c);
    }
}

static void add_pending(struct crash_file *f, const void *p, size_t n, uint64_t offset)
{
    struct change *c = xcalloc(1, sizeof(*c));

    c->bytes = p ? xmemdup(p, n) : NULL;
    c->n = n;
    c->offset = offset;
    list_append(&f->pending, &c->node);
}

/* Some of the sectors that the write touches. */
static void write_torn(struct crash_disk *d, struct image *i, const struct change *c)
{
    uint64_t at = c->offset, end = c->offset + c->n;

    while (at < end) {
        uint64_t stop = MIN_OF((at / SECTOR + 1) * SECTOR, end);

        if (coin(d)) {
            image_write(i, at, c->bytes + (at - c->offset), stop - at);
        }
        at = stop;
    }
}

static void apply_change(struct image *i, const struct change *c)
{
    if (c->bytes) {
        image_write(i, c->offset, c->bytes, c->n);
    } else {
        image_resize(i, c->offset);
    }
}

/* Everything that is pending reaches the disk. */
static void settle(struct crash_file *f)
{
    const struct change *c;

    if (f->fresh || !f->durable_there) {
        image_clear(&f->durable);
    }
    list_for_each (c, &f->pending, node) {
        apply_change(&f->durable, c);
    }
    f->durable_there = true;
    f->fresh = false;
    forget_pending(f);
}

/* How a file's pending changes fared, drawn once a file: nothing, a prefix, or any of them arrived.
 */
static void arrive(struct crash_disk *d, struct crash_file *f)
{
    unsigned manner = (unsigned)(next_random(d) % 4);
    const struct change *c;

    if (manner == 0) {
        return;
    }
    list_for_each (c, &f->pending, node) {
        if (manner == 1 && next_random(d) % 8 == 0) {
            return;
        }
        if (manner == 1) {
            apply_change(&f->durable, c);
        } else if (c->bytes) {
            write_torn(d, &f->durable, c);
        } else if (coin(d)) {
            apply_change(&f->durable, c);
        }
    }
}

static void lose(struct crash_disk *d, struct crash_file *f)
{
    if (f->there &&
        f->fresh) { /* the entry of the new file reached the disk, or what was before stays */
        if (coin(d)) {
            image_clear(&f->durable);
            f->durable_there = true;
            arrive(d, f);
        }
    } else if (f->there) {
        arrive(d, f);
    } else if (f->durable_there && coin(d)) { /* removed, not synced */
        f->durable_there = false;
    }
    if (!f->durable_there) {
        image_clear(&f->durable);
    }
    forget_pending(f);
    image_copy(&f->now, &f->durable);
    f->there = f->durable_there;
    f->fresh = false;
}

/* ---- the power ---- */

/* Counts a changing operation; true: the power is gone. */
static bool power_fails(struct crash_disk *d)
{
    if (!d->cut) {
        d->operations++;
        d->cut = d->cut_at != 0 && d->operations >= d->cut_at;
    }
    return d->cut;
}

void crash_disk_cut_after(struct crash_disk *d, uint64_t n)
{
    d->cut_at = n ? d->operations + n : 0;
}

bool crash_disk_is_cut(const struct crash_disk *d)
{
    return d->cut;
}

void crash_disk_power_on(struct crash_disk *d)
{
    map_for_each(entry, &d->files)
    {
        struct crash_file *f = entry->value;
        char *shm = xasprintf("%s-shm", f->path);

        assert(f->refs == 0);
        lose(d, f);
        unlink(shm);
        free(shm);
    }
    d->cut = false;
    d->cut_at = 0;
}

uint64_t crash_disk_operations(const struct crash_disk *d)
{
    return d->operations;
}

void crash_disk_ignore_syncs(struct crash_disk *d, bool ignore)
{
    d->ignore_syncs = ignore;
}

void crash_disk_set_capacity(struct crash_disk *d, uint64_t bytes)
{
    d->capacity = bytes;
}

uint64_t crash_disk_file_size(const struct crash_disk *d, const char *path)
{
    const struct crash_file *f = map_get(&d->files, path);

    return f && f->there ? f->now.n : 0;
}

static bool too_large(struct crash_disk *d, const struct crash_file *f, uint64_t end)
{
    uint64_t sum = 0;

    if (d->capacity == 0 || end <= f->now.n) {
        return false;
    }
    map_for_each(entry, &d->files)
    {
        const struct crash_file *other = entry->value;

        sum += other == f ? end : other->now.n;
    }
    return sum > d->capacity;
}

/* ---- an open file ---- */

static struct crash_file *file_of(sqlite3_file *base)
{
    return container_of(base, struct handle, base)->file;
}

static sqlite3_file *real_of(sqlite3_file *base)
{
    return container_of(base, struct handle, base)->real;
}

static void file_free(struct crash_file *f)
{
    forget_pending(f);
    image_clear(&f->now);
    image_clear(&f->durable);
    free(f->path);
    free(f);
}

static int on_close(sqlite3_file *base)
{
    struct crash_file *f = file_of(base);
    sqlite3_file *real = real_of(base);

    if (real) {
        real->pMethods->xClose(real);
        free(real);
    }
    f->refs--;
    if (!f->path) {
        file_free(f);
    }
    return SQLITE_OK;
}

static int on_read(sqlite3_file *base, void *out, int n, sqlite3_int64 offset)
{
    const struct crash_file *f = file_of(base);
    size_t have = (uint64_t)offset < f->now.n ? f->now.n - (size_t)offset : 0;

    if (f->disk->cut) {
        return SQLITE_IOERR_READ;
    }
    have = MIN_OF(have, (size_t)n);
    if (have) {
        memcpy(out, f->now.p + offset, have);
    }
    memset((char *)out + have, 0, (size_t)n - have);
    return have == (size_t)n ? SQLITE_OK : SQLITE_IOERR_SHORT_READ;
}

static int on_write(sqlite3_file *base, const void *p, int n, sqlite3_int64 offset)
{
    struct crash_file *f = file_of(base);

    if (f->disk->cut) {
        return SQLITE_IOERR_WRITE;
    }
    if (too_large(f->disk, f, (uint64_t)offset + (uint64_t)n)) {
        return SQLITE_FULL;
    }
    add_pending(f, p, (size_t)n, (uint64_t)offset);
    if (power_fails(f->disk)) {
        return SQLITE_IOERR_WRITE;
    }
    image_write(&f->now, (uint64_t)offset, p, (size_t)n);
    return SQLITE_OK;
}

static int on_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    struct crash_file *f = file_of(base);

    if (f->disk->cut) {
        return SQLITE_IOERR_TRUNCATE;
    }
    add_pending(f, NULL, 0, (uint64_t)size);
    if (power_fails(f->disk)) {
        return SQLITE_IOERR_TRUNCATE;
    }
    image_resize(&f->now, (size_t)size);
    return SQLITE_OK;
}

static void sync_folder(struct crash_disk *d)
{
    map_for_each(entry, &d->files)
    {
        struct crash_file *f = entry->value;

        if (f->fresh || !f->there) {
            image_clear(&f->durable);
            f->durable_there = f->there;
            f->fresh = false;
        }
    }
}

static int on_sync(sqlite3_file *base, int flags)
{
    struct handle *h = container_of(base, struct handle, base);
    struct crash_file *f = h->file;

    if (power_fails(f->disk)) {
        return SQLITE_IOERR_FSYNC;
    }
    if (f->disk->ignore_syncs) {
        return SQLITE_OK;
    }
    if (h->syncs_folder) {
        h->syncs_folder = false;
        sync_folder(f->disk);
    }
    settle(f);
    return SQLITE_OK;
}

static int on_size(sqlite3_file *base, sqlite3_int64 *ret)
{
    *ret = (sqlite3_int64)file_of(base)->now.n;
    return SQLITE_OK;
}

static int on_lock(sqlite3_file *base, int level)
{
    return real_of(base) ? real_of(base)->pMethods->xLock(real_of(base), level) : SQLITE_OK;
}

static int on_unlock(sqlite3_file *base, int level)
{
    return real_of(base) ? real_of(base)->pMethods->xUnlock(real_of(base), level) : SQLITE_OK;
}

static int on_check_lock(sqlite3_file *base, int *ret)
{
    if (real_of(base)) {
        return real_of(base)->pMethods->xCheckReservedLock(real_of(base), ret);
    }
    *ret = 0;
    return SQLITE_OK;
}

static int on_control(sqlite3_file *base, int what, void *arg)
{
    return SQLITE_NOTFOUND;
}

static int on_sector_size(sqlite3_file *base)
{
    return 4096;
}

static int on_characteristics(sqlite3_file *base)
{
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE; /* as the default VFS says */
}

static int on_shm_map(sqlite3_file *base, int page, int size, int extend, void volatile **ret)
{
    return real_of(base)->pMethods->xShmMap(real_of(base), page, size, extend, ret);
}

static int on_shm_lock(sqlite3_file *base, int offset, int n, int flags)
{
    return real_of(base)->pMethods->xShmLock(real_of(base), offset, n, flags);
}

static void on_shm_barrier(sqlite3_file *base)
{
    real_of(base)->pMethods->xShmBarrier(real_of(base));
}

static int on_shm_unmap(sqlite3_file *base, int remove)
{
    return real_of(base)->pMethods->xShmUnmap(real_of(base), remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_lock,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

/* ---- the file system ---- */

static struct crash_file *file_new(struct crash_disk *d, const char *path)
{
    struct crash_file *f = xcalloc(1, sizeof(*f));

    f->disk = d;
    f->path = xstrdup_opt(path);
    list_init(&f->pending);
    if (path) {
        map_put(&d->files, path, f);
    }
    return f;
}

static int open_real(struct crash_disk *d, const char *path, int flags, sqlite3_file **ret)
{
    sqlite3_file *real = xcalloc(1, (size_t)d->real->szOsFile);
    int rc = d->real->xOpen(d->real, path, real, flags | SQLITE_OPEN_CREATE, NULL);

    if (rc != SQLITE_OK) {
        free(real);
        return rc;
    }
    *ret = real;
    return SQLITE_OK;
}

static int make_there(struct crash_disk *d, struct crash_file *f, int flags)
{
    if (f->there) {
        return SQLITE_OK;
    }
    if ((f->path && !(flags & SQLITE_OPEN_CREATE)) || power_fails(d)) {
        return SQLITE_CANTOPEN;
    }
    f->there = f->fresh = true;
    return SQLITE_OK;
}

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *base, int flags,
                   int *ret_flags)
{
    struct crash_disk *d = vfs->pAppData;
    struct handle *h = container_of(base, struct handle, base);
    struct crash_file *f = path ? map_get(&d->files, path) : NULL;
    int rc;

    memset(h, 0, sizeof(*h));
    if (d->cut) {
        return SQLITE_CANTOPEN;
    }
    f = f ? f : file_new(d, path);
    rc = make_there(d, f, flags);
    if (rc == SQLITE_OK && (flags & SQLITE_OPEN_MAIN_DB)) {
        rc = open_real(d, path, flags, &h->real);
    }
    if (rc != SQLITE_OK) {
        return rc;
    }
    f->refs++;
    h->file = f;
    h->base.pMethods = &methods;
    h->syncs_folder =
        (flags & SQLITE_OPEN_CREATE) && (flags & (SQLITE_OPEN_WAL | SQLITE_OPEN_MAIN_JOURNAL));
    if (ret_flags) {
        *ret_flags = flags;
    }
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *path, int sync_dir)
{
    struct crash_disk *d = vfs->pAppData;
    struct crash_file *f = map_get(&d->files, path);

    if (!f || !f->there) {
        return SQLITE_IOERR_DELETE_NOENT;
    }
    if (power_fails(d)) {
        return SQLITE_IOERR_DELETE;
    }
    f->there = false;
    forget_pending(f);
    image_clear(&f->now);
    if (sync_dir && !d->ignore_syncs) {
        f->durable_there = false;
        image_clear(&f->durable);
    }
    return SQLITE_OK;
}

static int on_access(sqlite3_vfs *vfs, const char *path, int flags, int *ret)
{
    struct crash_disk *d = vfs->pAppData;
    const struct crash_file *f = map_get(&d->files, path);

    *ret = f && f->there && (flags != SQLITE_ACCESS_EXISTS || f->now.n > 0);
    return d->cut ? SQLITE_IOERR_ACCESS : SQLITE_OK;
}

struct crash_disk *crash_disk_create(uint64_t seed)
{
    struct crash_disk *d = xcalloc(1, sizeof(*d));

    d->real = sqlite3_vfs_find(NULL);
    d->seed = seed;
    map_init(&d->files);
    d->vfs = *d->real; /* paths, time, randomness, sleep */
    d->vfs.iVersion = 2;
    d->vfs.szOsFile = sizeof(struct handle);
    d->vfs.pNext = NULL;
    d->vfs.zName = "crash";
    d->vfs.pAppData = d;
    d->vfs.xOpen = on_open;
    d->vfs.xDelete = on_delete;
    d->vfs.xAccess = on_access;
    sqlite3_vfs_register(&d->vfs, 0);
    return d;
}

struct crash_disk *crash_disk_destroy(struct crash_disk *d)
{
    sqlite3_vfs_unregister(&d->vfs);
    map_for_each(entry, &d->files)
    {
        assert(((struct crash_file *)entry->value)->refs == 0);
        file_free(entry->value);
    }
    map_finish(&d->files);
    free(d);
    return NULL;
}
