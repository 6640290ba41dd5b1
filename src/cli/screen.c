// SPDX-License-Identifier: Apache-2.0
/* The terminal as a screen. Signals only raise flags: what they ask for is done by screen_ask. */
#include "cli/screen.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "base/mem.h"

#define ENTER "\033[?1049h\033[?25l\033[?7l\033[2J"
#define LEAVE "\033[?7h\033[?25h\033[?1049l"

static struct {
    bool taken, keys; /* keys: stdin is a terminal, of which `before` was the mode */
    struct termios before;
    int errors; /* where stderr went; -1: nothing was changed */
} screen = { .errors = -1 };

static volatile sig_atomic_t ended, resized, suspended;

/* Who asks twice does not want to wait for a daemon that does not answer. */
static void end_now(void)
{
    if (screen.taken) {
        (void)!write(STDOUT_FILENO, LEAVE, sizeof(LEAVE) - 1);
        if (screen.keys) {
            tcsetattr(STDIN_FILENO, TCSANOW, &screen.before);
        }
    }
    _exit(1);
}

static void on_signal(int number)
{
    if (number == SIGWINCH) {
        resized = 1;
    } else if (number == SIGTSTP) {
        suspended = 1;
    } else if (ended) {
        end_now();
    } else {
        ended = 1;
    }
}

static void catch_signals(void)
{
    static const int numbers[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGWINCH, SIGTSTP };
    struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };

    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        sigaction(numbers[i], &action, NULL);
    }
}

/* ---- taking and giving back ---- */

static void silence_errors(void)
{
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (nowhere >= 0) {
        screen.errors = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
        dup2(nowhere, STDERR_FILENO);
        close(nowhere);
    }
}

static void take_keys(void)
{
    struct termios raw;

    screen.keys = tcgetattr(STDIN_FILENO, &screen.before) == 0;
    if (screen.keys) {
        raw = screen.before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 0;
        raw.c_cc[VTIME] = 0;
        tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    }
}

static void take(void)
{
    screen.taken = true;
    take_keys();
    silence_errors();
    fputs(ENTER, stdout);
    fflush(stdout);
}

void screen_enter(void)
{
    static bool prepared;

    if (!prepared) {
        prepared = true;
        catch_signals();
        atexit(screen_leave);
    }
    take();
}

void screen_leave(void)
{
    if (!screen.taken) {
        return;
    }
    screen.taken = false;
    fputs(LEAVE, stdout);
    fflush(stdout);
    if (screen.keys) {
        tcsetattr(STDIN_FILENO, TCSAFLUSH, &screen.before);
    }
    if (screen.errors >= 0) {
        dup2(screen.errors, STDERR_FILENO);
        close(screen.errors);
        screen.errors = -1;
    }
}

/* ---- drawing ---- */

void screen_size(int *ret_columns, int *ret_rows)
{
    struct winsize size = { 0 };

    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_col == 0 || size.ws_row == 0) {
        size.ws_col = 80;
        size.ws_row = 24;
    }
    *ret_columns = size.ws_col;
    *ret_rows = size.ws_row;
}

/* The bytes of the line that fill so many columns; colours take none. */
static size_t cut_line(const char *line, size_t n, int columns)
{
    size_t i = 0;
    int column = 0;

    while (i < n) {
        if (line[i] == '\033') {
            const char *end = memchr(line + i, 'm', n - i);

            i = end ? (size_t)(end - line) + 1 : n;
            continue;
        }
        column += ((unsigned char)line[i] & 0xc0) != 0x80;
        if (column > columns) {
            break;
        }
        i++;
    }
    return i;
}

void screen_draw(const char *text)
{
    int columns, rows;

    screen_size(&columns, &rows);
    fputs("\033[H", stdout);
    for (int row = 0; row < rows && *text; row++) {
        const size_t n = strcspn(text, "\n");

        printf("%s%.*s\033[0m\033[K", row > 0 ? "\r\n" : "", (int)cut_line(text, n, columns), text);
        text += n + (text[n] == '\n');
    }
    fputs("\033[J", stdout);
    fflush(stdout);
}

/* ---- what the user wants ---- */

enum { CTRL_C = 3, CTRL_D = 4 };

/* Waits for a key, or for a signal. */
static bool quit_pressed(int wait_ms)
{
    struct pollfd in = { .fd = screen.keys ? STDIN_FILENO : -1, .events = POLLIN };
    char keys[64];
    ssize_t n;

    if (poll(&in, 1, wait_ms) <= 0) {
        return false;
    }
    n = read(STDIN_FILENO, keys, sizeof(keys));
    for (ssize_t i = 0; i < n; i++) {
        if (keys[i] == 'q' || keys[i] == 'Q' || keys[i] == CTRL_C || keys[i] == CTRL_D) {
            return true;
        }
    }
    return n < 0 || (in.revents & POLLHUP); /* the terminal has gone */
}

static void suspend(void)
{
    suspended = 0;
    screen_leave();
    raise(SIGSTOP);
    take();
}

enum screen_wish screen_ask(int wait_ms)
{
    if (ended || quit_pressed(wait_ms) || ended) {
        return SCREEN_QUIT;
    }
    if (suspended) {
        suspend();
        return SCREEN_REDRAW;
    }
    if (resized) {
        resized = 0;
        return SCREEN_REDRAW;
    }
    return SCREEN_NONE;
}
