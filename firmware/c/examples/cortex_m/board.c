/*
 * Arm MPS2 with the AN385 image (Cortex-M3), as QEMU has it. The device is at UART 0, whose
 * interrupt fills a ring, so that answers may come while requests are sent.
 */

#include "board.h"

#include "board_interrupts.h"

#define CLOCK_HZ 25000000u
#define BAUD 1000000u

/* A power of two; enough for the answers to what may be on its way. */
#define RING_BYTES 512u

struct uart {
    volatile uint32_t data;
    volatile uint32_t state;
    volatile uint32_t control;
    volatile uint32_t interrupt;
    volatile uint32_t divisor;
};

#define UART_TX_FULL (1u << 0)
#define UART_TX_ENABLE (1u << 0)
#define UART_RX_ENABLE (1u << 1)
#define UART_RX_INTERRUPT_ENABLE (1u << 3)
#define UART_RX_INTERRUPT (1u << 1)

struct systick {
    volatile uint32_t control;
    volatile uint32_t reload;
    volatile uint32_t value;
};

#define SYSTICK_ENABLE (1u << 0)
#define SYSTICK_INTERRUPT (1u << 1)
#define SYSTICK_PROCESSOR_CLOCK (1u << 2)

static struct uart *const uart = (struct uart *)0x40004000;
static struct systick *const systick = (struct systick *)0xe000e010;
static volatile uint32_t *const interrupt_enable = (volatile uint32_t *)0xe000e100;

static volatile uint32_t milliseconds;

/* Filled by the interrupt, emptied by the program; the counts wrap. */
static volatile uint8_t ring[RING_BYTES];
static volatile uint32_t ring_filled;
static volatile uint32_t ring_emptied;

void count_millisecond(void)
{
    milliseconds++;
}

void receive_byte(void)
{
    uart->interrupt = UART_RX_INTERRUPT;
    const uint8_t byte = (uint8_t)uart->data;
    const uint32_t filled = ring_filled;
    if (filled - ring_emptied < RING_BYTES) {
        ring[filled % RING_BYTES] = byte;
        ring_filled = filled + 1;
    }
}

static bool send(void *user, const uint8_t *bytes, size_t count)
{
    (void)user;
    for (size_t i = 0; i < count; i++) {
        while (uart->state & UART_TX_FULL)
            ;
        uart->data = bytes[i];
    }
    return true;
}

/* Returns what there is; the driver asks again until its patience has come to an end. */
static size_t receive(void *user, uint8_t *bytes, size_t capacity, uint32_t patience_ms)
{
    (void)user;
    (void)patience_ms;
    size_t count = 0;
    while (count < capacity && ring_emptied != ring_filled) {
        bytes[count++] = ring[ring_emptied % RING_BYTES];
        ring_emptied = ring_emptied + 1;
    }
    return count;
}

static uint32_t read_milliseconds(void *user)
{
    (void)user;
    return milliseconds;
}

const struct firstspike_port board_port = {
    .send = send, .receive = receive, .milliseconds = read_milliseconds};

const uint16_t board_in_flight = FIRSTSPIKE_MAX_IN_FLIGHT;

void board_init(void)
{
    uart->divisor = CLOCK_HZ / BAUD;
    uart->control = UART_TX_ENABLE | UART_RX_ENABLE | UART_RX_INTERRUPT_ENABLE;
    interrupt_enable[0] = 1;
    systick->reload = CLOCK_HZ / 1000 - 1;
    systick->value = 0;
    systick->control = SYSTICK_ENABLE | SYSTICK_INTERRUPT | SYSTICK_PROCESSOR_CLOCK;
}
