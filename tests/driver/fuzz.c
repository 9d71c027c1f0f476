/*
 * A device that cannot be trusted, for the driver to talk to.
 *
 * Each input is a script. It says which calls are made and what the device makes of each request:
 * the right answer, another status, a payload of any length, a damaged frame, an old one, several,
 * noise, or nothing. When the script ends, the device either babbles for ever, and every call has to
 * end all the same; or it comes to its senses, and the driver has to recover: to connect, load a
 * model and get the right answers.
 *
 * With a count and a seed as its arguments the program makes its inputs itself. With
 * `clang -fsanitize=fuzzer,address,undefined -DLIBFUZZER` libFuzzer does. The sanitizers watch over
 * memory and arithmetic; everything that is checked here ends in abort().
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firstspike.h"

#define MAX_FRAME 1024
#define MAX_QUEUE 65536
#define REGIONS 2
#define WORDS 20
#define WORD_BYTES 3
#define REGION_BYTES (WORDS * WORD_BYTES)
#define SAMPLES 5
#define MAX_SAMPLE 600
#define LIST_BYTES 40

/* More than any call takes with the limits set below. */
#define MAX_RECEIVES 2000000

#define DIGEST UINT64_C(0x0123456789abcdef)
#define MODEL UINT32_C(0xfeedbeef)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(bool condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "not so: %s\n", what);
        abort();
    }
}

/* The script */

static const uint8_t *script;
static size_t script_left;

static uint8_t next(void)
{
    if (script_left == 0)
        return 0;
    script_left--;
    return *script++;
}

/* Frames, by code that shares nothing with the driver's */

static uint32_t crc32(const uint8_t *bytes, size_t count)
{
    uint32_t crc = 0xffffffff;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    return crc ^ 0xffffffff;
}

static void put32(uint8_t *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static uint32_t get32(const uint8_t *from)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++)
        value |= (uint32_t)from[i] << 8 * i;
    return value;
}

static uint8_t queue[MAX_QUEUE];
static size_t queue_start, queue_end;

static void queue_byte(uint8_t byte)
{
    if (queue_end < MAX_QUEUE)
        queue[queue_end++] = byte;
}

/* Queues a frame; returns where it starts. */
static size_t queue_frame(uint8_t op, uint8_t seq, uint32_t arg, const uint8_t *payload,
                          size_t count)
{
    uint8_t body[MAX_FRAME + 10];
    const size_t start = queue_end;
    body[0] = op;
    body[1] = seq;
    put32(body + 2, arg);
    if (count > 0)
        memcpy(body + 6, payload, count);
    put32(body + 6 + count, crc32(body, 6 + count));
    const size_t length = count + 10;
    size_t code = queue_end;
    queue_byte(1);
    for (size_t i = 0; i < length && code < MAX_QUEUE; i++) {
        if (body[i] != 0) {
            queue_byte(body[i]);
            queue[code]++;
        }
        if (body[i] == 0 || queue[code] == 0xff) {
            code = queue_end;
            queue_byte(1);
        }
    }
    queue_byte(0);
    return start;
}

/* The device */

static uint8_t memory[REGIONS][REGION_BYTES];
static uint32_t registers[256];
static uint8_t last_seq;
static uint32_t buffer_bytes;

static size_t greeting(uint8_t *payload)
{
    static const char json[] = "{\"layers\":[]}";
    memset(payload, 0, 44);
    memcpy(payload, "1spk", 4);
    payload[4] = FIRSTSPIKE_PROTOCOL_VERSION;
    put32(payload + 8, (uint32_t)DIGEST);
    put32(payload + 12, (uint32_t)(DIGEST >> 32));
    put32(payload + 24, buffer_bytes);
    memcpy(payload + 44, json, sizeof json - 1);
    return 44 + sizeof json - 1;
}

