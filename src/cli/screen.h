// SPDX-License-Identifier: Apache-2.0
/*
 * The whole terminal, taken for a while: text that is drawn over what was drawn before. Whatever
 * ends the program, but a kill that cannot be caught, leaves the terminal as it was. One at a time.
 */
#pragma once

#include <stdbool.h>

/* Takes it: alternate screen, no cursor, keys as they are pressed. What goes to stderr meanwhile is
 * dropped, for it would tear the picture. */
void screen_enter(void);
/* Gives it back; nothing when it is not taken. */
void screen_leave(void);
void screen_size(int *ret_columns, int *ret_rows);
/* Shows these lines, cut to the screen. */
void screen_draw(const char *text);

enum screen_wish {
    SCREEN_NONE,
    SCREEN_REDRAW, /* its size is another one, or it was away */
    SCREEN_QUIT,   /* q, Ctrl-C, Ctrl-D, or told to end */
};
/* What the user wants since it was asked last. Waits for a key for up to so many ms. */
enum screen_wish screen_ask(int wait_ms);
