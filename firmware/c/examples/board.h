/* What the example needs of a board. */

#ifndef BOARD_H
#define BOARD_H

#include "firstspike.h"

/* The UART that the device is connected to, and the time. */
extern const struct firstspike_port board_port;

/* Requests that may be on their way at once: 1 if nothing receives while something is sent. */
extern const uint16_t board_in_flight;

/* Makes the UART and the timer ready. */
void board_init(void);

/* Semihosting: a debugger or an emulator prints text, and ends the program. */
void board_print(const char *text);
void board_exit(int status);

#endif
