#include "firstspike.h"

#include "firstspike_bytes.h"
#include "firstspike_exchange.h"

#define TIMEOUT_MS 500
#define RETRIES 8

/* Room that every device has for frames, before it has told how much. */
#define FIRST_BUFFER_BYTES 64

const char *firstspike_error_text(enum firstspike_error error)
{
    switch (error) {
    case FIRSTSPIKE_OK:
        return "done";
#define FIRSTSPIKE_STATUS(name, value, text)                                                       \
    case FIRSTSPIKE_##name:                                                                        \
        return text;
        FIRSTSPIKE_STATUSES(FIRSTSPIKE_STATUS)
#undef FIRSTSPIKE_STATUS
    case FIRSTSPIKE_UNKNOWN_STATUS:
        return "the device gave a status that this release does not know";
    case FIRSTSPIKE_NOT_CONNECTED:
        return "there is no connection; call firstspike_connect first";
    case FIRSTSPIKE_NO_ANSWER:
        return "the device does not answer; check its power, bitstream, cable and baud rate";
    case FIRSTSPIKE_LINE_LOST:
        return "the port cannot send";
    case FIRSTSPIKE_NO_DEVICE:
        return "what answers is no Firstspike device";
    case FIRSTSPIKE_OTHER_VERSION:
        return "the device speaks another protocol version; rebuild the bitstream or the firmware";
    case FIRSTSPIKE_OTHER_CONFIGURATION:
        return "the device is built for another configuration; compile the model for this one";
    case FIRSTSPIKE_BAD_ANSWER:
        return "an answer has a length that the request does not call for";
    case FIRSTSPIKE_WRONG_MEMORY:
        return "a memory holds other bytes than it should";
    case FIRSTSPIKE_WRONG_REGISTER:
        return "a register holds another value than it should";
    case FIRSTSPIKE_NOT_REFUSED:
        return "the device took a request that it should have refused";
    case FIRSTSPIKE_BAD_MODEL:
        return "the packed model is damaged or of another version";
    case FIRSTSPIKE_READ_FAILED:
        return "the packed model cannot be read";
    case FIRSTSPIKE_TOO_LONG:
        return "a request is longer than the buffer of the device";
    case FIRSTSPIKE_BUFFER_TOO_SMALL:
        return "a buffer is too small";
    }
    return "there is no such error";
}

void firstspike_init(struct firstspike *device, const struct firstspike_port *port)
{
    *device = (struct firstspike){.timeout_ms = TIMEOUT_MS,
                                  .retries = RETRIES,
                                  .in_flight = FIRSTSPIKE_MAX_IN_FLIGHT,
                                  .port = *port};
}

/* Single requests */

struct call {
    const struct firstspike_request *request;
    size_t least;
    size_t most;
};

static enum firstspike_error make_call(void *context, uint32_t index,
                                       struct firstspike_request *request)
{
    const struct call *call = context;
    (void)index;
    *request = *call->request;
    return FIRSTSPIKE_OK;
}

static enum firstspike_error take_call(void *context, uint32_t index, const uint8_t *payload,
                                       size_t count)
{
    const struct call *call = context;
    (void)index;
    (void)payload;
    return count >= call->least && count <= call->most ? FIRSTSPIKE_OK : FIRSTSPIKE_BAD_ANSWER;
}

/* Makes one request; the first `least` bytes of its answer, which has at most `most`, are kept. */
static enum firstspike_error call_open(struct firstspike *device,
                                       const struct firstspike_request *request, uint8_t *answer,
                                       size_t least, size_t most)
{
    struct call call = {.request = request, .least = least, .most = most};
    const struct firstspike_task task = {.requests = 1,
                                         .longest = request->count,
                                         .answer = answer,
                                         .capacity = least,
                                         .make = make_call,
                                         .take = take_call,
                                         .context = &call};
    return firstspike_exchange(device, &task);
}

enum firstspike_error firstspike_call(struct firstspike *device,
                                      const struct firstspike_request *request, uint8_t *answer,
                                      size_t count)
{
    return call_open(device, request, answer, count, count);
}

/* Connecting */

