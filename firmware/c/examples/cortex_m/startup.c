#include "startup.h"

#include "board_interrupts.h"

void reset_handler(void);

static void hang(void)
{
    board_exit(2);
}

void reset_handler(void)
{
    run_program();
}

typedef void handler(void);

/* The table that the processor reads at reset: top of the stack, then handlers. */
static const struct {
    const void *stack;
    handler *exceptions[15];
    handler *interrupts[1];
} vectors __attribute__((section(".vectors"), used)) = {
    .stack = stack_top,
    .exceptions = {reset_handler, hang, hang, hang, hang, hang, NULL, NULL, NULL, NULL, hang, hang,
                   NULL, hang, count_millisecond},
    .interrupts = {receive_byte},
};
