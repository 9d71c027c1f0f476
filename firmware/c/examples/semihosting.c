#include "semihosting.h"

#include "board.h"

#define SYS_WRITE0 0x04
#define SYS_EXIT_EXTENDED 0x20

#define ADP_STOPPED_APPLICATION_EXIT 0x20026

void board_print(const char *text)
{
    semihosting(SYS_WRITE0, text);
}

void board_exit(int status)
{
    const uintptr_t reason[2] = {ADP_STOPPED_APPLICATION_EXIT, (uintptr_t)status};
    for (;;)
        semihosting(SYS_EXIT_EXTENDED, reason);
}
