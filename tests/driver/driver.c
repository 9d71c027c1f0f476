/*
 * The driver as a program: commands come in on standard input, one a line, and so does what the
 * device sends; see c_driver.py. Time is that of the other side, which may be virtual.
 *
 * To the program               From the program
 *   COMMAND arguments …          send HEX                  bytes for the device
 *   TIME HEX                     receive CAPACITY PATIENCE answered by TIME HEX
 *                                NUMBER RESULTS …          the command's error code and results
 *
 * Bytes are hexadecimal, and a dash stands for none.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "firstspike.h"

#define MAX_LINE (1 << 22)
#define MAX_BYTES (1 << 20)
#define MAX_SAMPLES 4096

static struct firstspike device;
static uint32_t time_ms;
static char line[MAX_LINE];
static char *rest;

static struct firstspike_sample samples[MAX_SAMPLES];
static struct firstspike_lesson lessons[MAX_SAMPLES];
static struct firstspike_outcome outcomes[MAX_SAMPLES];
static uint32_t sample_count;
static uint8_t bytes[MAX_BYTES];
static size_t byte_count;

/* Text */

static bool read_line(void)
{
    if (fgets(line, sizeof line, stdin) == NULL)
        return false;
    rest = line;
    return true;
}

static const char *word(void)
{
    const char *found = strtok(rest, " \n");
    rest = NULL;
    return found != NULL ? found : "";
}

static uint64_t number(void)
{
    return strtoull(word(), NULL, 0);
}

static size_t read_hex(uint8_t *to, size_t capacity)
{
    const char *text = word();
    size_t count = 0;
    for (; strcmp(text, "-") != 0 && text[2 * count] != '\0'; count++) {
        unsigned value = 0;
        if (count == capacity || sscanf(text + 2 * count, "%2x", &value) != 1)
            abort();
        to[count] = (uint8_t)value;
    }
    return count;
}

static void print_hex(const uint8_t *from, size_t count)
{
    if (count == 0)
        putchar('-');
    for (size_t i = 0; i < count; i++)
        printf("%02x", from[i]);
}

/* The port */

static bool send_bytes(void *user, const uint8_t *from, size_t count)
{
    (void)user;
    printf("send ");
    print_hex(from, count);
    putchar('\n');
    return true;
}

static size_t receive_bytes(void *user, uint8_t *to, size_t capacity, uint32_t patience_ms)
{
    (void)user;
    printf("receive %zu %" PRIu32 "\n", capacity, patience_ms);
    fflush(stdout);
    if (!read_line())
        exit(1);
    time_ms = (uint32_t)number();
    return read_hex(to, capacity);
}

static uint32_t milliseconds(void *user)
{
    (void)user;
    return time_ms;
}

/* Commands */

static enum firstspike_error connect_device(void)
{
    return firstspike_connect(&device, number());
}

static void print_greeting(void)
{
    const struct firstspike_greeting *greeting = &device.greeting;
    printf(" %" PRIu64 " %" PRIu32 " %" PRIu32 " %" PRIu32 " %s", greeting->digest,
           greeting->clock_hz, greeting->build, greeting->buffer_bytes, greeting->release);
}

static enum firstspike_error set_limits(void)
{
    device.timeout_ms = (uint32_t)number();
    device.retries = (uint16_t)number();
    device.in_flight = (uint16_t)number();
    return FIRSTSPIKE_OK;
}

static uint32_t value;

static enum firstspike_error read_register(void)
{
    return firstspike_read_register(&device, (uint32_t)number(), &value);
}

static void print_value(void)
{
    printf(" %" PRIu32, value);
}

static enum firstspike_error write_register(void)
{
    const uint32_t address = (uint32_t)number();
    return firstspike_write_register(&device, address, (uint32_t)number());
}

static uint32_t counters[FIRSTSPIKE_COUNTERS];

static enum firstspike_error read_counters(void)
{
    return firstspike_read_counters(&device, counters);
}

