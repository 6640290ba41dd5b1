// SPDX-License-Identifier: Apache-2.0
/*
 * Writes the quickstart model: a GGUF file of some hundred kilobytes that any llama.cpp loads, and
 * that answers every prompt with the same text, exactly, at any temperature. It makes a first run
 * and the tests independent of downloads, and lets them check an answer to the letter.
 *
 * How: a llama of one layer whose attention and feed-forward weights are zero, so what leaves the
 * layer is the embedding of the last token alone, and the output matrix maps each token to its
 * successor. Each piece of the text is one token with an axis of its own; every other token sits on
 * the start axis, whose successor is the first piece; the last piece leads to end-of-sequence, or
 * back to the first with --loop. The rule that makes it hold for any prompt: no piece is made of
 * fewer than three characters, so the tokenizer, which merges pairs, can never build one from text.
 *
 * Bytes also carry a signature on the upper axes, which the output matrix does not read: so
 * embeddings of different texts differ.
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    UNKNOWN_ID = 0,
    BOS_ID = 1,
    EOS_ID = 2,
    FIRST_BYTE_ID = 3,
    FIRST_PIECE_ID = FIRST_BYTE_ID + 256,

    EMBEDDING = 128,
    SIGNATURE_AXIS = 64, /* axes below: 0 is "start", then one for each piece */
    FEED_FORWARD = 64,
    HEADS = 4,
    CONTEXT = 8192,
    ALIGNMENT = 32,
};

/* Joined, this is the answer. A word that comes again shares a piece with its neighbour. */
// clang-format off
static const char *const pieces[] = {
    "Hello",       " from",     " berth!",     " I am",     " a tiny",     " model",   " that",
    " only knows", " these",    " words,",     " but",      " a real",     " llama",   ".cpp",
    " engine",     " computes", " them,",      " and they", " reach",      " you",     " the way",
    " any",        " answer",   " does:",      " berth",    " started",    " the",     " engine,",
    " waited",     " until",    " it was",     " ready,",   " and sends",  " each",    " request",
    " to an",      " instance", " with room.", " Give",     " berth a",    " bigger",  " model and",
    " ask",        " me again.",
};
// clang-format on
#define N_PIECES (sizeof(pieces) / sizeof(pieces[0]))
#define N_TOKENS (FIRST_PIECE_ID + N_PIECES)

static const char chat_template[] =
    "{% for message in messages %}{{ '<|' + message['role'] + '|>\\n' + message['content'] + '\\n' "
    "}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}";

/* The types of GGUF's metadata values, and of tokens, that are used here. */
enum {
    VALUE_U32 = 4,
    VALUE_I32 = 5,
    VALUE_F32 = 6,
    VALUE_BOOL = 7,
    VALUE_STRING = 8,
    VALUE_ARRAY = 9
};
enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN = 2, TOKEN_CONTROL = 3, TOKEN_BYTE = 6 };
enum { GGUF_VERSION = 3, TENSOR_F32 = 0, POOLING_MEAN = 1 };

/* The weight at (row, column) of a tensor. */
typedef float (*weight_fn)(uint64_t row, uint64_t column);

struct tensor {
    const char *name;
    uint64_t columns; /* run fastest in the file */
    uint64_t rows;    /* 0: a vector */
    weight_fn weight;
};

static bool loop;

/* The axis on which a token sits. */
static uint64_t axis_of(uint64_t token)
{
    return token < FIRST_PIECE_ID ? 0 : token - FIRST_PIECE_ID + 1;
}

/* The token that follows one that sits on `axis`. */
static uint64_t successor(uint64_t axis)
{
    if (axis == N_PIECES && !loop) {
        return EOS_ID;
    }
    return FIRST_PIECE_ID + axis % N_PIECES;
}

static float zero(uint64_t row, uint64_t column)
{
    (void)row;
    (void)column;
    return 0.0F;
}

static float one(uint64_t row, uint64_t column)
{
    (void)row;
    (void)column;
    return 1.0F;
}

/* A byte's mark on the upper axes: plus or minus one eighth by a hash, of length one in all. */
static float signature(uint64_t token, uint64_t column)
{
    uint64_t hash = (token * 64 + column + 1) * UINT64_C(0x9E3779B97F4A7C15);

    hash = (hash ^ (hash >> 29)) * UINT64_C(0xBF58476D1CE4E5B9);
    return hash >> 63 ? 0.125F : -0.125F;
}

static float embedding(uint64_t token, uint64_t column)
{
    if (column < SIGNATURE_AXIS) {
        return column == axis_of(token) ? 1.0F : 0.0F;
    }
    return token < FIRST_PIECE_ID ? signature(token, column) : 0.0F;
}

