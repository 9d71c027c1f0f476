// Ports and clock of any design, by number.
#include "harness.h"

#include <cstring>

namespace {

struct Access {
    void *data;
    size_t bytes;
};

Access access(Ports &io, int port) {
    const Access all[] = {
#define ENTRY(name) {&io.name, sizeof(io.name)},
        PORTS(ENTRY)
#undef ENTRY
    };
    return all[port];
}

} // namespace

// Name, offset and width of each port, and on a second line of each field of one.
EXPORT const char *bench_ports() { return PORT_TABLE; }

// A new simulation, or null if the waveform file cannot be written.
EXPORT Bench *bench_new(const char *waveform) {
    auto bench = std::make_unique<Bench>(waveform);
    return bench->ready() ? bench.release() : nullptr;
}

EXPORT void bench_delete(Bench *bench) { delete bench; }

EXPORT uint64_t bench_cycles(const Bench *bench) { return bench->cycles; }

EXPORT void bench_settle(Bench *bench) { bench->settle(); }

EXPORT void bench_tick(Bench *bench, uint64_t cycles) {
    while (cycles--) {
        bench->settle();
        bench->edge();
    }
    bench->settle();
}

// Copies a port to or from words of 32 bits, lowest first, as many as the port needs.
EXPORT void bench_get(Bench *bench, int port, uint32_t *words) {
    const Access from = access(bench->io, port);
    std::memcpy(words, from.data, from.bytes);
}

EXPORT void bench_set(Bench *bench, int port, const uint32_t *words) {
    const Access to = access(bench->io, port);
    std::memcpy(to.data, words, to.bytes);
}