/* What an honest device answers; returns the status. */
static uint32_t answer(uint8_t op, uint32_t arg, const uint8_t *in, size_t count, uint8_t *out,
                       size_t *out_count)
{
    const uint32_t region = arg >> 24, start = (arg & 0xffffff) * WORD_BYTES;
    const uint32_t bytes = count == 4 ? get32(in) * WORD_BYTES : 0;
    *out_count = 0;
    switch (op) {
    case FIRSTSPIKE_HELLO:
        *out_count = greeting(out);
        return 0;
    case FIRSTSPIKE_READ_REGISTER:
        if (arg > 255)
            return FIRSTSPIKE_BAD_ADDRESS;
        put32(out, registers[arg]);
        *out_count = 4;
        return 0;
    case FIRSTSPIKE_WRITE_REGISTER:
        if (count != 4)
            return FIRSTSPIKE_BAD_LENGTH;
        if (arg == FIRSTSPIKE_REGISTER_FRAMES_ACCEPTED)
            return FIRSTSPIKE_READ_ONLY;
        if (arg == FIRSTSPIKE_REGISTER_STEPS && get32(in) == 0)
            return FIRSTSPIKE_BAD_VALUE;
        registers[arg & 255] = get32(in);
        return 0;
    case FIRSTSPIKE_WRITE_MEMORY:
        if (region >= REGIONS || start + count > REGION_BYTES)
            return FIRSTSPIKE_BAD_ADDRESS;
        memcpy(memory[region] + start, in, count);
        return 0;
    case FIRSTSPIKE_MEMORY_CRC:
    case FIRSTSPIKE_READ_MEMORY:
        if (region >= REGIONS || bytes > REGION_BYTES || start > REGION_BYTES - bytes)
            return FIRSTSPIKE_BAD_ADDRESS;
        if (op == FIRSTSPIKE_READ_MEMORY) {
            memcpy(out, memory[region] + start, bytes);
            *out_count = bytes;
            return 0;
        }
        put32(out, crc32(memory[region] + start, bytes));
        *out_count = 4;
        return 0;
    case FIRSTSPIKE_INFER_BITMAP:
    case FIRSTSPIKE_INFER_SPIKES:
        if (registers[FIRSTSPIKE_REGISTER_MODEL] == 0 ||
            registers[FIRSTSPIKE_REGISTER_MODEL] != arg)
            return FIRSTSPIKE_NO_MODEL;
        /* The label is the sample's first byte, so that a mistaken identity is seen. */
        memset(out, 0, 14);
        out[4] = count > 0 ? in[0] : 0;
        *out_count = 14;
        return 0;
    case FIRSTSPIKE_LEARN_BITMAP:
    case FIRSTSPIKE_LEARN_SPIKES: {
        const uint16_t ahead = (uint16_t)(arg - registers[FIRSTSPIKE_REGISTER_LEARNED]);
        if (ahead != 0)
            return ahead >= 0x8000 ? FIRSTSPIKE_REPEATED : FIRSTSPIKE_OUT_OF_ORDER;
        registers[FIRSTSPIKE_REGISTER_LEARNED]++;
        memset(out, 0, 14);
        *out_count = 14;
        return 0;
    }
    default:
        return FIRSTSPIKE_UNKNOWN_OPERATION;
    }
}

static void take_request(const uint8_t *body, size_t length)
{
    uint8_t out[MAX_FRAME];
    size_t count;
    const uint8_t op = body[0], seq = body[1];
    const uint8_t choice = next();
    if (choice % 16 == 1)
        return;
    const uint32_t arg = get32(body + 2);
    const uint32_t status = answer(op, arg, body + 6, length - 10, out, &count);
    if (choice % 16 == 2) {
        queue_frame(op | 0x80, seq, next(), out, 0);
    } else if (choice % 16 == 3) {
        count = next();
        for (size_t i = 0; i < count; i++)
            out[i] = next();
        queue_frame(op | 0x80, seq, status, out, count);
    } else if (choice % 16 == 4) {
        const size_t start = queue_frame(op | 0x80, seq, status, out, count);
        const size_t frame = queue_end - start;
        queue[start + next() % frame] ^= (uint8_t)(1 << next() % 8);
    } else if (choice % 16 == 5) {
        for (size_t i = next(); i > 0; i--)
            queue_byte(next());
        queue_frame(op | 0x80, seq, status, out, count);
    } else if (choice % 16 == 6) {
        queue_frame(op | 0x80, last_seq, status, out, count);
        queue_frame(op | 0x80, seq, status, out, count);
        queue_frame(op | 0x80, seq, status, out, count);
    } else if (choice % 16 == 7) {
        queue_frame(next(), next(), next(), out, count);
    } else {
        queue_frame(op | 0x80, seq, status, out, count);
    }
    last_seq = seq;
}

/* The port */

static uint8_t sent[2 * MAX_FRAME];
static size_t sent_count;
static uint32_t time_ms;
static uint32_t receives;
static bool babbling;
static bool pulled;

/* Recodes what was sent; returns its length, or 0 if it is no frame. */
static size_t decode_request(uint8_t *body)
{
    size_t length = 0;
    for (size_t i = 0; i < sent_count;) {
        const size_t end = i + sent[i];
        if (end > sent_count)
            return 0;
        const bool zero = sent[i] != 0xff && end < sent_count;
        memcpy(body + length, sent + i + 1, end - i - 1);
        length += end - i - 1;
        if (zero)
            body[length++] = 0;
        i = end;
    }
    return length >= 10 && crc32(body, length - 4) == get32(body + length - 4) ? length : 0;
}

