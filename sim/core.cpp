// The core's memory port, and whole batches of samples through it.
#include "harness.h"

#include <algorithm>
#include <bit>
#include <vector>

#include "parameters.h"

namespace {

template <typename Port, typename Take> void each_set_bit(const Port &port, Take take) {
    if constexpr (std::is_integral_v<Port>) {
        for (uint64_t bits = port; bits; bits &= bits - 1) take(std::countr_zero(bits));
    } else {
        for (unsigned word = 0; word < std::size(port.m_storage); ++word) {
            for (uint32_t bits = port.at(word); bits; bits &= bits - 1) {
                take(32 * word + std::countr_zero(bits));
            }
        }
    }
}

} // namespace

// A group of a layer that has finished a step, and the cycle of the sample in which it did.
struct Sighting {
    uint32_t layer, group, step, cycle;
};

// Sightings in the order of their cycles, as many as there is room for.
struct Log {
    Sighting *sightings;
    uint64_t room, count;
};

namespace {

// What the trace ports say of one sample.
class Recorder {
  public:
    Recorder() : membranes(size_t{core::STEPS} * core::OUTPUTS) {}

    void collect(const Ports &io, int32_t *spikes, uint32_t cycle, Log *log) {
        core::each_group(io, [&](unsigned layer, unsigned group, unsigned step, const auto &mask) {
            if (log && log->count < log->room) {
                log->sightings[log->count++] = {layer, group, step, cycle};
            }
            const unsigned first = group * core::LANES[layer];
            int32_t *own = spikes + core::BASE[layer];
            each_set_bit(mask, [&](unsigned lane) {
                if (first + lane < core::NEURONS[layer]) own[first + lane] = step;
            });
            if (layer == core::LAYERS - 1) {
                int32_t lanes[core::LANES[core::LAYERS - 1]];
                core::read_membranes(io, lanes);
                const unsigned count =
                    std::min(core::OUTPUTS - first, core::LANES[core::LAYERS - 1]);
                std::copy_n(lanes, count, &membranes[size_t{step} * core::OUTPUTS + first]);
            }
        });
    }

    // Layers run ahead of the decision: what they did after it did not happen.
    void conclude(int32_t decision, int32_t *spikes, int32_t *potential) const {
        for (unsigned neuron = 0; neuron < core::TOTAL; ++neuron) {
            if (spikes[neuron] > decision) spikes[neuron] = -1;
        }
        std::copy_n(&membranes[size_t(decision) * core::OUTPUTS], core::OUTPUTS, potential);
    }

  private:
    std::vector<int32_t> membranes; // of the outputs, for each step
};

void tick(Bench *bench) {
    bench->settle();
    bench->edge();
}

} // namespace

// Writes a whole region.
EXPORT void core_store(Bench *bench, uint32_t region, uint32_t words, uint32_t lanes,
                       const uint8_t *contents) {
    Ports &io = bench->io;
    io.memory__region = region;
    for (uint32_t word = 0; word < words; ++word) {
        io.memory__shift = 1;
        for (uint32_t lane = 0; lane < lanes; ++lane) {
            io.memory__byte = *contents++;
            tick(bench);
        }
        io.memory__shift = 0;
        io.memory__word = word;
        io.memory__store = 1;
        tick(bench);
        io.memory__store = 0;
    }
    for (unsigned cycle = 0; cycle < core::FETCH_CYCLES; ++cycle) tick(bench);
}

// Reads a whole region.
EXPORT void core_fetch(Bench *bench, uint32_t region, uint32_t words, uint32_t lanes,
                       uint8_t *contents) {
    Ports &io = bench->io;
    io.memory__region = region;
    for (uint32_t word = 0; word < words; ++word) {
        io.memory__word = word;
        io.memory__fetch = 1;
        tick(bench);
        io.memory__fetch = 0;
        for (unsigned cycle = 1; cycle < core::FETCH_CYCLES; ++cycle) tick(bench);
        for (uint32_t lane = 0; lane < lanes; ++lane) {
            bench->settle();
            *contents++ = io.memory__byte_out;
            io.memory__shift = 1;
            tick(bench);
            io.memory__shift = 0;
            for (unsigned cycle = 1; cycle < core::SHIFT_CYCLES; ++cycle) tick(bench);
        }
    }
}

