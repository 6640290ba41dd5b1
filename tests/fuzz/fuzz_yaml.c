// SPDX-License-Identifier: Apache-2.0
/* YAML on any bytes: a tree within its bounds, every line found within the text, or a sentence. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/yaml_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

static unsigned levels(json_t *j)
{
    unsigned deepest = 0, d;
    const char *key;
    json_t *value;
    size_t i;

    json_array_foreach(j, i, value)
    {
        d = levels(value);
        deepest = d > deepest ? d : deepest;
    }
    json_object_foreach(j, key, value)
    {
        d = levels(value);
        deepest = d > deepest ? d : deepest;
    }
    return deepest + (json_is_array(j) || json_is_object(j));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct yaml_document d;
    struct error e = { 0 };
    int r = yaml_read((struct span){ (const char *)data, size }, "f", &d, &e);

    if (r < 0) {
        must(e.code == r && strncmp(e.text, "f:", 2) == 0, "a sentence with the file's name");
        return 0;
    }
    must(d.root && levels(d.root) <= YAML_DEPTH_MAX, "a tree that is not too deep");
    map_for_each(entry, &d.lines)
    {
        must((uintptr_t)entry->value >= 1 && (uintptr_t)entry->value <= size + 1, "a line");
    }
    yaml_document_finish(&d);
    return 0;
}
