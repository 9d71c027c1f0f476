// The accelerator's two byte streams at the pace of a serial line.
#include "harness.h"

#include <algorithm>

// Where the line stands; times are in cycles.
struct Line {
    uint64_t now;
    uint64_t byte_cycles;
    uint64_t transmitter_free;
    uint64_t patience; // cycles without a byte in either direction after which the device is idle
    uint64_t still;    // such cycles so far
};

// Runs to cycle `deadline`, or until a zero byte has left the device, or `room` is full. Byte n of
// `in` is handed over in cycle `at[n]`. Returns the number of bytes written to `out` and sets
// `taken` to those used of `in`. While the device is idle, time jumps to the next byte for it.
EXPORT uint64_t accelerator_run(Bench *bench, Line *line, const uint8_t *in, const uint64_t *at,
                                uint64_t count, uint64_t deadline, uint8_t *out, uint64_t room,
                                uint64_t *taken) {
    Ports &io = bench->io;
    uint64_t given = 0, written = 0;
    bool ended = false;
    while (line->now < deadline && written < room && !ended) {
        const bool arrives = given < count && at[given] <= line->now;
        if (!arrives && line->still > line->patience) {
            line->now = given < count ? std::min(deadline, at[given]) : deadline;
            continue;
        }
        const bool can_send = line->now >= line->transmitter_free;
        io.i__valid = arrives;
        if (arrives) io.i__payload = in[given];
        io.o__ready = can_send;
        bench->settle();
        if (arrives && io.i__ready) ++given;
        if (can_send && io.o__valid) {
            line->transmitter_free = line->now + line->byte_cycles;
            ended = io.o__payload == 0;
            out[written++] = io.o__payload;
        }
        line->still = arrives || io.o__valid ? 0 : line->still + 1;
        bench->edge();
        ++line->now;
    }
    *taken = given;
    return written;
}
