#include "firstspike_exchange.h"

/* Bytes taken from the port at once. */
#define CHUNK_BYTES 32

/* A request that waits for its answer. */
struct flight {
    uint32_t index;
    uint16_t left; /* times that it may be sent again */
    uint8_t op;
    uint8_t seq;
};

/* A task that is being carried out. */
struct exchange {
    struct firstspike *device;
    const struct firstspike_task *task;
    enum firstspike_error result; /* the first request that failed */
    uint32_t next;                /* request to make */
    uint32_t since_ms;            /* when something was last sent, or answered */
    size_t limit;
    size_t count;
    struct flight flights[FIRSTSPIKE_MAX_IN_FLIGHT]; /* in the order of transmission */
};

static uint32_t now(const struct firstspike *device)
{
    return device->port.milliseconds(device->port.user);
}

/* Requests that may be on their way at once; 0 if the device has no room for one. */
static size_t flight_limit(const struct firstspike *device, const struct firstspike_task *task)
{
    if (task->longest > device->greeting.buffer_bytes)
        return 0;
    const size_t coded = firstspike_coded_bytes(task->longest);
    const uint32_t room = (uint32_t)(device->greeting.buffer_bytes / coded);
    size_t limit = FIRSTSPIKE_MAX_IN_FLIGHT;
    if (limit > device->in_flight)
        limit = device->in_flight > 0 ? device->in_flight : 1;
    return room < limit ? (size_t)room : limit;
}

static struct flight remove_flight(struct exchange *exchange, size_t position)
{
    const struct flight removed = exchange->flights[position];
    exchange->count--;
    for (size_t i = position; i < exchange->count; i++)
        exchange->flights[i] = exchange->flights[i + 1];
    return removed;
}

/* Position of the request that was asked for first, among the first `count` in flight. */
static size_t oldest(const struct exchange *exchange, size_t count)
{
    size_t found = 0;
    for (size_t i = 1; i < count; i++)
        if (exchange->flights[i].index < exchange->flights[found].index)
            found = i;
    return found;
}

/* Sends a request, which is then the last in flight. Only a lost line is an error here. */
static enum firstspike_error launch(struct exchange *exchange, struct flight flight)
{
    struct firstspike *device = exchange->device;
    const struct firstspike_task *task = exchange->task;
    struct firstspike_request request;
    const enum firstspike_error error = task->make(task->context, flight.index, &request);
    if (error != FIRSTSPIKE_OK) {
        exchange->result = error;
        return FIRSTSPIKE_OK;
    }
    flight.op = request.op;
    const struct firstspike_frame frame = {.op = request.op,
                                           .seq = flight.seq,
                                           .arg = request.arg,
                                           .payload = request.payload,
                                           .count = request.count};
    exchange->flights[exchange->count++] = flight;
    if (!firstspike_send_frame(&frame, device->port.send, device->port.user))
        return FIRSTSPIKE_LINE_LOST;
    exchange->since_ms = now(device);
    return FIRSTSPIKE_OK;
}

/* Sends the first `count` in flight again, in the order in which they were asked for. */
static enum firstspike_error relaunch(struct exchange *exchange, size_t count)
{
    for (; count > 0; count--) {
        struct flight flight = remove_flight(exchange, oldest(exchange, count));
        if (exchange->result != FIRSTSPIKE_OK)
            continue;
        if (flight.left == 0)
            return FIRSTSPIKE_NO_ANSWER;
        flight.left--;
        exchange->device->resent++;
        const enum firstspike_error error = launch(exchange, flight);
        if (error != FIRSTSPIKE_OK)
            return error;
    }
    return FIRSTSPIKE_OK;
}

/* Makes as many new requests as there is room for. */
static enum firstspike_error submit(struct exchange *exchange)
{
    enum firstspike_error error = FIRSTSPIKE_OK;
    while (error == FIRSTSPIKE_OK && exchange->result == FIRSTSPIKE_OK &&
           exchange->next < exchange->task->requests && exchange->count < exchange->limit) {
        const struct flight flight = {.index = exchange->next++,
                                      .left = exchange->device->retries,
                                      .seq = exchange->device->seq++};
        error = launch(exchange, flight);
    }
    return error;
}

static enum firstspike_error error_of_status(uint32_t status)
{
    return status < FIRSTSPIKE_STATUS_END ? (enum firstspike_error)status
                                          : FIRSTSPIKE_UNKNOWN_STATUS;
}

