#include "firstspike_framing.h"

#include "firstspike_bytes.h"

/* Code of a block that is full, and stands for no zero behind it. */
#define FULL_BLOCK 0xffu

/* CRC-32 of any bytes and, behind them, their own CRC-32. */
#define CRC_RESIDUE 0x2144df1cu

#define CRC_BYTES 4u

/* Bytes handed to `send` at once. */
#define CHUNK_BYTES 32u

uint32_t firstspike_crc32(uint32_t crc, const uint8_t *bytes, size_t count)
{
    /* What each half of a byte adds: 64 bytes of table instead of 1024. */
    static const uint32_t halves[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4,
        0x4db26158, 0x5005713c, 0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
        0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
    };
    crc = ~crc;
    for (size_t i = 0; i < count; i++) {
        crc ^= bytes[i];
        crc = crc >> 4 ^ halves[crc & 15];
        crc = crc >> 4 ^ halves[crc & 15];
    }
    return ~crc;
}

size_t firstspike_coded_bytes(size_t payload_count)
{
    const size_t body = FIRSTSPIKE_FRAME_OVERHEAD + payload_count;
    /* A code for every 254 bytes, one more, and the zero. */
    return body + body / (FULL_BLOCK - 1) + 2;
}

/* Sending */

/* A frame before it is recoded: three pieces that lie in different places. */
struct body {
    uint8_t head[FIRSTSPIKE_HEAD_BYTES];
    uint8_t crc[CRC_BYTES];
    const uint8_t *payload;
    size_t payload_count;
    size_t count;
};

/* Bytes on their way to `send`. */
struct chunk {
    firstspike_send *send;
    void *user;
    size_t count;
    bool failed;
    uint8_t bytes[CHUNK_BYTES];
};

static struct body body_of(const struct firstspike_frame *frame)
{
    struct body body = {.payload = frame->payload,
                        .payload_count = frame->count,
                        .count = FIRSTSPIKE_FRAME_OVERHEAD + frame->count};
    body.head[0] = frame->op;
    body.head[1] = frame->seq;
    firstspike_put_u32(body.head + 2, frame->arg);
    uint32_t crc = firstspike_crc32(0, body.head, sizeof body.head);
    crc = firstspike_crc32(crc, frame->payload, frame->count);
    firstspike_put_u32(body.crc, crc);
    return body;
}

static uint8_t body_byte(const struct body *body, size_t i)
{
    if (i < FIRSTSPIKE_HEAD_BYTES)
        return body->head[i];
    i -= FIRSTSPIKE_HEAD_BYTES;
    return i < body->payload_count ? body->payload[i] : body->crc[i - body->payload_count];
}

static size_t bytes_before_zero(const struct body *body, size_t start)
{
    size_t end = start;
    while (end < body->count && end - start < FULL_BLOCK - 1 && body_byte(body, end) != 0)
        end++;
    return end - start;
}

static void flush(struct chunk *chunk)
{
    if (!chunk->failed && chunk->count > 0)
        chunk->failed = !chunk->send(chunk->user, chunk->bytes, chunk->count);
    chunk->count = 0;
}

static void put(struct chunk *chunk, uint8_t byte)
{
    chunk->bytes[chunk->count++] = byte;
    if (chunk->count == sizeof chunk->bytes)
        flush(chunk);
}

bool firstspike_send_frame(const struct firstspike_frame *frame, firstspike_send *send, void *user)
{
    const struct body body = body_of(frame);
    struct chunk chunk = {.send = send, .user = user};
    size_t start = 0;
    /* A body that ends in a zero, or with a full block, has an empty block behind it. */
    while (start <= body.count && !chunk.failed) {
        const size_t run = bytes_before_zero(&body, start);
        put(&chunk, (uint8_t)(run + 1));
        for (size_t i = start; i < start + run; i++)
            put(&chunk, body_byte(&body, i));
        start += run;
        if (run < FULL_BLOCK - 1)
            start++;
    }
    put(&chunk, 0);
    flush(&chunk);
    return !chunk.failed;
}

/* Receiving */

static void keep(struct firstspike_decoder *decoder, uint8_t byte)
{
    const size_t i = decoder->count;
    if (i == SIZE_MAX) {
        decoder->useless = true;
        return;
    }
    decoder->count++;
    decoder->crc = firstspike_crc32(decoder->crc, &byte, 1);
    if (i < FIRSTSPIKE_HEAD_BYTES)
        decoder->head[i] = byte;
    else if (i - FIRSTSPIKE_HEAD_BYTES < decoder->capacity)
        decoder->payload[i - FIRSTSPIKE_HEAD_BYTES] = byte;
}

static enum firstspike_decoded end_frame(struct firstspike_decoder *decoder,
                                         struct firstspike_frame *frame)
{
    const size_t count = decoder->count;
    const bool begun = decoder->begun;
    const bool whole = !decoder->useless && decoder->left == 0 &&
                       count >= FIRSTSPIKE_FRAME_OVERHEAD && decoder->crc == CRC_RESIDUE;
    decoder->left = 0;
    decoder->begun = decoder->useless = decoder->zero_due = false;
    decoder->count = 0;
    decoder->crc = 0;
    if (!whole)
        return begun ? FIRSTSPIKE_DAMAGED_FRAME : FIRSTSPIKE_NO_FRAME_YET;
    *frame = (struct firstspike_frame){.op = decoder->head[0],
                                       .seq = decoder->head[1],
                                       .arg = firstspike_get_u32(decoder->head + 2),
                                       .payload = decoder->payload,
                                       .count = count - FIRSTSPIKE_FRAME_OVERHEAD};
    return FIRSTSPIKE_WHOLE_FRAME;
}

void firstspike_decoder_redirect(struct firstspike_decoder *decoder, uint8_t *payload,
                                 size_t capacity)
{
    decoder->payload = payload;
    decoder->capacity = capacity;
    decoder->useless = decoder->begun;
}

enum firstspike_decoded firstspike_decode(struct firstspike_decoder *decoder, uint8_t byte,
                                          struct firstspike_frame *frame)
{
    if (byte == 0)
        return end_frame(decoder, frame);
    decoder->begun = true;
    if (decoder->left > 0) {
        decoder->left--;
        keep(decoder, byte);
        return FIRSTSPIKE_NO_FRAME_YET;
    }
    if (decoder->zero_due)
        keep(decoder, 0);
    decoder->left = (uint8_t)(byte - 1);
    decoder->zero_due = byte != FULL_BLOCK;
    return FIRSTSPIKE_NO_FRAME_YET;
}
