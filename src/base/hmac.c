// SPDX-License-Identifier: Apache-2.0
/* HMAC-SHA256 by OpenSSL. */
#include "base/hmac.h"

#include <limits.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

int hmac_sha256_hex(struct span key, struct span text, char out[HMAC_HEX_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int n = 0;

    if (key.n > INT_MAX || !HMAC(EVP_sha256(), key.p ? key.p : "", (int)key.n,
                                 (const unsigned char *)text.p, text.n, digest, &n)) {
        return -EIO;
    }
    hex_encode(digest, n, out);
    return 0;
}
