/*
 * Driver for a Firstspike device, an accelerator of time-to-first-spike networks on an FPGA.
 *
 * C99 without heap, globals, recursion or standard input and output. The caller gives a context for
 * each device, and says how the driver sends, receives and tells the time (struct firstspike_port). docs/c-driver.md has
 * an example and notes on porting, docs/link.md the protocol.
 *
 *     struct firstspike device;
 *     firstspike_init(&device, &port);
 *     enum firstspike_error error = firstspike_connect(&device, 0);
 *     if (error == FIRSTSPIKE_OK)
 *         error = firstspike_load(&device, &model);
 *     if (error == FIRSTSPIKE_OK)
 *         error = firstspike_infer(&device, &sample, &outcome);
 *     if (error != FIRSTSPIKE_OK)
 *         log(firstspike_error_text(error));
 *
 * Calls block until the device has answered or does not answer. What gets lost on the line is sent
 * again; each call ends after a bounded number of time-outs, whatever the device sends.
 */

#ifndef FIRSTSPIKE_H
#define FIRSTSPIKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "firstspike_framing.h"
#include "firstspike_protocol.h"

/*
 * Sizes that may be defined for the whole program. The driver and all that includes this header have
 * to agree on them: define them on the compiler's command line.
 */

/* Requests that may be on their way at once at most; each takes 8 bytes of stack. */
#ifndef FIRSTSPIKE_MAX_IN_FLIGHT
#define FIRSTSPIKE_MAX_IN_FLIGHT 8
#endif
#if FIRSTSPIKE_MAX_IN_FLIGHT < 1 || FIRSTSPIKE_MAX_IN_FLIGHT > 128
#error "FIRSTSPIKE_MAX_IN_FLIGHT: 1 to 128, half of the sequence numbers that there are"
#endif

/* Layers whose weight rows an outcome counts; those of further layers are left out. */
#ifndef FIRSTSPIKE_LAYERS
#define FIRSTSPIKE_LAYERS 4
#endif
#if FIRSTSPIKE_LAYERS < 1 || FIRSTSPIKE_LAYERS > FIRSTSPIKE_MOST_LAYERS
#error "FIRSTSPIKE_LAYERS: 1 to FIRSTSPIKE_MOST_LAYERS, which is what a device can have"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Errors */

/* What became of a call. */
enum firstspike_error {
    FIRSTSPIKE_OK = 0,
/* The device refused a request; the number is the status that it gave. */
#define FIRSTSPIKE_STATUS(name, value, text) FIRSTSPIKE_##name = value,
    FIRSTSPIKE_STATUSES(FIRSTSPIKE_STATUS)
#undef FIRSTSPIKE_STATUS
    FIRSTSPIKE_UNKNOWN_STATUS = 0x100, /* refused with a status that this release does not know */
    /* The line; connect again. */
    FIRSTSPIKE_NOT_CONNECTED,
    FIRSTSPIKE_NO_ANSWER,
    FIRSTSPIKE_LINE_LOST,
    /* The device. */
    FIRSTSPIKE_NO_DEVICE,
    FIRSTSPIKE_OTHER_VERSION,
    FIRSTSPIKE_OTHER_CONFIGURATION,
    FIRSTSPIKE_BAD_ANSWER,
    FIRSTSPIKE_WRONG_MEMORY,
    FIRSTSPIKE_WRONG_REGISTER,
    FIRSTSPIKE_NOT_REFUSED,
    /* The caller. */
    FIRSTSPIKE_BAD_MODEL,
    FIRSTSPIKE_READ_FAILED,
    FIRSTSPIKE_TOO_LONG,
    FIRSTSPIKE_BUFFER_TOO_SMALL
};

/* An error in words: a sentence without its full stop, never NULL. */
const char *firstspike_error_text(enum firstspike_error error);

/* Connecting */

/*
 * How the driver sends, receives and tells the time; `user` is handed back to each function.
 *
 * `send` takes all bytes, and may return before they have left; it returns false if the line is
 * gone. A zero byte ends each frame, so a port that collects bytes passes them on after a zero.
 *
 * `receive` waits until something has come, at most for `patience_ms`, and returns how many bytes
 * it gave, up to `capacity`. It may return 0 at any time: the driver asks again. Without a buffer
 * that is filled in the background, set `in_flight` of the context to 1, so that the device is
 * silent while something is sent.
 *
 * `milliseconds` counts up and wraps at 2^32.
 */
struct firstspike_port {
    firstspike_send *send;
    size_t (*receive)(void *user, uint8_t *bytes, size_t capacity, uint32_t patience_ms);
    uint32_t (*milliseconds)(void *user);
    void *user;
};

/* A device's account of itself. */
struct firstspike_greeting {
    uint64_t digest;       /* of the configuration that it was built for */
    uint32_t clock_hz;     /* cycle counts refer to it */
    uint32_t build;        /* any number */
    uint32_t buffer_bytes; /* its receive buffer */
    char release[FIRSTSPIKE_HELLO_RELEASE_BYTES + 1];
};

