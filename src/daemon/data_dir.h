// SPDX-License-Identifier: Apache-2.0
/* The one directory that holds all state: made, locked against a second berth, and given an id. */
#pragma once

#include "base/error.h"

enum { DATA_ID_SIZE = 37 };

struct data_dir {
    char *path; /* absolute */
    char id[DATA_ID_SIZE];
    int lock_fd;
};

/* Makes it (0700) when missing, takes the exclusive lock, reads or makes the id, and changes the
 * working directory to it, so that socket paths stay short. -EBUSY when another berth holds it. */
int data_dir_open(const char *path, struct data_dir *ret, struct error *reterr) _must_check_;
void data_dir_close(struct data_dir *d);
