/* Semihosting: requests to the debugger or emulator that runs the program. */

#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

/* One request, the same on Arm and RISC-V but for the instruction that makes it. */
static inline uintptr_t semihosting(uintptr_t operation, const void *argument)
{
#if defined(__arm__)
    register uintptr_t r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
#elif defined(__riscv)
    register uintptr_t a0 __asm__("a0") = operation;
    register const void *a1 __asm__("a1") = argument;
    /* The two shifts around the breakpoint make it a request; none may be a short instruction. */
    __asm__ volatile(".option push\n"
                     ".option norvc\n"
                     ".balign 16\n"
                     "slli zero, zero, 0x1f\n"
                     "ebreak\n"
                     "srai zero, zero, 7\n"
                     ".option pop"
                     : "+r"(a0)
                     : "r"(a1)
                     : "memory");
    return a0;
#else
#error "there is semihosting on Arm and RISC-V alone"
#endif
}

#endif