static enum firstspike_error read_greeting(struct firstspike_greeting *greeting,
                                           const uint8_t *bytes)
{
    if (firstspike_get_u32(bytes + FIRSTSPIKE_HELLO_MAGIC) != FIRSTSPIKE_DEVICE_MAGIC)
        return FIRSTSPIKE_NO_DEVICE;
    if (firstspike_get_u16(bytes + FIRSTSPIKE_HELLO_VERSION) != FIRSTSPIKE_PROTOCOL_VERSION)
        return FIRSTSPIKE_OTHER_VERSION;
    greeting->digest = firstspike_get_u64(bytes + FIRSTSPIKE_HELLO_DIGEST);
    greeting->clock_hz = firstspike_get_u32(bytes + FIRSTSPIKE_HELLO_CLOCK_HZ);
    greeting->build = firstspike_get_u32(bytes + FIRSTSPIKE_HELLO_BUILD);
    greeting->buffer_bytes = firstspike_get_u32(bytes + FIRSTSPIKE_HELLO_BUFFER_BYTES);
    for (size_t i = 0; i < FIRSTSPIKE_HELLO_RELEASE_BYTES; i++)
        greeting->release[i] = (char)bytes[FIRSTSPIKE_HELLO_RELEASE + i];
    return greeting->buffer_bytes >= FIRST_BUFFER_BYTES ? FIRSTSPIKE_OK : FIRSTSPIKE_NO_DEVICE;
}

static enum firstspike_error greet(struct firstspike *device, uint64_t digest)
{
    static const uint8_t end = 0;
    const struct firstspike_request hello = {.op = FIRSTSPIKE_HELLO};
    /* Ends what may have been sent of a frame before. */
    if (!device->port.send(device->port.user, &end, 1))
        return FIRSTSPIKE_LINE_LOST;
    enum firstspike_error error =
        call_open(device, &hello, device->answer, FIRSTSPIKE_HELLO_BYTES, SIZE_MAX);
    if (error == FIRSTSPIKE_BAD_ANSWER)
        return FIRSTSPIKE_NO_DEVICE;
    if (error == FIRSTSPIKE_OK)
        error = read_greeting(&device->greeting, device->answer);
    if (error == FIRSTSPIKE_OK && digest != 0 && digest != device->greeting.digest)
        error = FIRSTSPIKE_OTHER_CONFIGURATION;
    return error;
}

enum firstspike_error firstspike_connect(struct firstspike *device, uint64_t digest)
{
    device->greeting = (struct firstspike_greeting){.buffer_bytes = FIRST_BUFFER_BYTES};
    device->connected = true;
    const enum firstspike_error error = greet(device, digest);
    device->connected = error == FIRSTSPIKE_OK;
    return error;
}

/* Registers */

enum firstspike_error firstspike_read_register(struct firstspike *device, uint32_t address,
                                               uint32_t *value)
{
    const struct firstspike_request request = {.op = FIRSTSPIKE_READ_REGISTER, .arg = address};
    const enum firstspike_error error = firstspike_call(device, &request, device->answer, 4);
    if (error == FIRSTSPIKE_OK)
        *value = firstspike_get_u32(device->answer);
    return error;
}

enum firstspike_error firstspike_write_register(struct firstspike *device, uint32_t address,
                                                uint32_t value)
{
    uint8_t payload[4];
    firstspike_put_u32(payload, value);
    const struct firstspike_request request = {.op = FIRSTSPIKE_WRITE_REGISTER,
                                               .arg = address,
                                               .payload = payload,
                                               .count = sizeof payload};
    return firstspike_call(device, &request, device->answer, 0);
}

enum firstspike_error firstspike_read_counters(struct firstspike *device,
                                               uint32_t counters[FIRSTSPIKE_COUNTERS])
{
    static const uint8_t addresses[FIRSTSPIKE_COUNTERS] = FIRSTSPIKE_COUNTER_ADDRESSES;
    enum firstspike_error error = FIRSTSPIKE_OK;
    for (size_t i = 0; i < FIRSTSPIKE_COUNTERS && error == FIRSTSPIKE_OK; i++)
        error = firstspike_read_register(device, addresses[i], &counters[i]);
    return error;
}
