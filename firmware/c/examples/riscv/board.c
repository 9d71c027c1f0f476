/*
 * QEMU's virt machine (RV32). The device is at its only UART, which is polled: so one request is on
 * its way at a time, and the device is silent while the next one is sent.
 */

#include "board.h"

/* A 16550: eight registers of a byte each. */
static volatile uint8_t *const uart = (volatile uint8_t *)0x10000000;

#define UART_DATA 0
#define UART_FIFO_CONTROL 2
#define UART_LINE_CONTROL 3
#define UART_LINE_STATUS 5

#define UART_FIFO_ENABLE 0x01
#define UART_8_BITS 0x03
#define UART_RX_READY 0x01
#define UART_TX_READY 0x20

/* Counts at 10 MHz since reset. */
static volatile const uint32_t *const mtime = (volatile const uint32_t *)0x0200bff8;

#define MTIME_PER_MS 10000u

static bool send(void *user, const uint8_t *bytes, size_t count)
{
    (void)user;
    for (size_t i = 0; i < count; i++) {
        while (!(uart[UART_LINE_STATUS] & UART_TX_READY))
            ;
        uart[UART_DATA] = bytes[i];
    }
    return true;
}

/* Returns what there is; the driver asks again until its patience has come to an end. */
static size_t receive(void *user, uint8_t *bytes, size_t capacity, uint32_t patience_ms)
{
    (void)user;
    (void)patience_ms;
    size_t count = 0;
    while (count < capacity && (uart[UART_LINE_STATUS] & UART_RX_READY))
        bytes[count++] = uart[UART_DATA];
    return count;
}

/* The low half of mtime wraps every seven minutes, so milliseconds are counted from its steps. */
static uint32_t milliseconds(void *user)
{
    static uint32_t counted, last;
    (void)user;
    const uint32_t passed = (mtime[0] - last) / MTIME_PER_MS;
    last += passed * MTIME_PER_MS;
    counted += passed;
    return counted;
}

const struct firstspike_port board_port = {
    .send = send, .receive = receive, .milliseconds = milliseconds};

const uint16_t board_in_flight = 1;

void board_init(void)
{
    uart[UART_LINE_CONTROL] = UART_8_BITS;
    uart[UART_FIFO_CONTROL] = UART_FIFO_ENABLE;
}