static void print_counters(void)
{
    for (size_t i = 0; i < FIRSTSPIKE_COUNTERS; i++)
        printf(" %" PRIu32, counters[i]);
}

static struct firstspike_span read_span(void)
{
    struct firstspike_span span;
    span.region = (uint8_t)number();
    span.word = (uint32_t)number();
    span.words = (uint32_t)number();
    span.word_bytes = (uint16_t)number();
    return span;
}

/* Buffers are as large as they have to be and no larger, so that the sanitizers see what is over. */
static uint8_t *exact(size_t count)
{
    uint8_t *buffer = malloc(count > 0 ? count : 1);
    if (buffer == NULL)
        abort();
    return buffer;
}

static enum firstspike_error read_memory(void)
{
    const struct firstspike_span span = read_span();
    byte_count = (size_t)span.words * span.word_bytes;
    uint8_t *buffer = exact(byte_count);
    const enum firstspike_error error = firstspike_read_memory(&device, &span, buffer);
    if (error == FIRSTSPIKE_OK)
        memcpy(bytes, buffer, byte_count);
    free(buffer);
    return error;
}

static void print_bytes(void)
{
    putchar(' ');
    print_hex(bytes, byte_count);
}

static enum firstspike_error write_memory(void)
{
    const struct firstspike_span span = read_span();
    read_hex(bytes, sizeof bytes);
    return firstspike_write_memory(&device, &span, bytes);
}

static enum firstspike_error memory_crc(void)
{
    const struct firstspike_span span = read_span();
    return firstspike_memory_crc(&device, &span, &value);
}

static uint8_t model[MAX_BYTES];
static size_t model_count;

static bool read_model(void *user, uint32_t offset, uint8_t *to, size_t count)
{
    (void)user;
    if (offset > model_count || count > model_count - offset)
        return false;
    memcpy(to, model + offset, count);
    return true;
}

/* Takes a model, and the capacity of the buffer that it goes through, or 0 for none. */
static enum firstspike_error with_model(
    enum firstspike_error (*use)(struct firstspike *, const struct firstspike_source *))
{
    struct firstspike_source source = {.bytes = model, .read = read_model};
    source.capacity = (size_t)number();
    model_count = read_hex(model, sizeof model);
    source.count = (uint32_t)model_count;
    if (source.capacity > 0) {
        source.bytes = NULL;
        source.buffer = exact(source.capacity);
    }
    const enum firstspike_error error = use(&device, &source);
    free(source.buffer);
    return error;
}

static enum firstspike_error load(void)
{
    return with_model(firstspike_load);
}

static enum firstspike_error verify(void)
{
    return with_model(firstspike_verify);
}

static enum firstspike_error resume(void)
{
    return firstspike_resume(&device, (uint32_t)number());
}

static enum firstspike_error use_in_selftest(struct firstspike *tested,
                                             const struct firstspike_source *source)
{
    const size_t capacity = source->capacity > 0 ? source->capacity : 256;
    uint8_t *buffer = exact(capacity);
    const enum firstspike_error error = firstspike_selftest(tested, source, buffer, capacity);
    free(buffer);
    return error;
}

static enum firstspike_error selftest(void)
{
    return with_model(use_in_selftest);
}

static enum firstspike_error clear_samples(void)
{
    for (uint32_t i = 0; i < sample_count; i++)
        free((uint8_t *)(uintptr_t)samples[i].bytes);
    sample_count = 0;
    return FIRSTSPIKE_OK;
}

/* Takes a label and the bytes of a bitmap. */
static enum firstspike_error add_bitmap(void)
{
    const uint16_t label = (uint16_t)number();
    byte_count = read_hex(bytes, sizeof bytes);
    uint8_t *bitmap = exact(byte_count);
    memcpy(bitmap, bytes, byte_count);
    samples[sample_count] = (struct firstspike_sample){FIRSTSPIKE_BITMAP, bitmap, byte_count};
    lessons[sample_count] = (struct firstspike_lesson){samples[sample_count], label};
    sample_count++;
    return FIRSTSPIKE_OK;
}