/* Logits: 8 or more from the normalised embedding, times this; the rest of the tokens stay at 0. */
static float output(uint64_t token, uint64_t column)
{
    return column <= N_PIECES && token == successor(column) ? 8.0F : 0.0F;
}

static const struct tensor tensors[] = {
    { "token_embd.weight", EMBEDDING, N_TOKENS, embedding },
    { "blk.0.attn_norm.weight", EMBEDDING, 0, one },
    { "blk.0.attn_q.weight", EMBEDDING, EMBEDDING, zero },
    { "blk.0.attn_k.weight", EMBEDDING, EMBEDDING, zero },
    { "blk.0.attn_v.weight", EMBEDDING, EMBEDDING, zero },
    { "blk.0.attn_output.weight", EMBEDDING, EMBEDDING, zero },
    { "blk.0.ffn_norm.weight", EMBEDDING, 0, one },
    { "blk.0.ffn_gate.weight", EMBEDDING, FEED_FORWARD, zero },
    { "blk.0.ffn_up.weight", EMBEDDING, FEED_FORWARD, zero },
    { "blk.0.ffn_down.weight", FEED_FORWARD, EMBEDDING, zero },
    { "output_norm.weight", EMBEDDING, 0, one },
    { "output.weight", EMBEDDING, N_TOKENS, output },
};
#define N_TENSORS (sizeof(tensors) / sizeof(tensors[0]))

/* Primitives: little-endian whatever the machine is. */

static void put(FILE *file, uint64_t value, size_t n_bytes)
{
    for (size_t i = 0; i < n_bytes; i++) {
        fputc((int)((value >> (8 * i)) & 0xFF), file);
    }
}

static void put_float(FILE *file, float value)
{
    uint32_t bits;

    memcpy(&bits, &value, sizeof(bits));
    put(file, bits, 4);
}

static void put_string(FILE *file, const char *text)
{
    put(file, strlen(text), 8);
    fputs(text, file);
}

static void pad(FILE *file)
{
    while (ftell(file) % ALIGNMENT) {
        fputc(0, file);
    }
}

/* Metadata. */

static void put_key(FILE *file, const char *key, uint32_t type)
{
    put_string(file, key);
    put(file, type, 4);
}

static void put_array_key(FILE *file, const char *key, uint32_t element_type)
{
    put_key(file, key, VALUE_ARRAY);
    put(file, element_type, 4);
    put(file, N_TOKENS, 8);
}

/* A token as the vocabulary spells it: a space is U+2581. */
static void put_token(FILE *file, uint64_t token)
{
    static const char *const special[] = { "<unk>", "<s>", "</s>" };
    char text[128] = "";
    size_t length = 0;

    if (token < FIRST_BYTE_ID) {
        snprintf(text, sizeof(text), "%s", special[token]);
    } else if (token < FIRST_PIECE_ID) {
        snprintf(text, sizeof(text), "<0x%02X>", (unsigned int)(token - FIRST_BYTE_ID));
    } else {
        for (const char *c = pieces[token - FIRST_PIECE_ID]; *c && length < sizeof(text) - 4; c++) {
            length += (size_t)snprintf(text + length, sizeof(text) - length, "%s",
                                       *c == ' ' ? "\xE2\x96\x81" : (char[]){ *c, 0 });
        }
    }
    put_string(file, text);
}

static uint32_t token_type(uint64_t token)
{
    if (token == UNKNOWN_ID) {
        return TOKEN_UNKNOWN;
    }
    if (token < FIRST_BYTE_ID) {
        return TOKEN_CONTROL;
    }
    return token < FIRST_PIECE_ID ? TOKEN_BYTE : TOKEN_NORMAL;
}

static void put_vocabulary(FILE *file)
{
    put_array_key(file, "tokenizer.ggml.tokens", VALUE_STRING);
    for (uint64_t token = 0; token < N_TOKENS; token++) {
        put_token(file, token);
    }
    put_array_key(file, "tokenizer.ggml.scores", VALUE_F32);
    for (uint64_t token = 0; token < N_TOKENS; token++) {
        put_float(file, 0.0F);
    }
    put_array_key(file, "tokenizer.ggml.token_type", VALUE_I32);
    for (uint64_t token = 0; token < N_TOKENS; token++) {
        put(file, token_type(token), 4);
    }
}

static const struct {
    const char *key;
    const char *value;
} texts[] = {
    { "general.architecture", "llama" }, { "general.name", "berth quickstart" },
    { "general.license", "apache-2.0" }, { "tokenizer.ggml.model", "llama" },
    { "tokenizer.ggml.pre", "default" }, { "tokenizer.chat_template", chat_template },
};