static void end_request(void)
{
    uint8_t body[2 * MAX_FRAME];
    const size_t length = decode_request(body);
    demand(length > 0 || sent_count == 0 || pulled, "the driver sends whole frames");
    sent_count = 0;
    pulled = false;
    if (length > 0 && !(babbling && script_left == 0))
        take_request(body, length);
}

static bool send_bytes(void *user, const uint8_t *bytes, size_t count)
{
    (void)user;
    for (size_t i = 0; i < count; i++) {
        demand(sent_count < sizeof sent, "the driver sends no more than the device's buffer holds");
        if (bytes[i] == 0)
            end_request();
        else
            sent[sent_count++] = bytes[i];
    }
    /* A cable may be pulled in the middle of a frame. */
    pulled |= script_left > 0 && next() == 0x91;
    return !pulled;
}

static size_t receive_bytes(void *user, uint8_t *bytes, size_t capacity, uint32_t patience_ms)
{
    (void)user;
    demand(++receives < MAX_RECEIVES, "every call ends");
    size_t count = queue_end - queue_start;
    if (count > capacity)
        count = capacity;
    memcpy(bytes, queue + queue_start, count);
    queue_start += count;
    if (queue_start == queue_end)
        queue_start = queue_end = 0;
    if (count > 0)
        return count;
    if (babbling && script_left == 0) {
        /* Zeros at some times, and at others one frame without an end. */
        time_ms++;
        memset(bytes, time_ms & 0x400 ? 0x01 : 0x00, capacity);
        return capacity;
    }
    time_ms += patience_ms;
    return 0;
}

static uint32_t milliseconds(void *user)
{
    (void)user;
    return time_ms;
}

/* The model */

static uint8_t model[20 + 8 + REGIONS * 12 + 4 + REGIONS * REGION_BYTES];
static uint8_t mutated[sizeof model];

static void make_model(void)
{
    uint8_t *at = model;
    memcpy(at, "1spm\1\0\1\2", 8);
    put32(at + 8, (uint32_t)DIGEST);
    put32(at + 12, (uint32_t)(DIGEST >> 32));
    put32(at + 16, MODEL);
    at += 20;
    put32(at, FIRSTSPIKE_REGISTER_CLASSES);
    put32(at + 4, 3);
    at += 8;
    uint8_t *contents = model + sizeof model - REGIONS * REGION_BYTES;
    for (int region = 0; region < REGIONS; region++, at += 12) {
        for (int i = 0; i < REGION_BYTES; i++)
            contents[region * REGION_BYTES + i] = (uint8_t)(7 * i + region);
        put32(at, WORDS);
        put32(at + 4, WORD_BYTES);
        put32(at + 8, crc32(contents + region * REGION_BYTES, REGION_BYTES));
    }
    put32(at, crc32(model, (size_t)(at - model)));
}

static bool read_model(void *user, uint32_t offset, uint8_t *bytes, size_t count)
{
    const uint8_t *from = user;
    if (offset > sizeof model || count > sizeof model - offset)
        return false;
    memcpy(bytes, from + offset, count);
    return next() != 0x77;
}

/* A model that may be damaged, in memory or read through a buffer. */
static struct firstspike_source choose_model(uint8_t *buffer, size_t capacity)
{
    const uint8_t choice = next();
    memcpy(mutated, model, sizeof model);
    if (choice & 1) {
        /* A table of any contents, with the right CRC. */
        for (int i = next() % 8; i > 0; i--)
            mutated[next() % sizeof mutated] = next();
        const size_t end = 20 + 8u * mutated[6] + 12u * mutated[7];
        if (end + 4 <= sizeof mutated)
            put32(mutated + end, crc32(mutated, end));
    }
    struct firstspike_source source = {.read = read_model, .user = mutated};
    if (choice & 2) {
        source.bytes = mutated;
        source.count = choice & 4 ? next() % sizeof mutated : (uint32_t)sizeof mutated;
    } else {
        source.buffer = buffer;
        source.capacity = choice & 4 ? next() % capacity : capacity;
    }
    return source;
}

/* Calls */

static uint32_t ends[0x200];

static void note(enum firstspike_error error)
{
    demand((unsigned)error < sizeof ends / sizeof ends[0], "errors have known numbers");
    demand(strlen(firstspike_error_text(error)) > 3, "errors have a text");
    ends[error]++;
}

