#include "firstspike_exchange.h"
#include "firstspike_memory.h"
#include "firstspike_model.h"

/* Refusals */

/* Asks for something that has to be refused with `status`. */
static enum firstspike_error provoke(struct firstspike *device, uint8_t op, uint32_t arg,
                                     size_t count, enum firstspike_error status)
{
    static const uint8_t zeros[4] = {0};
    const struct firstspike_request request = {
        .op = op, .arg = arg, .payload = zeros, .count = count};
    const enum firstspike_error error = firstspike_call(device, &request, device->answer, 0);
    if (error == status)
        return FIRSTSPIKE_OK;
    return error == FIRSTSPIKE_OK || error == FIRSTSPIKE_BAD_ANSWER ? FIRSTSPIKE_NOT_REFUSED
                                                                    : error;
}

static enum firstspike_error test_refusals(struct firstspike *device)
{
    static const struct {
        uint32_t arg;
        enum firstspike_error status;
        uint8_t op;
        uint8_t count;
    } wrong[] = {
        {0, FIRSTSPIKE_UNKNOWN_OPERATION, 0x7f, 0},
        {FIRSTSPIKE_REGISTER_STEPS, FIRSTSPIKE_BAD_LENGTH, FIRSTSPIKE_WRITE_REGISTER, 3},
        {UINT32_MAX, FIRSTSPIKE_BAD_ADDRESS, FIRSTSPIKE_READ_REGISTER, 0},
        {UINT32_MAX, FIRSTSPIKE_BAD_ADDRESS, FIRSTSPIKE_MEMORY_CRC, 4},
        {FIRSTSPIKE_REGISTER_FRAMES_ACCEPTED, FIRSTSPIKE_READ_ONLY, FIRSTSPIKE_WRITE_REGISTER, 4},
        {FIRSTSPIKE_REGISTER_STEPS, FIRSTSPIKE_BAD_VALUE, FIRSTSPIKE_WRITE_REGISTER, 4},
    };
    enum firstspike_error error = FIRSTSPIKE_OK;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0] && error == FIRSTSPIKE_OK; i++)
        error = provoke(device, wrong[i].op, wrong[i].arg, wrong[i].count, wrong[i].status);
    return error;
}

/* Memories */

/* A bit that depends on every bit of a number, and on no few of them alone. */
static bool hash_bit(uint32_t number)
{
    number *= 0x9e3779b1u;
    number ^= number >> 15;
    number *= 0x85ebca77u;
    return number >> 31 != 0;
}

/*
 * Fetches bytes of a pattern that differs from word to word. Each is 0 or 255, which memories of
 * any width keep, since they extend the sign. `user` is what to invert the pattern with.
 */
static bool read_pattern(void *user, uint32_t offset, uint8_t *bytes, size_t count)
{
    const uint8_t *inverted = user;
    for (size_t i = 0; i < count; i++)
        bytes[i] = (hash_bit(offset + (uint32_t)i) ? 0xff : 0x00) ^ *inverted;
    return true;
}

static enum firstspike_error fill_region(struct firstspike *device,
                                         const struct firstspike_source *pattern,
                                         const struct firstspike_region *region)
{
    return firstspike_copy_to_memory(device, &region->span, pattern, region->offset);
}

static enum firstspike_error check_region(struct firstspike *device,
                                          const struct firstspike_source *pattern,
                                          const struct firstspike_region *region)
{
    const struct firstspike_span *span = &region->span;
    uint32_t expected = 0;
    for (uint32_t word = 0; word < span->words; word++) {
        const uint8_t *bytes;
        const enum firstspike_error error =
            firstspike_fetch(pattern, region->offset + word * span->word_bytes,
                             span->word_bytes, &bytes);
        if (error != FIRSTSPIKE_OK)
            return error;
        expected = firstspike_crc32(expected, bytes, span->word_bytes);
    }
    return firstspike_check_region(device, region, expected);
}

/* Writes all memories before it checks the first, so that none is another's. */
static enum firstspike_error test_memories(struct firstspike *device,
                                           const struct firstspike_model *model,
                                           const struct firstspike_source *pattern)
{
    const enum firstspike_error error =
        firstspike_each_region(device, model, pattern, fill_region);
    return error == FIRSTSPIKE_OK ? firstspike_each_region(device, model, pattern, check_region)
                                  : error;
}

enum firstspike_error firstspike_selftest(struct firstspike *device,
                                          const struct firstspike_source *source, uint8_t *buffer,
                                          size_t capacity)
{
    uint8_t inverted = 0x00;
    const struct firstspike_source pattern = {
        .read = read_pattern, .user = &inverted, .buffer = buffer, .capacity = capacity};
    struct firstspike_model model;
    enum firstspike_error error = firstspike_open_model(device, source, &model);
    if (error == FIRSTSPIKE_OK)
        error = test_refusals(device);
    if (error == FIRSTSPIKE_OK)
        error = test_memories(device, &model, &pattern);
    inverted = 0xff;
    if (error == FIRSTSPIKE_OK)
        error = test_memories(device, &model, &pattern);
    return error == FIRSTSPIKE_OK ? firstspike_load(device, source) : error;
}