#define FIRSTSPIKE_OUTCOME_CAPACITY (FIRSTSPIKE_OUTCOME_BYTES + 2 * FIRSTSPIKE_LAYERS)
#define FIRSTSPIKE_ANSWER_CAPACITY                                                                 \
    (FIRSTSPIKE_OUTCOME_CAPACITY > FIRSTSPIKE_HELLO_BYTES ? FIRSTSPIKE_OUTCOME_CAPACITY            \
                                                          : FIRSTSPIKE_HELLO_BYTES)

/*
 * The context of a device. The first three may be changed between calls, the next three and
 * `wrong_region` be read; the others are the driver's own.
 */
struct firstspike {
    uint32_t timeout_ms; /* silence after which requests are sent again; longer than a full buffer
                            takes on the line */
    uint16_t retries;    /* times that one request is sent again */
    uint16_t in_flight;  /* requests on their way at once, 1 … FIRSTSPIKE_MAX_IN_FLIGHT */

    struct firstspike_greeting greeting;
    uint32_t resent;  /* frames sent again since the start */
    uint32_t damaged; /* runs of bytes received that were no frame */

    struct firstspike_port port;
    struct firstspike_decoder decoder;
    uint32_t model;
    uint8_t seq;
    bool connected;
    uint8_t wrong_region; /* the memory region of the last WRONG_MEMORY */
    uint8_t answer[FIRSTSPIKE_ANSWER_CAPACITY];
};

/* Makes a context with a time-out of 500 ms, 8 retries and FIRSTSPIKE_MAX_IN_FLIGHT requests. */
void firstspike_init(struct firstspike *device, const struct firstspike_port *port);

/*
 * Greets the device and checks that it speaks this protocol version and, unless `digest` is 0, was
 * built for the configuration of that digest. To be called first, and again after NO_ANSWER or
 * LINE_LOST; whatever was under way before is forgotten.
 */
enum firstspike_error firstspike_connect(struct firstspike *device, uint64_t digest);

/* Registers: FIRSTSPIKE_REGISTER_… of firstspike_protocol.h */

enum firstspike_error firstspike_read_register(struct firstspike *device, uint32_t address,
                                               uint32_t *value);

/* Values out of the register's range are refused with BAD_VALUE. */
enum firstspike_error firstspike_write_register(struct firstspike *device, uint32_t address,
                                                uint32_t value);

/* Reads the device's free-running counters, by enum firstspike_counter. */
enum firstspike_error firstspike_read_counters(struct firstspike *device,
                                               uint32_t counters[FIRSTSPIKE_COUNTERS]);

/* Memory */

/*
 * Words of a memory region. A word has a byte for each lane and is moved whole. Calls return
 * BAD_ADDRESS for words beyond the region's end.
 */
struct firstspike_span {
    uint8_t region;
    uint16_t word_bytes;
    uint32_t word; /* the first */
    uint32_t words;
};

/* Reads words into `bytes`, which holds words * word_bytes bytes. */
enum firstspike_error firstspike_read_memory(struct firstspike *device,
                                             const struct firstspike_span *span, uint8_t *bytes);

/* Writes words; the device forgets that it holds a model. */
enum firstspike_error firstspike_write_memory(struct firstspike *device,
                                              const struct firstspike_span *span,
                                              const uint8_t *bytes);

/* Has the device sum up words: CRC-32 as of firstspike_crc32(). */
enum firstspike_error firstspike_memory_crc(struct firstspike *device,
                                            const struct firstspike_span *span, uint32_t *crc);

/* Models */

/*
 * Bytes that lie in memory or are fetched by a function.
 *
 * In memory: `bytes` and `count`. Otherwise `bytes` is NULL, and `read` fetches `count` bytes from
 * `offset` on and returns false if it cannot; they go through `buffer`, which holds `capacity`
 * bytes, at least 24 and a word of the widest memory. What gets lost is fetched again.
 */
struct firstspike_source {
    const uint8_t *bytes;
    uint32_t count;
    bool (*read)(void *user, uint32_t offset, uint8_t *bytes, size_t count);
    void *user;
    uint8_t *buffer;
    size_t capacity;
};

/*
 * Loads a packed model, as `firstspike compile --format packed` or `--format c` writes it.
 *
 * Memories that hold the right bytes already are not sent again. When the CRC-32 of every memory
 * and the value of every register have been verified, the register `model` is written; until then
 * it is 0, and the device refuses samples. OTHER_CONFIGURATION: the model is for another device;
 * nothing was written. WRONG_MEMORY or WRONG_REGISTER: the device was reset in between, so load it
 * again, or its memory is faulty.
 */
