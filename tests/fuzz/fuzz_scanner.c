// SPDX-License-Identifier: Apache-2.0
/* The request scanner on any bytes, beside jansson. */
#include "../unit/codec/scan_oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    scan_check((const char *)data, size);
    return 0;
}