/* Takes the answer to a request that is no longer in flight. */
static enum firstspike_error settle(const struct exchange *exchange, uint32_t index,
                                    const struct firstspike_frame *frame)
{
    const struct firstspike_task *task = exchange->task;
    if (frame->arg == FIRSTSPIKE_OK)
        return task->take(task->context, index, frame->payload, frame->count);
    if (task->in_turn && frame->arg == FIRSTSPIKE_REPEATED)
        return task->take(task->context, index, NULL, 0);
    return error_of_status(frame->arg);
}

/* Position in flight of what a frame answers; behind the last if it answers nothing. */
static size_t position_of(const struct exchange *exchange, const struct firstspike_frame *frame)
{
    size_t position = 0;
    for (; position < exchange->count; position++) {
        const struct flight *flight = &exchange->flights[position];
        if (flight->seq == frame->seq && (flight->op | FIRSTSPIKE_ANSWER) == frame->op)
            break;
    }
    return position;
}

/* Matches a frame with the request that it answers, if there is one. */
static enum firstspike_error match(struct exchange *exchange, const struct firstspike_frame *frame)
{
    const size_t position = position_of(exchange, frame);
    if (position == exchange->count)
        return FIRSTSPIKE_OK;
    exchange->since_ms = now(exchange->device);
    const bool refused_early = exchange->task->in_turn && frame->arg == FIRSTSPIKE_OUT_OF_ORDER &&
                               oldest(exchange, exchange->count) != position;
    if (refused_early) {
        /* It reached the device, so the line cannot be blamed, and sending it again is free. */
        if (exchange->flights[position].left < UINT16_MAX)
            exchange->flights[position].left++;
        return relaunch(exchange, position + 1);
    }
    const uint32_t index = remove_flight(exchange, position).index;
    const enum firstspike_error error = settle(exchange, index, frame);
    if (exchange->result == FIRSTSPIKE_OK)
        exchange->result = error;
    return relaunch(exchange, position);
}

/* Sends everything again: nothing has been answered for too long. */
static enum firstspike_error break_silence(struct exchange *exchange)
{
    /* What the line made up meanwhile must not become the head of a frame. */
    static const uint8_t end = 0;
    const struct firstspike_port *port = &exchange->device->port;
    if (!port->send(port->user, &end, 1))
        return FIRSTSPIKE_LINE_LOST;
    return relaunch(exchange, exchange->count);
}

/* Waits for bytes and takes the answers that they complete. */
static enum firstspike_error listen(struct exchange *exchange)
{
    struct firstspike *device = exchange->device;
    const uint32_t waited_ms = now(device) - exchange->since_ms;
    if (waited_ms >= device->timeout_ms)
        return break_silence(exchange);
    uint8_t chunk[CHUNK_BYTES];
    const size_t count = device->port.receive(device->port.user, chunk, sizeof chunk,
                                              device->timeout_ms - waited_ms);
    enum firstspike_error error = FIRSTSPIKE_OK;
    /* What follows the last answer is none, and must not take its place. */
    for (size_t i = 0; i < count && exchange->count > 0 && error == FIRSTSPIKE_OK; i++) {
        struct firstspike_frame frame;
        switch (firstspike_decode(&device->decoder, chunk[i], &frame)) {
        case FIRSTSPIKE_NO_FRAME_YET:
            break;
        case FIRSTSPIKE_WHOLE_FRAME:
            error = match(exchange, &frame);
            break;
        case FIRSTSPIKE_DAMAGED_FRAME:
            device->damaged++;
            break;
        }
    }
    return error;
}

enum firstspike_error firstspike_exchange(struct firstspike *device,
                                          const struct firstspike_task *task)
{
    if (!device->connected)
        return FIRSTSPIKE_NOT_CONNECTED;
    const size_t limit = flight_limit(device, task);
    if (limit == 0 && task->requests > 0)
        return FIRSTSPIKE_TOO_LONG;
    struct exchange exchange = {.device = device, .task = task, .limit = limit};
    firstspike_decoder_redirect(&device->decoder, task->answer, task->capacity);
    enum firstspike_error error = submit(&exchange);
    while (error == FIRSTSPIKE_OK && exchange.count > 0) {
        error = listen(&exchange);
        if (error == FIRSTSPIKE_OK)
            error = submit(&exchange);
    }
    if (error == FIRSTSPIKE_OK)
        return exchange.result;
    device->connected = false;
    return error;
}
