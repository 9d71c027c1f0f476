#include "firstspike.h"

#include "firstspike_bytes.h"
#include "firstspike_exchange.h"

/* Samples */

static enum firstspike_error add_word(struct firstspike_spikes *spikes, uint16_t word)
{
    if (spikes->capacity - spikes->count < 2)
        return FIRSTSPIKE_BUFFER_TOO_SMALL;
    firstspike_put_u16(spikes->bytes + spikes->count, word);
    spikes->count += 2;
    return FIRSTSPIKE_OK;
}

enum firstspike_error firstspike_add_spike(struct firstspike_spikes *spikes, uint16_t step,
                                           uint16_t input)
{
    if (step < spikes->step || step >= FIRSTSPIKE_STEP_WORD || input >= FIRSTSPIKE_STEP_WORD)
        return FIRSTSPIKE_BAD_SAMPLE;
    if (step > spikes->step) {
        const enum firstspike_error error =
            add_word(spikes, (uint16_t)(step | FIRSTSPIKE_STEP_WORD));
        if (error != FIRSTSPIKE_OK)
            return error;
        spikes->step = step;
    }
    return add_word(spikes, input);
}

struct firstspike_sample firstspike_spikes_sample(const struct firstspike_spikes *spikes)
{
    return (struct firstspike_sample){
        .coding = FIRSTSPIKE_SPIKES, .bytes = spikes->bytes, .count = spikes->count};
}

/* Outcomes */

static enum firstspike_error read_outcome(struct firstspike_outcome *outcome,
                                          const uint8_t *payload, size_t count)
{
    if (count < FIRSTSPIKE_OUTCOME_BYTES || (count - FIRSTSPIKE_OUTCOME_BYTES) % 2 != 0)
        return FIRSTSPIKE_BAD_ANSWER;
    *outcome = (struct firstspike_outcome){
        .cycles = firstspike_get_u32(payload + FIRSTSPIKE_OUTCOME_CYCLES),
        .label = firstspike_get_u16(payload + FIRSTSPIKE_OUTCOME_LABEL),
        .step = firstspike_get_u16(payload + FIRSTSPIKE_OUTCOME_STEP),
        .fired = (firstspike_get_u16(payload + FIRSTSPIKE_OUTCOME_FLAGS) & 1) != 0};
    const size_t layers = (count - FIRSTSPIKE_OUTCOME_BYTES) / 2;
    for (size_t i = 0; i < layers && i < FIRSTSPIKE_LAYERS; i++)
        outcome->rows[i] = firstspike_get_u16(payload + FIRSTSPIKE_OUTCOME_BYTES + 2 * i);
    return FIRSTSPIKE_OK;
}

/* Inference */

struct inference {
    const struct firstspike_sample *samples;
    struct firstspike_outcome *outcomes;
    uint32_t model;
};

static enum firstspike_error make_inference(void *context, uint32_t index,
                                            struct firstspike_request *request)
{
    const struct inference *inference = context;
    const struct firstspike_sample *sample = &inference->samples[index];
    *request = (struct firstspike_request){
        .op = sample->coding == FIRSTSPIKE_BITMAP ? FIRSTSPIKE_INFER_BITMAP
                                                  : FIRSTSPIKE_INFER_SPIKES,
        .arg = inference->model,
        .payload = sample->bytes,
        .count = sample->count};
    return FIRSTSPIKE_OK;
}

static enum firstspike_error take_inference(void *context, uint32_t index, const uint8_t *payload,
                                            size_t count)
{
    const struct inference *inference = context;
    return read_outcome(&inference->outcomes[index], payload, count);
}

enum firstspike_error firstspike_infer_many(struct firstspike *device,
                                            const struct firstspike_sample *samples, uint32_t count,
                                            struct firstspike_outcome *outcomes)
{
    struct inference inference = {
        .samples = samples, .outcomes = outcomes, .model = device->model};
    struct firstspike_task task = {.requests = count,
                                   .answer = device->answer,
                                   .capacity = sizeof device->answer,
                                   .make = make_inference,
                                   .take = take_inference,
                                   .context = &inference};
    for (uint32_t i = 0; i < count; i++)
        if (samples[i].count > task.longest)
            task.longest = samples[i].count;
    return firstspike_exchange(device, &task);
}

enum firstspike_error firstspike_infer(struct firstspike *device,
                                       const struct firstspike_sample *sample,
                                       struct firstspike_outcome *outcome)
{
    return firstspike_infer_many(device, sample, 1, outcome);
}

/* Learning */

struct learning {
    const struct firstspike_lesson *lessons;
    struct firstspike_outcome *outcomes;
    uint32_t number;
};

static enum firstspike_error make_lesson(void *context, uint32_t index,
                                         struct firstspike_request *request)
{
    const struct learning *learning = context;
    const struct firstspike_lesson *lesson = &learning->lessons[index];
    *request = (struct firstspike_request){
        .op = lesson->sample.coding == FIRSTSPIKE_BITMAP ? FIRSTSPIKE_LEARN_BITMAP
                                                         : FIRSTSPIKE_LEARN_SPIKES,
        .arg = FIRSTSPIKE_LEARNING_ARGUMENT(lesson->label, learning->number + index),
        .payload = lesson->sample.bytes,
        .count = lesson->sample.count};
    return FIRSTSPIKE_OK;
}

static enum firstspike_error take_lesson(void *context, uint32_t index, const uint8_t *payload,
                                         size_t count)
{
    const struct learning *learning = context;
    struct firstspike_outcome *outcome = &learning->outcomes[index];
    if (payload != NULL)
        return read_outcome(outcome, payload, count);
    *outcome = (struct firstspike_outcome){.repeated = true};
    return FIRSTSPIKE_OK;
}

enum firstspike_error firstspike_learn(struct firstspike *device,
                                       const struct firstspike_lesson *lessons, uint32_t count,
                                       uint32_t number, struct firstspike_outcome *outcomes)
{
    struct learning learning = {.lessons = lessons, .outcomes = outcomes, .number = number};
    struct firstspike_task task = {.requests = count,
                                   .answer = device->answer,
                                   .capacity = sizeof device->answer,
                                   .in_turn = true,
                                   .make = make_lesson,
                                   .take = take_lesson,
                                   .context = &learning};
    for (uint32_t i = 0; i < count; i++)
        if (lessons[i].sample.count > task.longest)
            task.longest = lessons[i].sample.count;
    return firstspike_exchange(device, &task);
}