/* Makes a list of spikes and compares it with what the rules of it allow. */
static void check_list(void)
{
    uint8_t list[LIST_BYTES + 1], expected[LIST_BYTES];
    const size_t capacity = next() % (LIST_BYTES + 1);
    struct firstspike_spikes spikes = {.bytes = list, .capacity = capacity};
    size_t count = 0;
    int32_t step = 0, last = -1;
    list[capacity] = 0x5a;
    for (int left = next() % 32; left > 0; left--) {
        const uint8_t choice = next();
        int32_t new_step = step + choice % 4 - (choice & 0x40 ? 1 : 0);
        int32_t input = next() % 8 + (choice & 0x20 ? last : 0);
        if (choice == 0x99)
            new_step = 0x7ffe + input % 4;
        if (choice == 0x9b)
            input = 0x7ffe + new_step % 4;
        if (new_step < 0 || input < 0)
            continue;
        const bool right = new_step >= step && new_step < 0x8000 && input < 0x8000 &&
                           (new_step > step || input > last);
        const size_t needed = new_step > step ? 4 : 2;
        const enum firstspike_error error =
            firstspike_add_spike(&spikes, (uint16_t)new_step, (uint16_t)input);
        if (right && needed <= capacity - count) {
            if (needed == 4) {
                expected[count++] = (uint8_t)new_step;
                expected[count++] = (uint8_t)(0x80 | new_step >> 8);
            }
            expected[count++] = (uint8_t)input;
            expected[count++] = (uint8_t)(input >> 8);
            step = new_step;
            last = input;
            demand(error == FIRSTSPIKE_OK, "a right spike is added");
        } else {
            demand(error == (right ? FIRSTSPIKE_BUFFER_TOO_SMALL : FIRSTSPIKE_BAD_SAMPLE),
                   "a wrong spike is refused");
        }
        const struct firstspike_sample sample = firstspike_spikes_sample(&spikes);
        demand(sample.count == count && memcmp(sample.bytes, expected, count) == 0,
               "the list holds what was added");
    }
    demand(list[capacity] == 0x5a, "nothing is written behind the list");
}

static enum firstspike_error call(struct firstspike *device, uint8_t choice)
{
    static uint8_t contents[MAX_SAMPLE + SAMPLES];
    struct firstspike_sample samples[SAMPLES];
    struct firstspike_lesson lessons[SAMPLES];
    struct firstspike_outcome outcomes[SAMPLES];
    uint8_t buffer[64], bytes[REGION_BYTES];
    uint32_t value, counters[FIRSTSPIKE_COUNTERS];
    struct firstspike_span span = {.region = next() % 3,
                                   .word_bytes = choice & 0x80 ? next() % 4 : WORD_BYTES,
                                   .word = next() % 4,
                                   .words = next() % (WORDS - 3)};
    const uint8_t far = next();
    if (far >= 0xf8)
        span.word += 0x1000000u * (far & 7u) - 2;
    const bool beyond = span.word >= 0x1000000 || span.word + span.words > 0x1000000;
    const uint8_t large = next();
    for (int i = 0; i < SAMPLES; i++) {
        size_t count = next() % 24;
        if (large % 8 == 0)
            count = (size_t)(count * large) % (MAX_SAMPLE + 1);
        contents[i] = (uint8_t)(10 + i);
        samples[i] = (struct firstspike_sample){i % 2 ? FIRSTSPIKE_BITMAP : FIRSTSPIKE_SPIKES,
                                                &contents[i], count};
        lessons[i] = (struct firstspike_lesson){samples[i], next()};
    }
    device->in_flight = next() % 10;
    enum firstspike_error error;
    switch (choice % 13) {
    case 0:
        return firstspike_connect(device, choice & 0x80 ? DIGEST : 0);
    case 1:
        return firstspike_read_register(device, next(), &value);
    case 2:
        return firstspike_write_register(device, next(), next());
    case 3:
        return firstspike_read_counters(device, counters);
    case 4:
        error = firstspike_read_memory(device, &span, bytes);
        demand(!beyond || error != FIRSTSPIKE_OK, "no region has such words");
        return error;
    case 5:
        memset(bytes, 0, sizeof bytes);
        error = firstspike_write_memory(device, &span, bytes);
        demand(!beyond || error != FIRSTSPIKE_OK, "no region has such words");
        return error;
    case 6:
        return firstspike_resume(device, choice & 0x80 ? MODEL : 0);
    case 7:
        return firstspike_infer_many(device, samples, next() % (SAMPLES + 1), outcomes);
    case 8:
        value = choice & 0x80 ? next() : registers[FIRSTSPIKE_REGISTER_LEARNED];
        return firstspike_learn(device, lessons, SAMPLES, value, outcomes);
    case 12:
        check_list();
        return firstspike_memory_crc(device, &span, &value);
    default: {
        const struct firstspike_source source = choose_model(buffer, sizeof buffer);
        if (choice % 13 == 9)
            return firstspike_load(device, &source);
        if (choice % 13 == 10)
            return firstspike_verify(device, &source);
        return firstspike_selftest(device, &source, bytes, choice & 0x80 ? 2 : sizeof bytes);
    }
    }
}

