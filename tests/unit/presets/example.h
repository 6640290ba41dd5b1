// SPDX-License-Identifier: Apache-2.0
/* A whole request as seed 001 sends it, and a change to it. */
#pragma once

#include <jansson.h>
#include <string.h>

static const char example_text[] =
    "{\"experiment_name\":\"moe-on-8\",\"description\":\"trial\","
    "\"topology\":{\"pods\":[{\"id\":\"p0\",\"label\":\"Pod 0\",\"grid_size\":[1,1],\"racks\":[{"
    "\"id\":\"r0\",\"position\":[0,0],\"label\":\"Rack 0\",\"total_u\":42,\"boards\":[{\"id\":"
    "\"b0\",\"u_position\":1,\"u_height\":2,\"label\":\"Board 0\",\"chips\":["
    "{\"id\":\"c0\",\"type\":\"H100\",\"position\":[0,0],\"label\":\"0\"},{\"id\":\"c1\",\"type\":"
    "\"H100\",\"position\":[0,1],\"label\":\"1\"},{\"id\":\"c2\",\"type\":\"H100\",\"position\":[0,"
    "2],\"label\":\"2\"},{\"id\":\"c3\",\"type\":\"H100\",\"position\":[0,3],\"label\":\"3\"},"
    "{\"id\":\"c4\",\"type\":\"H100\",\"position\":[1,0],\"label\":\"4\"},{\"id\":\"c5\",\"type\":"
    "\"H100\",\"position\":[1,1],\"label\":\"5\"},{\"id\":\"c6\",\"type\":\"H100\",\"position\":[1,"
    "2],\"label\":\"6\"},{\"id\":\"c7\",\"type\":\"H100\",\"position\":[1,3],\"label\":\"7\"}]}]}]}"
    "],\"connections\":[{\"source\":\"c0\",\"target\":\"c1\",\"type\":\"intra\",\"bandwidth\":450,"
    "\"latency\":1}]},"
    "\"model\":{\"model_name\":\"Llama-like 7B\",\"model_type\":\"dense\",\"hidden_size\":4096,"
    "\"num_layers\":32,\"num_attention_heads\":32,\"num_kv_heads\":32,\"intermediate_size\":11008,"
    "\"vocab_size\":32000,\"weight_dtype\":\"bf16\",\"activation_dtype\":\"bf16\","
    "\"max_seq_length\":4096,\"attention_type\":\"mha\",\"norm_type\":\"rmsnorm\"},"
    "\"hardware\":{\"chip\":{\"chip_type\":\"H100\",\"compute_tflops_fp16\":989,\"memory_gb\":80,"
    "\"memory_bandwidth_gbps\":3350,\"memory_bandwidth_utilization\":0.9},"
    "\"node\":{\"chips_per_node\":8,\"intra_node_bandwidth_gbps\":900,\"intra_node_latency_us\":1},"
    "\"cluster\":{\"num_nodes\":1,\"inter_node_bandwidth_gbps\":400,\"inter_node_latency_us\":2}},"
    "\"inference\":{\"batch_size\":8,\"input_seq_length\":512,\"output_seq_length\":256,"
    "\"max_seq_length\":768,\"num_micro_batches\":4},"
    "\"search_mode\":\"auto\",\"search_constraints\":{\"max_chips\":8}}";

static inline json_t *example(void)
{
    json_t *o = json_loads(example_text, 0, NULL);

    assert_non_null(o);
    return o;
}

/* The object that holds the last word of "model.num_layers" or "topology.pods.0.racks". */
static inline json_t *example_parent(json_t *o, const char *path, const char **ret_last)
{
    char word[64];
    const char *dot;

    while ((dot = strchr(path, '.')) != NULL) {
        snprintf(word, sizeof(word), "%.*s", (int)(dot - path), path);
        o = json_is_array(o) ? json_array_get(o, strtoul(word, NULL, 10))
                             : json_object_get(o, word);
        path = dot + 1;
    }
    *ret_last = path;
    return o;
}

/* Sets a member to a JSON value in text; "" removes it. */
static inline json_t *example_with(const char *path, const char *value)
{
    json_t *o = example();
    const char *last;
    json_t *parent = example_parent(o, path, &last);

    if (*value) {
        json_t *v = json_loads(value, JSON_DECODE_ANY, NULL);

        assert_non_null(v);
        json_object_set_new(parent, last, v);
    } else {
        json_object_del(parent, last);
    }
    return o;
}