/* Takes a label, the room for the list, the number of spikes, and a step and an input of each. */
static enum firstspike_error add_spikes(void)
{
    const uint16_t label = (uint16_t)number();
    struct firstspike_spikes spikes = {.capacity = (size_t)number()};
    spikes.bytes = exact(spikes.capacity);
    enum firstspike_error error = FIRSTSPIKE_OK;
    for (uint64_t left = number(); left > 0 && error == FIRSTSPIKE_OK; left--) {
        const uint16_t step = (uint16_t)number();
        error = firstspike_add_spike(&spikes, step, (uint16_t)number());
    }
    samples[sample_count] = firstspike_spikes_sample(&spikes);
    lessons[sample_count] = (struct firstspike_lesson){samples[sample_count], label};
    sample_count++;
    return error;
}

static enum firstspike_error infer(void)
{
    return sample_count == 1 ? firstspike_infer(&device, samples, outcomes)
                             : firstspike_infer_many(&device, samples, sample_count, outcomes);
}

static enum firstspike_error learn(void)
{
    return firstspike_learn(&device, lessons, sample_count, (uint32_t)number(), outcomes);
}

static void print_outcomes(void)
{
    for (uint32_t i = 0; i < sample_count; i++) {
        const struct firstspike_outcome *outcome = &outcomes[i];
        printf(" %u,%u,%d,%d,%" PRIu32, outcome->label, outcome->step, outcome->fired,
               outcome->repeated, outcome->cycles);
        for (size_t layer = 0; layer < FIRSTSPIKE_LAYERS; layer++)
            printf(",%u", outcome->rows[layer]);
    }
}

static enum firstspike_error count_troubles(void)
{
    return FIRSTSPIKE_OK;
}

static enum firstspike_error tell_region(void)
{
    value = device.wrong_region;
    return FIRSTSPIKE_OK;
}

/* The bytes of the sample that was added last. */
static enum firstspike_error show_sample(void)
{
    byte_count = samples[sample_count - 1].count;
    memcpy(bytes, samples[sample_count - 1].bytes, byte_count);
    return FIRSTSPIKE_OK;
}

static void print_troubles(void)
{
    printf(" %" PRIu32 " %" PRIu32, device.resent, device.damaged);
}

static void print_nothing(void)
{
}

static const struct command {
    const char *name;
    enum firstspike_error (*run)(void);
    void (*print)(void);
} commands[] = {
    {"limits", set_limits, print_nothing},
    {"connect", connect_device, print_greeting},
    {"read_register", read_register, print_value},
    {"write_register", write_register, print_nothing},
    {"read_counters", read_counters, print_counters},
    {"read_memory", read_memory, print_bytes},
    {"write_memory", write_memory, print_nothing},
    {"memory_crc", memory_crc, print_value},
    {"load", load, print_nothing},
    {"verify", verify, print_nothing},
    {"resume", resume, print_nothing},
    {"selftest", selftest, print_nothing},
    {"wrong_region", tell_region, print_value},
    {"clear", clear_samples, print_nothing},
    {"bitmap", add_bitmap, print_nothing},
    {"spikes", add_spikes, print_nothing},
    {"sample", show_sample, print_bytes},
    {"infer", infer, print_outcomes},
    {"learn", learn, print_outcomes},
    {"troubles", count_troubles, print_troubles},
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    abort();
}

int main(void)
{
    const struct firstspike_port port = {
        .send = send_bytes, .receive = receive_bytes, .milliseconds = milliseconds};
    firstspike_init(&device, &port);
    while (read_line()) {
        const struct command *command = find_command(word());
        const enum firstspike_error error = command->run();
        printf("%d %s\n", error, firstspike_error_text(error));
        if (error == FIRSTSPIKE_OK)
            command->print();
        putchar('\n');
        fflush(stdout);
    }
    return clear_samples() == FIRSTSPIKE_OK ? 0 : 1;
}
