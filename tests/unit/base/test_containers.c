// SPDX-License-Identifier: Apache-2.0
/* Map, heap and list under random use, against the plainest model. */
#include "unit.h"

#include <string.h>

#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"

static void map_keeps_order_and_values(void **state)
{
    struct map m;
    int values[200], n = 0;
    char key[16];

    map_init(&m);
    for (int i = 0; i < 200; i++) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_null(map_put(&m, key, &values[i]));
    }
    assert_ptr_equal(map_put(&m, "k7", &values[8]), &values[7]);
    assert_ptr_equal(map_put(&m, "k7", &values[7]), &values[8]);
    for (int i = 0; i < 200; i += 2) {
        snprintf(key, sizeof(key), "k%d", i);
        assert_ptr_equal(map_remove(&m, key), &values[i]);
        assert_null(map_remove(&m, key));
    }
    map_for_each(e, &m)
    {
        assert_ptr_equal(e->value, &values[2 * n + 1]);
        n++;
    }
    assert_int_equal(n, 100);
    assert_int_equal(m.count, 100);
    assert_null(map_get(&m, "k0"));
    assert_ptr_equal(map_get_span(&m, SPAN("k199")), &values[199]);
    map_finish(&m);
    assert_null(map_get(&m, "k199"));
}

struct item {
    struct heap_node node;
    int key;
};

static bool before(const struct heap_node *a, const struct heap_node *b)
{
    return ((const struct item *)a)->key < ((const struct item *)b)->key;
}

static void heap_gives_the_smallest(void **state)
{
    enum { COUNT = 500 };
    static struct item items[COUNT];
    struct heap h;

    srand((unsigned)test_seed("heap_gives_the_smallest"));
    heap_init(&h, before);
    for (int round = 0; round < 20000; round++) {
        struct item *it = &items[rand() % COUNT];

        if (it->node.index) {
            heap_remove(&h, &it->node);
        } else {
            it->key = rand() % 1000;
            heap_push(&h, &it->node);
        }
        if (h.count) {
            int least = 1000;

            for (int i = 0; i < COUNT; i++) {
                least = items[i].node.index ? MIN_OF(least, items[i].key) : least;
            }
            assert_int_equal(((struct item *)heap_top(&h))->key, least);
        }
    }
    heap_finish(&h);
}

static void list_takes_all(void **state)
{
    struct list a, b, nodes[3];

    list_init(&a);
    for (int i = 0; i < 3; i++) {
        list_append(&a, &nodes[i]);
    }
    list_take(&a, &b);
    assert_true(list_empty(&a));
    assert_ptr_equal(b.next, &nodes[0]);
    assert_ptr_equal(b.prev, &nodes[2]);
    list_remove(&nodes[1]);
    list_remove(&nodes[1]);
    assert_ptr_equal(nodes[0].next, &nodes[2]);
    list_take(&a, &b);
    assert_true(list_empty(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_keeps_order_and_values),
        cmocka_unit_test(heap_gives_the_smallest),
        cmocka_unit_test(list_takes_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