// Input spikes of a batch: sample n has events first[n] … first[n + 1] − 1, steps ascending.
struct Samples {
    const uint64_t *first;
    const uint32_t *step;
    const uint32_t *index;
};

// Where the results go, one row a sample; `rows` is as wide as there are layers, `spikes` as there
// are neurons, `potential` as there are outputs.
struct Results {
    int32_t *label;
    int32_t *step;
    uint8_t *fired;
    int64_t *cycles;
    int32_t *rows;
    int32_t *spikes;
    int32_t *potential;
};

namespace {

// Offers one sample and takes its result. In each cycle `observe` is told whether there was a result
// before, and the number of the cycle in the sample. Returns whether there was one within `limit`
// cycles.
template <typename Observe>
bool run(Bench *bench, uint64_t sample, const Samples &samples, const Results &results,
         uint64_t limit, Observe observe) {
    Ports &io = bench->io;
    uint64_t event = samples.first[sample];
    const uint64_t last = samples.first[sample + 1];
    const uint64_t give_up = bench->cycles + limit;
    // The cycle in which the first event is accepted; the core counts from it on.
    uint64_t start = bench->cycles;
    bool offering = true, decided = false;
    while (offering || !decided) {
        if (bench->cycles == give_up) return false;
        io.i__valid = offering;
        set(io.i__payload, fields::i__payload__end, event == last);
        if (event < last) {
            set(io.i__payload, fields::i__payload__step, samples.step[event]);
            set(io.i__payload, fields::i__payload__index, samples.index[event]);
        }
        io.o__ready = 1;
        bench->settle();
        observe(decided, bench->cycles - start);
        if (offering && io.i__ready) {
            if (event == samples.first[sample]) start = bench->cycles;
            offering = event++ < last;
        }
        if (io.o__valid) {
            decided = true;
            results.label[sample] = get(io.o__payload, fields::o__payload__label);
            results.step[sample] = get(io.o__payload, fields::o__payload__step);
            results.fired[sample] = get(io.o__payload, fields::o__payload__fired);
            results.cycles[sample] = get(io.o__payload, fields::o__payload__cycles);
            for (unsigned layer = 0; layer < core::LAYERS; ++layer) {
                results.rows[sample * core::LAYERS + layer] =
                    get(io.o__payload, core::ROWS[layer]);
            }
        }
        core::edge(*bench);
    }
    return true;
}

} // namespace

// Runs samples begin … end − 1, and fills `log` if there is one. Returns the number of the sample that
// gave no result within `limit` cycles, or `end`.
EXPORT uint64_t core_infer(Bench *bench, uint64_t begin, uint64_t end, const Samples *samples,
                           const Results *results, uint64_t limit, Log *log) {
    Ports &io = bench->io;
    Recorder recorder;
    for (uint64_t sample = begin; sample < end; ++sample) {
        int32_t *spikes = results->spikes + sample * core::TOTAL;
        std::fill_n(spikes, core::TOTAL, -1);
        core::set_label(io, false, 0);
        const auto observe = [&](bool decided, uint32_t cycle) {
            if (!decided) recorder.collect(io, spikes, cycle, log);
        };
        if (!run(bench, sample, *samples, *results, limit, observe)) return sample;
        recorder.conclude(results->step[sample], spikes,
                          results->potential + sample * core::OUTPUTS);
    }
    io.i__valid = 0;
    bench->settle();
    return end;
}

// Learns from samples begin … end − 1; `spikes` and `potential` of the results are not written.
// Returns as core_infer does.
EXPORT uint64_t core_learn(Bench *bench, uint64_t begin, uint64_t end, const Samples *samples,
                           const uint32_t *labels, const Results *results, uint64_t limit) {
    Ports &io = bench->io;
    for (uint64_t sample = begin; sample < end; ++sample) {
        core::set_label(io, true, labels[sample]);
        if (!run(bench, sample, *samples, *results, limit, [](bool, uint32_t) {})) return sample;
    }
    io.i__valid = 0;
    bench->settle();
    return end;
}
