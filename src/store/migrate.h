// SPDX-License-Identifier: Apache-2.0
/* Inside of the store: what makes a fresh file berth's, and an old one today's. */
#pragma once

#include "store/sql_int.h"
#include "store/store.h"

/* Is the file empty or berth's? Writes nothing. -EINVAL when it is somebody else's. */
int migrate_check_owner(struct sql *db, struct error *reterr) _must_check_;
/* Brings the tables of every room to their newest version, in one transaction. -ENOSYS for a
 * database of a newer berth. */
int migrate_run(struct sql *db, const struct store_schema *const *schemas,
                struct error *reterr) _must_check_;
