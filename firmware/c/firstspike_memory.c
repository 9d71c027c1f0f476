#include "firstspike_memory.h"

#include "firstspike_bytes.h"
#include "firstspike_exchange.h"

/* Pieces of memory for each buffer of the device: the line stays busy while it stores one. */
#define PIECES_A_BUFFER 4

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Refuses words that no region has, whose addresses would be those of another one. */
static enum firstspike_error check_span(const struct firstspike_span *span)
{
    if (span->word >= FIRSTSPIKE_MOST_WORDS ||
        span->words > FIRSTSPIKE_MOST_WORDS - span->word)
        return FIRSTSPIKE_BAD_ADDRESS;
    return span->word_bytes > 0 ? FIRSTSPIKE_OK : FIRSTSPIKE_BAD_LENGTH;
}

static uint32_t address_of(const struct firstspike_span *span, uint32_t word)
{
    return FIRSTSPIKE_MEMORY_ADDRESS(span->region, span->word + word);
}

/* Words that are moved in one request, at least one. */
static uint32_t piece_words(const struct firstspike *device, const struct firstspike_span *span)
{
    const uint32_t words = device->greeting.buffer_bytes / PIECES_A_BUFFER / span->word_bytes;
    return words > 0 ? words : 1;
}

/* Sources */

enum firstspike_error firstspike_fetch(const struct firstspike_source *source, uint32_t offset,
                                       size_t count, const uint8_t **bytes)
{
    if (source->bytes != NULL) {
        if (offset > source->count || count > source->count - offset)
            return FIRSTSPIKE_BAD_MODEL;
        *bytes = source->bytes + offset;
        return FIRSTSPIKE_OK;
    }
    if (count > source->capacity)
        return FIRSTSPIKE_BUFFER_TOO_SMALL;
    if (!source->read(source->user, offset, source->buffer, count))
        return FIRSTSPIKE_READ_FAILED;
    *bytes = source->buffer;
    return FIRSTSPIKE_OK;
}

/* Writing */

struct copy {
    const struct firstspike_span *span;
    const struct firstspike_source *source;
    uint32_t offset;
    uint32_t piece_words;
};

static enum firstspike_error make_write(void *context, uint32_t index,
                                        struct firstspike_request *request)
{
    const struct copy *copy = context;
    const struct firstspike_span *span = copy->span;
    const uint32_t word = index * copy->piece_words;
    const uint32_t words = smaller(copy->piece_words, span->words - word);
    *request = (struct firstspike_request){.op = FIRSTSPIKE_WRITE_MEMORY,
                                           .arg = address_of(span, word),
                                           .count = (size_t)(words * span->word_bytes)};
    return firstspike_fetch(copy->source, copy->offset + word * span->word_bytes,
                            request->count, &request->payload);
}

static enum firstspike_error take_write(void *context, uint32_t index, const uint8_t *payload,
                                        size_t count)
{
    (void)context;
    (void)index;
    (void)payload;
    return count == 0 ? FIRSTSPIKE_OK : FIRSTSPIKE_BAD_ANSWER;
}

enum firstspike_error firstspike_copy_to_memory(struct firstspike *device,
                                                const struct firstspike_span *span,
                                                const struct firstspike_source *source,
                                                uint32_t offset)
{
    const enum firstspike_error error = check_span(span);
    if (error != FIRSTSPIKE_OK)
        return error;
    struct copy copy = {.span = span,
                        .source = source,
                        .offset = offset,
                        .piece_words = piece_words(device, span)};
    if (source->bytes == NULL) {
        const size_t room = source->capacity / span->word_bytes;
        if (room == 0)
            return FIRSTSPIKE_BUFFER_TOO_SMALL;
        if (copy.piece_words > room)
            copy.piece_words = (uint32_t)room;
    }
    const struct firstspike_task task = {
        .requests = span->words / copy.piece_words + (span->words % copy.piece_words != 0),
        .longest = (size_t)(copy.piece_words * span->word_bytes),
        .make = make_write,
        .take = take_write,
        .context = &copy};
    return firstspike_exchange(device, &task);
}

enum firstspike_error firstspike_write_memory(struct firstspike *device,
                                              const struct firstspike_span *span,
                                              const uint8_t *bytes)
{
    const struct firstspike_source source = {.bytes = bytes,
                                             .count = span->words * span->word_bytes};
    return firstspike_copy_to_memory(device, span, &source, 0);
}

/* Reading */

/* Asks something about words; the answer has `count` bytes. */
static enum firstspike_error ask(struct firstspike *device, uint8_t op, uint32_t address,
                                 uint32_t words, uint8_t *answer, size_t count)
{
    uint8_t payload[4];
    firstspike_put_u32(payload, words);
    const struct firstspike_request request = {
        .op = op, .arg = address, .payload = payload, .count = sizeof payload};
    return firstspike_call(device, &request, answer, count);
}

enum firstspike_error firstspike_read_memory(struct firstspike *device,
                                             const struct firstspike_span *span, uint8_t *bytes)
{
    enum firstspike_error error = check_span(span);
    if (error != FIRSTSPIKE_OK)
        return error;
    const uint32_t most = piece_words(device, span);
    for (uint32_t word = 0; word < span->words && error == FIRSTSPIKE_OK;) {
        const uint32_t words = smaller(most, span->words - word);
        const size_t count = (size_t)(words * span->word_bytes);
        error = ask(device, FIRSTSPIKE_READ_MEMORY, address_of(span, word), words, bytes, count);
        bytes += count;
        word += words;
    }
    return error;
}

enum firstspike_error firstspike_memory_crc(struct firstspike *device,
                                            const struct firstspike_span *span, uint32_t *crc)
{
    enum firstspike_error error = check_span(span);
    if (error == FIRSTSPIKE_OK)
        error = ask(device, FIRSTSPIKE_MEMORY_CRC, address_of(span, 0), span->words,
                    device->answer, 4);
    if (error == FIRSTSPIKE_OK)
        *crc = firstspike_get_u32(device->answer);
    return error;
}