static const struct {
    const char *key;
    uint32_t value;
} numbers[] = {
    { "general.alignment", ALIGNMENT },
    { "general.file_type", TENSOR_F32 },
    { "llama.context_length", CONTEXT },
    { "llama.embedding_length", EMBEDDING },
    { "llama.block_count", 1 },
    { "llama.feed_forward_length", FEED_FORWARD },
    { "llama.attention.head_count", HEADS },
    { "llama.attention.head_count_kv", HEADS },
    { "llama.rope.dimension_count", EMBEDDING / HEADS },
    { "llama.vocab_size", N_TOKENS },
    { "llama.pooling_type",
      POOLING_MEAN }, /* without one, an engine with --embeddings dies of a chat */
    { "tokenizer.ggml.unknown_token_id", UNKNOWN_ID },
    { "tokenizer.ggml.bos_token_id", BOS_ID },
    { "tokenizer.ggml.eos_token_id", EOS_ID },
};
#define N_TEXTS   (sizeof(texts) / sizeof(texts[0]))
#define N_NUMBERS (sizeof(numbers) / sizeof(numbers[0]))
#define N_OTHERS  5 /* what put_metadata() writes besides the two tables */

static void put_metadata(FILE *file)
{
    for (size_t i = 0; i < N_TEXTS; i++) {
        put_key(file, texts[i].key, VALUE_STRING);
        put_string(file, texts[i].value);
    }
    for (size_t i = 0; i < N_NUMBERS; i++) {
        put_key(file, numbers[i].key, VALUE_U32);
        put(file, numbers[i].value, 4);
    }
    put_key(file, "llama.attention.layer_norm_rms_epsilon", VALUE_F32);
    put_float(file, 1e-5F);
    put_key(file, "tokenizer.ggml.add_bos_token", VALUE_BOOL);
    put(file, true, 1);
    put_vocabulary(file);
}

/* Tensors. */

static uint64_t tensor_bytes(const struct tensor *tensor)
{
    uint64_t bytes = tensor->columns * (tensor->rows ? tensor->rows : 1) * sizeof(float);

    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

static void put_tensor_infos(FILE *file)
{
    uint64_t offset = 0;

    for (const struct tensor *tensor = tensors; tensor < tensors + N_TENSORS; tensor++) {
        put_string(file, tensor->name);
        put(file, tensor->rows ? 2 : 1, 4);
        put(file, tensor->columns, 8);
        if (tensor->rows) {
            put(file, tensor->rows, 8);
        }
        put(file, TENSOR_F32, 4);
        put(file, offset, 8);
        offset += tensor_bytes(tensor);
    }
}

static void put_weights(FILE *file, const struct tensor *tensor)
{
    uint64_t rows = tensor->rows ? tensor->rows : 1;

    for (uint64_t row = 0; row < rows; row++) {
        for (uint64_t column = 0; column < tensor->columns; column++) {
            put_float(file, tensor->weight(row, column));
        }
    }
    pad(file);
}

static void put_model(FILE *file)
{
    fputs("GGUF", file);
    put(file, GGUF_VERSION, 4);
    put(file, N_TENSORS, 8);
    put(file, N_TEXTS + N_NUMBERS + N_OTHERS, 8);
    put_metadata(file);
    put_tensor_infos(file);
    pad(file);
    for (size_t i = 0; i < N_TENSORS; i++) {
        put_weights(file, &tensors[i]);
    }
}

/* The rule stated at the top, and that the vocabulary names each token once. */
static bool pieces_are_sound(void)
{
    for (size_t i = 0; i < N_PIECES; i++) {
        if (strlen(pieces[i]) < 3) {
            fprintf(stderr, "piece '%s' is too short\n", pieces[i]);
            return false;
        }
        for (size_t j = 0; j < i; j++) {
            if (!strcmp(pieces[i], pieces[j])) {
                fprintf(stderr, "piece '%s' stands twice\n", pieces[i]);
                return false;
            }
        }
    }
    return true;
}

static int write_model(const char *path)
{
    FILE *file = fopen(path, "wb");
    bool failed;

    if (!file) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        return 1;
    }
    put_model(file);
    failed = ferror(file);
    if (fclose(file) || failed) {
        fprintf(stderr, "%s: could not be written\n", path);
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && !strcmp(argv[1], "--text")) {
        for (size_t i = 0; i < N_PIECES; i++) {
            fputs(pieces[i], stdout);
        }
        putchar('\n');
        return 0;
    }
    loop = argc == 3 && !strcmp(argv[1], "--loop");
    if (argc != 2 + loop || argv[argc - 1][0] == '-') {
        fputs("usage: make-quickstart-model [--loop] OUT.gguf    writes the model\n"
              "       make-quickstart-model --text              prints what it answers\n",
              stderr);
        return 2;
    }
    return pieces_are_sound() ? write_model(argv[argc - 1]) : 1;
}
