// The accelerator's two byte streams at the pace of a serial line.
#include "harness.h"
#include "parameters.h"

#include <algorithm>

// An SPI NOR flash: wakes up by 0xab, reads by 0x03 in mode 0. What it holds begins somewhere; there
// is something else before it, and behind it, it is erased. It counts what no data sheet allows. Its
// times are those of the slowest parts.
struct Flash {
    static constexpr uint64_t CLOCK_HZ = 20'000'000; // reads no faster
    static constexpr uint64_t PAUSES_HZ = 10'000'000; // 100 ns between two commands
    static constexpr uint64_t WAKES_HZ = 30'000; // 33 us from the end of the command until it is awake

    const uint8_t *contents;
    uint64_t size;
    uint64_t start;
    uint64_t hz;    // cycles a second
    uint64_t awake; // the cycle in which it is
    uint64_t risen, apart; // cycles in which the clock rose last, and it was let go
    uint32_t asleep, selected, clock, bits, taken, command, address;
    uint32_t fast, hasty, early, stray; // what was too fast, too soon after another command, too soon
                                        // after waking up, or no command for it as it is

    bool sooner(uint64_t now, uint64_t than, uint64_t rate) const { return (now - than) * rate < hz; }

    uint8_t at(uint32_t place) const {
        if (place < start) return place * 2654435761u >> 24;
        return place - start < size ? contents[place - start] : 0xff;
    }

    // What is on its output after a cycle with these inputs.
    bool step(uint64_t now, bool cs, bool clk, bool copi) {
        const bool rises = clk && !clock;
        if (cs != selected) {
            if (cs) {
                if (apart && sooner(now, apart, PAUSES_HZ)) ++hasty;
                if (now < awake) ++early;
                if (clk) ++stray; // mode 0 begins with the clock low
            } else {
                if (command == 0xab && bits == 8) asleep = 0, awake = now + hz / WAKES_HZ;
                apart = now;
            }
            selected = cs;
            bits = taken = command = 0;
        }
        clock = clk;
        if (!cs) return true;
        if (rises) {
            if (bits && sooner(now, risen, CLOCK_HZ)) ++fast;
            risen = now;
            taken = taken << 1 | copi;
            ++bits;
            if (bits == 8 && (taken & 0xff) != 0xab && (asleep || (taken & 0xff) != 0x03)) ++stray;
            if (bits == 8) command = taken & 0xff;
            if (bits == 32) address = taken & 0xffffff;
        }
        // The first bit comes when the clock falls after the address; each stays until it falls again.
        if (asleep || now < awake || command != 0x03 || bits < 32 + clk) return true;
        const uint32_t given = bits - 32 - clk;
        return at((address + given / 8) & 0xffffff) >> (7 - given % 8) & 1;
    }
};

// Where the line stands; times are in cycles.
struct Line {
    uint64_t now;
    uint64_t byte_cycles;
    uint64_t transmitter_free;
    uint64_t patience; // cycles without a byte in either direction after which the device is idle
    uint64_t still;    // such cycles so far
    Flash flash;
};

static void edge(Bench *bench, Line *line) {
    bench->edge();
#if FLASH
    Ports &io = bench->io;
    if (io.flash__cs) line->still = 0;
    io.flash__cipo = line->flash.step(line->now, io.flash__cs, io.flash__clk, io.flash__copi);
#endif
    ++line->now;
}

// Runs a cycle with the inputs as they are.
EXPORT void accelerator_tick(Bench *bench, Line *line) {
    bench->settle();
    edge(bench, line);
    bench->settle();
}

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
        edge(bench, line);
    }
    *taken = given;
    return written;
}
