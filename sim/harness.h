// What every simulation needs: the design's clock, access to the bits of its ports, waveforms.
#pragma once

#include <cstdint>
#include <memory>

#include <verilated.h>

// Bits of a port; a component's fields are listed in design.h, which is generated with it.
struct Field {
    unsigned offset, width;
};

#include "design.h"

#if WAVEFORMS
#include <verilated_vcd_c.h>
#endif

// Ports of up to 64 bits are integers, wider ones arrays of 32-bit words, lowest first.
template <typename Port> uint64_t get(const Port &port, Field field) {
    const uint64_t mask = ~uint64_t{0} >> (64 - field.width);
    if constexpr (std::is_integral_v<Port>) {
        return (uint64_t{port} >> field.offset) & mask;
    } else {
        const unsigned word = field.offset / 32, bit = field.offset % 32;
        const unsigned last = (field.offset + field.width - 1) / 32;
        uint64_t value = port.at(word) >> bit;
        if (last > word) value |= uint64_t{port.at(word + 1)} << (32 - bit);
        if (last > word + 1) value |= uint64_t{port.at(word + 2)} << (64 - bit);
        return value & mask;
    }
}

template <typename Port> int64_t get_signed(const Port &port, Field field) {
    const unsigned spare = 64 - field.width;
    return static_cast<int64_t>(get(port, field) << spare) >> spare;
}

// Drives a field of an integer port.
template <typename Port> void set(Port &port, Field field, uint64_t value) {
    const uint64_t mask = (~uint64_t{0} >> (64 - field.width)) << field.offset;
    port = static_cast<Port>((port & ~mask) | ((value << field.offset) & mask));
}

// A design with its clock.
class Bench {
    // Declared before the design, which refers to it until it is gone.
    VerilatedContext context;
#if WAVEFORMS
    VerilatedVcdC vcd;
#endif
    Vtop top;

    // Waveforms have two units of time a cycle: the edge comes in the middle.
    void dump(unsigned phase) {
#if WAVEFORMS
        vcd.dump(2 * cycles + phase);
#else
        (void)phase;
#endif
    }

  public:
    Ports io;
    uint64_t cycles = 0;

    // `waveform` is the file to write, if the library was built for it.
    explicit Bench(const char *waveform) : top{&context}, io{top} {
#if WAVEFORMS
        context.traceEverOn(true);
        top.trace(&vcd, 99);
        vcd.open(waveform);
#else
        (void)waveform;
#endif
        settle();
    }

    ~Bench() {
#if WAVEFORMS
        vcd.close();
#endif
        top.final();
    }

    // Whether the waveform file could be opened.
    bool ready() const {
#if WAVEFORMS
        return vcd.isOpen();
#else
        return true;
#endif
    }

    // The outputs follow the inputs.
    void settle() {
        io.clk = 0;
        top.eval();
    }

    // A rising edge; the registers take what settle() made of the inputs.
    void edge() {
        dump(0);
        io.clk = 1;
        top.eval();
        dump(1);
        ++cycles;
    }
};

#define EXPORT extern "C" __attribute__((visibility("default")))

