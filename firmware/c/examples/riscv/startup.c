#include "startup.h"

void reset_handler(void);
void start(void);

void start(void)
{
    run_program();
}

/* The first instructions: there is no stack yet. */
__attribute__((naked, section(".vectors"), used)) void reset_handler(void)
{
    __asm__("la sp, stack_top\n"
            "j start");
}
