// SPDX-License-Identifier: Apache-2.0
/*
 * A disk that loses what was not synced when the power goes: an SQLite VFS named "crash" whose
 * files lie in memory, each twice: as the program sees it, and as it would be found after a power
 * cut. Locks and shared memory are the default VFS's, on an empty file of the same name. One
 * thread.
 *
 * At the cut, of every write and truncation since a file's last sync some sectors arrive and others
 * do not, in no order; a file that was made or removed without a sync may be there or not. From
 * then on every operation fails, until the power is back.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct crash_disk;

/* Registers the VFS "crash"; one at a time. The seed decides what is lost. */
struct crash_disk *crash_disk_create(uint64_t seed);
/* All files must be closed. */
struct crash_disk *crash_disk_destroy(struct crash_disk *d);

/* The power goes at the n-th operation from now that changes something (write, truncate, sync,
 * create, delete), which is lost or torn like what is not synced. 0: never. */
void crash_disk_cut_after(struct crash_disk *d, uint64_t n);
bool crash_disk_is_cut(const struct crash_disk *d);
/* Brings the power back after a cut (or cuts it now and brings it back). All files must be closed.
 */
void crash_disk_power_on(struct crash_disk *d);

/* Changing operations so far. */
uint64_t crash_disk_operations(const struct crash_disk *d);
/* From now on a sync says yes and does nothing, as bad hardware does. */
void crash_disk_ignore_syncs(struct crash_disk *d, bool ignore);
/* A write that would make all files together larger than this gets SQLITE_FULL. 0: no limit. */
void crash_disk_set_capacity(struct crash_disk *d, uint64_t bytes);
/* As the program sees it; 0 when there is none. */
uint64_t crash_disk_file_size(const struct crash_disk *d, const char *path);
