#include "firstspike.h"

#include "firstspike_bytes.h"
#include "firstspike_exchange.h"

/* Samples */

static void add_word(struct firstspike_spikes *spikes, uint16_t word)
{
    firstspike_put_u16(spikes->bytes + spikes->count, word);
    spikes->count += 2;
}

enum firstspike_error firstspike_add_spike(struct firstspike_spikes *spikes, uint16_t step,
                                           uint16_t input)
{
    const bool opens = step > spikes->step;
    if (step < spikes->step || (!opens && input < spikes->least) || step >= FIRSTSPIKE_STEP_WORD ||
        input >= FIRSTSPIKE_STEP_WORD)
        return FIRSTSPIKE_BAD_SAMPLE;
    if (spikes->capacity - spikes->count < (opens ? 4u : 2u))
        return FIRSTSPIKE_BUFFER_TOO_SMALL;
    if (opens)
        add_word(spikes, (uint16_t)(step | FIRSTSPIKE_STEP_WORD));
    add_word(spikes, input);
    spikes->step = step;
    spikes->least = (uint16_t)(input + 1);
    return FIRSTSPIKE_OK;
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

/* Batches */

/* Samples to classify, or lessons to learn from; the other is NULL. */
struct batch {
    const struct firstspike_sample *samples;
    const struct firstspike_lesson *lessons;
    struct firstspike_outcome *outcomes;
    uint32_t number; /* of the model, or of the first lesson */
};

static const struct firstspike_sample *sample_of(const struct batch *batch, uint32_t index)
{
    return batch->lessons != NULL ? &batch->lessons[index].sample : &batch->samples[index];
}

static enum firstspike_error make_sample(void *context, uint32_t index,
                                         struct firstspike_request *request)
{
    const struct batch *batch = context;
    const struct firstspike_sample *sample = sample_of(batch, index);
    const bool bitmap = sample->coding == FIRSTSPIKE_BITMAP;
    *request = (struct firstspike_request){
        .op = bitmap ? FIRSTSPIKE_INFER_BITMAP : FIRSTSPIKE_INFER_SPIKES,
        .arg = batch->number,
        .payload = sample->bytes,
        .count = sample->count};
    if (batch->lessons != NULL) {
        request->op = bitmap ? FIRSTSPIKE_LEARN_BITMAP : FIRSTSPIKE_LEARN_SPIKES;
        request->arg =
            FIRSTSPIKE_LEARNING_ARGUMENT(batch->lessons[index].label, batch->number + index);
    }
    return FIRSTSPIKE_OK;
}

static enum firstspike_error take_outcome(void *context, uint32_t index, const uint8_t *payload,
                                          size_t count)
{
    const struct batch *batch = context;
    struct firstspike_outcome *outcome = &batch->outcomes[index];
    if (payload != NULL)
        return read_outcome(outcome, payload, count);
    *outcome = (struct firstspike_outcome){.repeated = true};
    return FIRSTSPIKE_OK;
}

static enum firstspike_error run_batch(struct firstspike *device, struct batch *batch,
                                       uint32_t count)
{
    struct firstspike_task task = {.requests = count,
                                   .answer = device->answer,
                                   .capacity = sizeof device->answer,
                                   .in_turn = batch->lessons != NULL,
                                   .make = make_sample,
                                   .take = take_outcome,
                                   .context = batch};
    for (uint32_t i = 0; i < count; i++)
        if (sample_of(batch, i)->count > task.longest)
            task.longest = sample_of(batch, i)->count;
    return firstspike_exchange(device, &task);
}

/* Inference */

enum firstspike_error firstspike_infer_many(struct firstspike *device,
                                            const struct firstspike_sample *samples, uint32_t count,
                                            struct firstspike_outcome *outcomes)
{
    struct batch batch = {.samples = samples, .outcomes = outcomes, .number = device->model};
    return run_batch(device, &batch, count);
}

enum firstspike_error firstspike_infer(struct firstspike *device,
                                       const struct firstspike_sample *sample,
                                       struct firstspike_outcome *outcome)
{
    return firstspike_infer_many(device, sample, 1, outcome);
}

/* Learning */

/* Checks that the device expects a lesson of this number next. */
static enum firstspike_error check_number(struct firstspike *device, uint32_t number)
{
    uint32_t learned = 0, model = 0;
    enum firstspike_error error =
        firstspike_read_register(device, FIRSTSPIKE_REGISTER_LEARNED, &learned);
    /* Only builds that learn have it. */
    if (error == FIRSTSPIKE_BAD_ADDRESS)
        return FIRSTSPIKE_UNKNOWN_OPERATION;
    if (error != FIRSTSPIKE_OK || FIRSTSPIKE_LEARNING_ARGUMENT(0, learned ^ number) == 0)
        return error;
    /* After a reset both are gone, and the model has to be loaded first. */
    error = firstspike_read_register(device, FIRSTSPIKE_REGISTER_MODEL, &model);
    if (error != FIRSTSPIKE_OK)
        return error;
    return model != 0 ? FIRSTSPIKE_OUT_OF_ORDER : FIRSTSPIKE_NO_MODEL;
}

enum firstspike_error firstspike_learn(struct firstspike *device,
                                       const struct firstspike_lesson *lessons, uint32_t count,
                                       uint32_t number, struct firstspike_outcome *outcomes)
{
    struct batch batch = {.lessons = lessons, .outcomes = outcomes, .number = number};
    const enum firstspike_error error = check_number(device, number);
    return error == FIRSTSPIKE_OK ? run_batch(device, &batch, count) : error;
}
