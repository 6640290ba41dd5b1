// SPDX-License-Identifier: Apache-2.0
/*
 * Runs a fuzzer without libFuzzer: every file of its corpus, every prefix of the small ones, then
 * random mutations of them. The seed is printed; FUZZ_SEED=N repeats a run, FUZZ_RUNS=N sets the
 * number of mutations. The input that was running when the process died is left in
 * ./crash-input-PID.
 *
 *   fuzz_NAME CORPUS_DIR_OR_FILE...
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_INPUTS = 4096, MAX_BYTES = 1 << 20, PREFIX_BYTES = 512, DEFAULT_RUNS = 5000 };

struct input {
    uint8_t *bytes;
    size_t n;
};

static struct input inputs[MAX_INPUTS];
static size_t n_inputs;
static size_t n_runs;
static struct input running; /* what is being tried now, for the one who finds the corpse */
static uint64_t state;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void *must(void *pointer)
{
    if (!pointer) {
        fputs("replay: out of memory\n", stderr);
        exit(1);
    }
    return pointer;
}

/* splitmix64 */
static uint64_t next_random(void)
{
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static size_t below(size_t limit)
{
    return limit ? (size_t)(next_random() % limit) : 0;
}

/* Where the input goes that it died of, and the words for it: made at the start, since a signal
 * handler may not format. */
static char crash_name[64], crash_text[128];

static void prepare_last_words(void)
{
    snprintf(crash_name, sizeof(crash_name), "crash-input-%ld", (long)getpid());
    snprintf(crash_text, sizeof(crash_text), "replay: died; the input is in %s\n", crash_name);
}

/* The sanitizers end by abort (replay sets that up) or by a signal; both come by here. */
static void on_death(int signal_number)
{
    int fd = open(crash_name, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    ssize_t written = 0;

    if (fd >= 0) {
        written = write(fd, running.bytes, running.n);
        close(fd);
    }
    written += write(STDERR_FILENO, crash_text, strlen(crash_text));
    (void)written;
    signal(signal_number, SIG_DFL);
    raise(signal_number);
}

/* An exact copy on the heap, so that a read beyond the end is seen by ASan. */
static void try_input(const uint8_t *bytes, size_t n)
{
    uint8_t *copy = must(malloc(n ? n : 1));

    if (n) {
        memcpy(copy, bytes, n);
    }
    running = (struct input){ copy, n };
    LLVMFuzzerTestOneInput(copy, n);
    n_runs++;
    running = (struct input){ 0 };
    free(copy);
}

static void keep_input(uint8_t *bytes, size_t n)
{
    if (n_inputs == MAX_INPUTS) {
        fprintf(stderr, "replay: more than %d inputs\n", MAX_INPUTS);
        exit(1);
    }
    inputs[n_inputs++] = (struct input){ bytes, n };
}

static void load_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = must(malloc(MAX_BYTES));
    size_t n;

    if (!file) {
        fprintf(stderr, "replay: %s: %s\n", path, strerror(errno));
        exit(1);
    }
    n = fread(bytes, 1, MAX_BYTES, file);
    fclose(file);
    keep_input(must(realloc(bytes, n ? n : 1)), n);
}

static int is_visible(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static void load_path(const char *path)
{
    struct dirent **entries;
    struct stat st;
    int n;

    if (stat(path, &st) == 0 && S_ISREG(st.st_mode)) {
        load_file(path);
        return;
    }
    n = scandir(path, &entries, is_visible,
                alphasort); /* sorted: a seed means the same everywhere */
    if (n <= 0) {
        fprintf(stderr, "replay: no inputs in %s\n", path);
        exit(1);
    }
    for (int i = 0; i < n; i++) {
        char file[4096];

        snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
        load_file(file);
        free(entries[i]);
    }
    free(entries);
}

/* One change of the n bytes in a buffer of room for twice as many and 16 more; returns the new n.
 */
static size_t mutate_once(uint8_t *bytes, size_t n, size_t room)
{
    static const uint8_t telling[] = "\0\r\n\t \"\\{}[]:,;=-+0189eE/%\x7f\x80\xc0\xff";
    size_t at = below(n + 1);
    size_t length = 1 + below(n - at < 32 ? n - at : 32);
    size_t to = below(n + 1);

    switch (below(5)) {
    case 0: /* flip a bit */
        if (at < n) {
            bytes[at] ^= (uint8_t)(1U << below(8));
        }
        return n;
    case 1: /* a byte that means something to parsers */
        if (at < n) {
            bytes[at] = telling[below(sizeof(telling) - 1)];
        }
        return n;
    case 2: /* cut a piece out */
        if (at + length <= n) {
            memmove(bytes + at, bytes + at + length, n - at - length);
            return n - length;
        }
        return n;
    case 3: /* say a piece twice */
        if (at + length <= n && n + length <= room) {
            uint8_t piece[33];

            memcpy(piece, bytes + at, length);
            memmove(bytes + to + length, bytes + to, n - to);
            memcpy(bytes + to, piece, length);
            return n + length;
        }
        return n;
    default: /* end early */
        return at;
    }
}

static void try_mutation(void)
{
    const struct input *input = &inputs[below(n_inputs)];
    size_t room = 2 * input->n + 16;
    uint8_t *bytes = must(malloc(room));
    size_t n = input->n;

    memcpy(bytes, input->bytes, n);
    for (size_t i = 1 + below(6); i > 0; i--) {
        n = mutate_once(bytes, n, room);
    }
    try_input(bytes, n);
    free(bytes);
}

static uint64_t number_from(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : otherwise;
}

static void try_corpus(void)
{
    for (size_t i = 0; i < n_inputs; i++) {
        try_input(inputs[i].bytes, inputs[i].n);
        for (size_t n = 0; n < inputs[i].n && inputs[i].n <= PREFIX_BYTES; n++) {
            try_input(inputs[i].bytes, n);
        }
    }
}

int main(int argc, char **argv)
{
    uint64_t seed = 0;
    uint64_t mutations = number_from("FUZZ_RUNS", DEFAULT_RUNS);

    if (getrandom(&seed, 4, 0) != 4) {
        seed = (uint64_t)getpid();
    }
    seed = number_from("FUZZ_SEED", seed);
    state = seed;
    printf("replay: FUZZ_SEED=%llu FUZZ_RUNS=%llu\n", (unsigned long long)seed,
           (unsigned long long)mutations);
    fflush(stdout);
    prepare_last_words();
    signal(SIGABRT, on_death);
    signal(SIGSEGV, on_death);

    for (int i = 1; i < argc; i++) {
        load_path(argv[i]);
    }
    if (!n_inputs) {
        fputs("usage: fuzz_NAME CORPUS_DIR_OR_FILE...\n", stderr);
        return 2;
    }
    try_corpus();
    for (uint64_t i = 0; i < mutations; i++) {
        try_mutation();
    }
    printf("replay: %zu inputs, %zu runs\n", n_inputs, n_runs);
    for (size_t i = 0; i < n_inputs; i++) {
        free(inputs[i].bytes);
    }
    return 0;
}
