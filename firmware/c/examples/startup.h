/* What happens between reset and main(). */

#ifndef STARTUP_H
#define STARTUP_H

#include <stdint.h>

#include "board.h"

/* Set by the linker script. */
extern uint32_t data_start[], data_end[], data_load[], bss_start[], bss_end[], stack_top[];

/* The program; returns its exit status. */
int main(void);

/* Fills the variables and runs the program. */
static inline void run_program(void)
{
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end;)
        *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;)
        *to++ = 0;
    board_exit(main());
}

#endif
