// SPDX-License-Identifier: Apache-2.0
/* What a definition needs of memory. */
#include "engines/engines_int.h"

void inst_find_need(struct inst *inst)
{
}

void inst_need_detach(struct inst *inst)
{
}
