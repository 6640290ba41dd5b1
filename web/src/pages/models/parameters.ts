// SPDX-License-Identifier: Apache-2.0
// Names of parameters that engines know, offered while one is typed; others may be typed as well, and the server checks them all.
const container = ['image', 'pull', 'container_port', 'volumes', 'network', 'ipc', 'shm_size', 'memory_limit', 'gpus'];
const shared = ['parallel', 'weight', 'env', 'port'];

const known: Record<string, readonly string[]> = {
    llama_cpp: ['ctx_size', 'parallel', 'n_gpu_layers', 'threads', 'threads_batch', 'flash_attn', 'kv_unified', 'cache_type_k', 'cache_type_v', 'batch_size', 'ubatch_size',
        'split_mode', 'tensor_split', 'main_gpu', 'mlock', 'no_mmap', 'embeddings', 'pooling', 'reranking', 'mmproj', 'chat_template', 'jinja', 'reasoning_format',
        'temp', 'top_p', 'top_k', 'min_p', 'repeat_penalty', 'seed', 'rope_freq_base', 'rope_freq_scale', 'sleep_idle_seconds', 'host', 'port', 'binary', 'env', 'verbose', 'gpu_vendor', 'weight'],
    vllm: ['gpu_memory_utilization', 'max_model_len', 'tensor_parallel_size', 'pipeline_parallel_size', 'max_num_seqs', 'max_num_batched_tokens', 'dtype', 'quantization', 'seed',
        'trust_remote_code', 'disable_log_stats', 'runtime', 'binary', ...container, ...shared],
    docker: ['command', 'entrypoint', 'model', ...container, ...shared],
    command: ['command', 'model', ...shared],
    openai: ['base_url', 'model', 'api_key_env', 'api_key_file', 'api_key_header', 'headers', 'upstreams', 'parallel', 'weight'],
};

export function knownParameters(framework: string): readonly string[] {
    return known[framework] ?? [];
}
