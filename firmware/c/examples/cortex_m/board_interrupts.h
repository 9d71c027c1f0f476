/* Interrupts of the board. */

#ifndef BOARD_INTERRUPTS_H
#define BOARD_INTERRUPTS_H

void count_millisecond(void);
void receive_byte(void);

#endif