enum firstspike_error firstspike_load(struct firstspike *device,
                                      const struct firstspike_source *model);

/*
 * Checks that the device holds every byte of a packed model: WRONG_MEMORY or WRONG_REGISTER if not.
 * Learning changes weights and the registers of its generators.
 */
enum firstspike_error firstspike_verify(struct firstspike *device,
                                        const struct firstspike_source *model);

/*
 * Goes on with a model that the device holds, such as one that it booted from flash or has learned;
 * `model` is what its register of that name should hold. NO_MODEL if it does not.
 */
enum firstspike_error firstspike_resume(struct firstspike *device, uint32_t model);

/* Samples */

enum firstspike_coding { FIRSTSPIKE_BITMAP, FIRSTSPIKE_SPIKES };

/*
 * A sample as it goes over the line; it stays where it is until the call returns.
 *
 * BITMAP: input i is bit i % 8 of byte i / 8, for all inputs of the build; set bits spike in step
 * 0. SPIKES: as firstspike_add_spike() makes it.
 */
struct firstspike_sample {
    enum firstspike_coding coding;
    const uint8_t *bytes;
    size_t count;
};

/* A list of spikes that is being made in a buffer of the caller. */
struct firstspike_spikes {
    uint8_t *bytes;
    size_t capacity; /* in bytes: 2 a spike, and 2 a step after step 0 that has spikes */
    size_t count;
    uint16_t step;  /* that is open */
    uint16_t least; /* input that may spike in it next */
};

/*
 * Adds a spike. Steps must not descend, and within a step inputs must ascend: BAD_SAMPLE otherwise.
 * Each input spikes at most once in a sample, which is not checked. BUFFER_TOO_SMALL: there is no
 * room for it. After an error the list is what it was.
 */
enum firstspike_error firstspike_add_spike(struct firstspike_spikes *spikes, uint16_t step,
                                           uint16_t input);

/* The sample that a list holds. */
struct firstspike_sample firstspike_spikes_sample(const struct firstspike_spikes *spikes);

/* Inference */

struct firstspike_outcome {
    uint32_t cycles; /* of the device's clock, from the first spike to the decision */
    uint16_t label;
    uint16_t step;  /* of the decision */
    bool fired;     /* an output fired; else the highest membrane in the last step decided */
    bool repeated;  /* learned, but the answer was lost: nothing else here is known */
    uint16_t rows[FIRSTSPIKE_LAYERS]; /* weight rows that each layer fetched */
};

/*
 * Classifies samples with the model that was loaded or resumed last, as many at once as the device
 * holds. NO_MODEL: the device no longer holds it, since it was reset or loaded by others; load it
 * again. STALLED: the core failed and was reset, as by a particle; infer again. Outcomes are complete
 * only if the call returns OK.
 */
enum firstspike_error firstspike_infer_many(struct firstspike *device,
                                            const struct firstspike_sample *samples, uint32_t count,
                                            struct firstspike_outcome *outcomes);

/* Classifies one sample. */
enum firstspike_error firstspike_infer(struct firstspike *device,
                                       const struct firstspike_sample *sample,
                                       struct firstspike_outcome *outcome);

/* Learning, on devices that are built for it */

struct firstspike_lesson {
    struct firstspike_sample sample;
    uint16_t label;
};

/*
 * Learns from samples, one after the other and each exactly once whatever the line does.
 *
 * `number` is that of the first sample; the device keeps that of the next one in its register
 * `learned`, which has to be written once after a reset. OUT_OF_ORDER: the device expects another
 * number than `number`, and nothing was learned. The outcomes are those before each update.
 *
 * After an error, `learned` tells how many samples were learned: go on with the lesson of that
 * number. The same call again is refused with OUT_OF_ORDER if any of it was learned, even if no
 * answer told so. If `learned` is less than it was before, or the counter `boots` has risen, the
 * device was reset and what it had learned is lost: write the rule and `learned`, and start anew.
 * NO_MODEL: it was reset and holds no model either. STALLED: the core failed in the middle of an
 * update; load the model again, and start anew.
 */
enum firstspike_error firstspike_learn(struct firstspike *device,
                                       const struct firstspike_lesson *lessons, uint32_t count,
                                       uint32_t number, struct firstspike_outcome *outcomes);

/* Self-test */

/*
 * Tests line and memories, and loads the model afterwards: wrong requests have to be refused, and
 * every word of every memory has to hold what is written there; WRONG_MEMORY if not, and
 * `wrong_region` of the context says which. OTHER_CONFIGURATION: the model is for another device;
 * nothing was tested. `buffer` holds `capacity` bytes, at least a word of the widest memory; the
 * more, the faster.
 */
enum firstspike_error firstspike_selftest(struct firstspike *device,
                                          const struct firstspike_source *model, uint8_t *buffer,
                                          size_t capacity);

#ifdef __cplusplus
}
#endif

#endif
