/*
 * Frames on the wire: COBS(op, seq, arg, payload, CRC-32) 0x00, see docs/link.md.
 *
 * Nothing here keeps a whole frame: bytes are recoded as they go out, and checked as they come in.
 */

#ifndef FIRSTSPIKE_FRAMING_H
#define FIRSTSPIKE_FRAMING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstspike_protocol.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One message in either direction. */
struct firstspike_frame {
    uint8_t op;
    uint8_t seq;
    uint32_t arg;
    const uint8_t *payload;
    size_t count; /* bytes of the payload; of one received, also those that were not kept */
};

/* Sends bytes; returns false if the line is gone. */
typedef bool firstspike_send(void *user, const uint8_t *bytes, size_t count);

/*
 * Turns a stream of bytes into frames.
 *
 * Any zero ends a frame, so a decoder that lost its place finds it again at the next one.
 */
struct firstspike_decoder {
    uint8_t head[FIRSTSPIKE_HEAD_BYTES];
    uint8_t left;     /* bytes to come of the block under way */
    bool begun;       /* a byte has come since the last zero */
    bool useless;     /* what is under way is no frame, or comes too late */
    bool zero_due;    /* the block under way stands for a zero behind it, unless it is the last */
    uint8_t *payload; /* where the payload goes as it comes in */
    size_t capacity;
    size_t count; /* bytes recoded since the last zero: head, payload and CRC */
    uint32_t crc;
};

/* CRC-32 as in zlib, over more bytes than those that gave `crc`; 0 at the start. */
uint32_t firstspike_crc32(uint32_t crc, const uint8_t *bytes, size_t count);

/* Bytes that a frame takes on the line at most. */
size_t firstspike_coded_bytes(size_t payload_count);

/* Sends a frame in pieces of some bytes; returns false if the line is gone. */
bool firstspike_send_frame(const struct firstspike_frame *frame, firstspike_send *send, void *user);

/*
 * Makes a decoder keep up to `capacity` bytes of each payload at `payload` from now on. A frame
 * that is under way is dropped: what began before its request was made cannot be the answer.
 */
void firstspike_decoder_redirect(struct firstspike_decoder *decoder, uint8_t *payload,
                                 size_t capacity);

enum firstspike_decoded {
    FIRSTSPIKE_NO_FRAME_YET,
    FIRSTSPIKE_WHOLE_FRAME,
    FIRSTSPIKE_DAMAGED_FRAME
};

/* Takes one byte; sets `frame` if it completes one. */
enum firstspike_decoded firstspike_decode(struct firstspike_decoder *decoder, uint8_t byte,
                                          struct firstspike_frame *frame);

#ifdef __cplusplus
}
#endif

#endif
