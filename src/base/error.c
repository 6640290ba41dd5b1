// SPDX-License-Identifier: Apache-2.0
/* The one table from error codes to what each door says. */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

// clang-format off
static const struct error_kind kinds[] = {
    { -EIO,          500, "server_error",          "internal_error",       1 }, /* first: the default */
    { -EINVAL,       400, "invalid_request_error", "invalid_value",        2 },
    { -EBADMSG,      400, "invalid_request_error", "invalid_json",         2 },
    { -EACCES,       401, "authentication_error",  "invalid_api_key",      3 },
    { -EPERM,        403, "permission_error",      "forbidden",            3 },
    { -ENOENT,       404, "not_found_error",       "not_found",            4 },
    { -EOPNOTSUPP,   405, "invalid_request_error", "method_not_allowed",   2 },
    { -ETIME,        408, "timeout_error",         "queue_timeout",        5 },
    { -EEXIST,       409, "invalid_request_error", "already_exists",       6 },
    { -EBUSY,        409, "invalid_request_error", "busy",                 6 },
    { -EFBIG,        413, "invalid_request_error", "request_too_large",    2 },
    { -EMEDIUMTYPE,  415, "invalid_request_error", "unsupported_media_type", 2 },
    { -EDOM,         422, "invalid_request_error", "validation_error",     2 },
    { -EAGAIN,       429, "rate_limit_error",      "queue_full",           5 },
    { -EDQUOT,       429, "rate_limit_error",      "rate_limit_exceeded",  5 },
    { -E2BIG,        431, "invalid_request_error", "headers_too_large",    2 },
    { -ECANCELED,    499, "server_error",          "client_closed_request", 1 },
    { -ENOSYS,       501, "invalid_request_error", "not_supported",        2 },
    { -EPROTO,       502, "server_error",          "bad_gateway",          1 },
    { -ECONNRESET,   502, "server_error",          "bad_gateway",          1 },
    { -ECONNREFUSED, 503, "server_error",          "unavailable",          5 },
    { -ESRCH,        503, "server_error",          "model_not_running",    5 },
    { -ENODEV,       503, "server_error",          "unavailable",          5 },
    { -EROFS,        503, "server_error",          "read_only",            1 },
    { -ENOSPC,       507, "server_error",          "storage_full",         1 },
    { -ETIMEDOUT,    504, "server_error",          "deadline_exceeded",    5 },
};
// clang-format on

const struct error_kind *error_kind(int code)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].code == code) {
            return &kinds[i];
        }
    }
    return &kinds[0];
}

int error_set(struct error *reterr, int code, const char *fmt, ...)
{
    if (reterr) {
        va_list ap;

        reterr->code = code;
        va_start(ap, fmt);
        vsnprintf(reterr->text, sizeof(reterr->text), fmt, ap);
        va_end(ap);
    }
    return code;
}

int error_prefix(struct error *reterr, const char *fmt, ...)
{
    char old[sizeof(reterr->text)];
    va_list ap;
    int n;

    if (!reterr) {
        return -EIO;
    }
    memcpy(old, reterr->text, sizeof(old));
    va_start(ap, fmt);
    n = vsnprintf(reterr->text, sizeof(reterr->text), fmt, ap);
    va_end(ap);
    if (n >= 0 && (size_t)n < sizeof(reterr->text)) {
        snprintf(reterr->text + n, sizeof(reterr->text) - (size_t)n, "%s", old);
    }
    return reterr->code;
}