/* The device is honest again: everything has to work. */
static void recover(struct firstspike *device)
{
    const struct firstspike_source source = {.bytes = model, .count = sizeof model};
    static const uint8_t bitmap[SAMPLES] = {3, 1, 4, 1, 5};
    struct firstspike_sample samples[SAMPLES];
    struct firstspike_outcome outcomes[SAMPLES];
    uint8_t buffer[16];
    for (int i = 0; i < SAMPLES; i++)
        samples[i] = (struct firstspike_sample){FIRSTSPIKE_BITMAP, &bitmap[i], 1};
    /* What is still on the line from before may spoil an answer. */
    if (device->retries < 2)
        device->retries = 2;
    demand(firstspike_connect(device, DIGEST) == FIRSTSPIKE_OK, "it connects again");
    demand(firstspike_selftest(device, &source, buffer, sizeof buffer) == FIRSTSPIKE_OK,
           "it passes the self-test");
    demand(registers[FIRSTSPIKE_REGISTER_MODEL] == MODEL, "it loads the model");
    demand(memcmp(memory, model + sizeof model - sizeof memory, sizeof memory) == 0,
           "it loads every byte");
    demand(firstspike_infer_many(device, samples, SAMPLES, outcomes) == FIRSTSPIKE_OK, "it infers");
    for (int i = 0; i < SAMPLES; i++)
        demand(outcomes[i].label == bitmap[i], "outcomes are those of their samples");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct firstspike_port port = {
        .send = send_bytes, .receive = receive_bytes, .milliseconds = milliseconds};
    static const uint32_t buffers[] = {256, 64, 65, 100, 300, 512, 1000, UINT32_MAX};
    struct firstspike device;
    make_model();
    script = data;
    script_left = size;
    memset(memory, 0, sizeof memory);
    memset(registers, 0, sizeof registers);
    queue_start = queue_end = sent_count = 0;
    pulled = false;
    /* Close to its end, so that it wraps. */
    time_ms = UINT32_MAX - 100;
    babbling = next() & 1;
    firstspike_init(&device, &port);
    device.timeout_ms = 20;
    const uint8_t limits = next();
    device.retries = limits % 8;
    buffer_bytes = buffers[limits / 8 % 8];
    for (int calls = 0; calls < 12 && script_left > 0; calls++) {
        receives = 0;
        note(call(&device, calls == 0 ? 0 : next()));
    }
    script_left = 0;
    receives = 0;
    if (babbling)
        demand(firstspike_connect(&device, 0) == FIRSTSPIKE_NO_ANSWER, "noise is no answer");
    else
        recover(&device);
    return 0;
}

/* Inputs of its own */

#ifndef LIBFUZZER

static uint64_t state;

static uint32_t draw(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)((state >> 16) % below);
}

/* Scripts that are mostly honest go deeper than those that are not. */
static size_t make_input(uint8_t *data, size_t capacity)
{
    const size_t size = draw((uint32_t)capacity);
    const uint32_t honesty = draw(4) == 0 ? 1 : 1 + draw(60);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(draw(honesty) == 0 ? draw(256) : draw(256) | 8);
    return size;
}

int main(int count, char **arguments)
{
    const unsigned long inputs = count > 1 ? strtoul(arguments[1], NULL, 10) : 10000;
    const unsigned long seed = count > 2 ? strtoul(arguments[2], NULL, 10) : 1;
    for (unsigned long i = 0; i < inputs; i++) {
        uint8_t data[400];
        state = (seed << 40 | i) + 1;
        for (int warm_up = 0; warm_up < 8; warm_up++)
            draw(2);
        const size_t size = make_input(data, sizeof data);
        /* As large as it has to be, so that the sanitizers see what reads beyond. */
        uint8_t *exact = malloc(size > 0 ? size : 1);
        demand(exact != NULL, "there is memory");
        memcpy(exact, data, size);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    printf("%lu inputs\n", inputs);
    for (size_t error = 0; error < sizeof ends / sizeof ends[0]; error++)
        if (ends[error] > 0)
            printf("%10lu %s\n", (unsigned long)ends[error],
                   firstspike_error_text((enum firstspike_error)error));
    return 0;
}

#endif
