/*
 * Classifies images on a Firstspike device and prints what they show.
 *
 * model.h and samples.h are made by examples/microcontroller.py.
 */

#include "board.h"
#include "firstspike.h"
#include "model.h"
#include "samples.h"

/* Bytes of the self-test's patterns that are sent at once. */
#define PATTERN_BYTES 256

static void print_number(uint32_t number)
{
    char digits[11];
    char *digit = digits + sizeof digits - 1;
    *digit = '\0';
    do {
        *--digit = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    board_print(digit);
}

static void print_outcome(const struct firstspike_outcome *outcome)
{
    board_print("label ");
    print_number(outcome->label);
    board_print(" step ");
    print_number(outcome->step);
    board_print(outcome->fired ? " fired rows" : " silent rows");
    for (size_t layer = 0; layer < MODEL_LAYERS; layer++) {
        board_print(" ");
        print_number(outcome->rows[layer]);
    }
    board_print("\n");
}

/* A device that was reset holds no model; with one, it is loaded and asked again. */
static enum firstspike_error infer(struct firstspike *device,
                                   const struct firstspike_source *packed,
                                   struct firstspike_outcome *outcomes)
{
    enum firstspike_error error =
        firstspike_infer_many(device, samples, SAMPLE_COUNT, outcomes);
    if (error != FIRSTSPIKE_NO_MODEL)
        return error;
    error = firstspike_load(device, packed);
    return error == FIRSTSPIKE_OK
               ? firstspike_infer_many(device, samples, SAMPLE_COUNT, outcomes)
               : error;
}

static enum firstspike_error classify(void)
{
    static const struct firstspike_source packed = {.bytes = model, .count = sizeof model};
    static struct firstspike_outcome outcomes[SAMPLE_COUNT];
    static struct firstspike device;
    static uint8_t patterns[PATTERN_BYTES];
    firstspike_init(&device, &board_port);
    device.in_flight = board_in_flight;
    enum firstspike_error error = firstspike_connect(&device, MODEL_DIGEST);
    if (error == FIRSTSPIKE_OK)
        error = firstspike_selftest(&device, &packed, patterns, sizeof patterns);
    if (error == FIRSTSPIKE_OK)
        error = infer(&device, &packed, outcomes);
    for (size_t i = 0; i < SAMPLE_COUNT && error == FIRSTSPIKE_OK; i++)
        print_outcome(&outcomes[i]);
    return error;
}

int main(void)
{
    board_init();
    const enum firstspike_error error = classify();
    board_print(firstspike_error_text(error));
    board_print("\n");
    return error == FIRSTSPIKE_OK ? 0 : 1;
}
