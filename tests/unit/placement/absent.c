// SPDX-License-Identifier: Apache-2.0
/* The rooms that a placement without engines and devices never looks at. */
#include <stdlib.h>

#include "placement/placement.h"

#define ABSENT(type, name, ...)                                                                    \
    type name(__VA_ARGS__)                                                                         \
    {                                                                                              \
        abort();                                                                                   \
    }

ABSENT(void, models_update, struct models *m, int64_t id, struct model_config *c, models_done_fn d,
       void *arg)
ABSENT(double, dispatch_use_rate, const struct dispatch *d, int64_t id)
ABSENT(struct dispatch_load, dispatch_instance_load, const struct dispatch *d, const char *uuid)
ABSENT(const struct instance *, engines_next, const struct engines *e, size_t *cursor)
ABSENT(const struct instance *, engines_find, const struct engines *e, const char *uuid)
ABSENT(const struct instance *, engines_of_model, const struct engines *e, int64_t id)
ABSENT(void, engines_place, struct engines *e, const char *uuid, const struct place *place)
ABSENT(void, engines_displace, struct engines *e, const char *uuid, uint64_t ms, const char *why)
ABSENT(void, engines_note_displaced, struct engines *e, const char *uuid)
ABSENT(void, engines_retry, struct engines *e, int64_t id)
ABSENT(void, engines_estimate, struct engines *e, const struct model_config *c, engines_need_fn d,
       void *arg)
ABSENT(const char *, instance_state_name, enum instance_state s)
ABSENT(void, gpu_sample_now, struct gpu *g)
ABSENT(bool, gpu_ready, const struct gpu *g)
ABSENT(const struct gpu_device *, gpu_next, const struct gpu *g, size_t *cursor)
ABSENT(const struct gpu_device *, gpu_find, const struct gpu *g, int index)
ABSENT(const struct gpu_device *, gpu_of_vendor, const struct gpu *g, enum gpu_vendor v, int index)
ABSENT(unsigned, gpu_count, const struct gpu *g, enum gpu_vendor v)
ABSENT(const struct gpu_host *, gpu_host, const struct gpu *g)
ABSENT(int, gpu_vendor_from_string, const char *s)
ABSENT(void, engines_set_probe_interval, struct engines *e, uint64_t ms)
