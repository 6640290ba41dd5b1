// SPDX-License-Identifier: Apache-2.0
/* embed NAME IN OUT: writes the bytes of the file IN as a C array NAME and its size NAME_size into
 * OUT, so that the program carries its pages in itself. */
#include <stdio.h>

static int complain(const char *path)
{
    perror(path);
    return 1;
}

int main(int argc, char **argv)
{
    FILE *in, *out;
    int c, n = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: embed NAME IN OUT\n");
        return 2;
    }
    in = fopen(argv[2], "rb");
    if (!in) {
        return complain(argv[2]);
    }
    out = fopen(argv[3], "wb");
    if (!out) {
        return complain(argv[3]);
    }
    fprintf(out,
            "#include <stddef.h>\nextern const char %s[];\nextern const size_t %s_size;\n"
            "const char %s[] = {",
            argv[1], argv[1], argv[1]);
    while ((c = getc(in)) != EOF) {
        fprintf(out, "%s%d,", n++ % 24 == 0 ? "\n" : "", (signed char)c);
    }
    fprintf(out, "\n};\nconst size_t %s_size = sizeof(%s);\n", argv[1], argv[1]);
    if (ferror(in) || fclose(out) != 0) {
        return complain(argv[3]);
    }
    return fclose(in);
}
