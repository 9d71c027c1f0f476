/*
 * The protocol between host and device, see docs/link.md.
 * Made by `python -m firstspike.firmware.c_header`; do not edit.
 */

#ifndef FIRSTSPIKE_PROTOCOL_H
#define FIRSTSPIKE_PROTOCOL_H

#include <stdint.h>

/* Frames */

#define FIRSTSPIKE_PROTOCOL_VERSION 4
#define FIRSTSPIKE_HEAD_BYTES 6 /* op, seq, arg */
#define FIRSTSPIKE_FRAME_OVERHEAD 10 /* head and CRC */
#define FIRSTSPIKE_ANSWER 0x80 /* set in op of an answer */

enum firstspike_op {
    FIRSTSPIKE_HELLO = 0x01,
    FIRSTSPIKE_READ_REGISTER = 0x02,
    FIRSTSPIKE_WRITE_REGISTER = 0x03,
    FIRSTSPIKE_WRITE_MEMORY = 0x04,
    FIRSTSPIKE_MEMORY_CRC = 0x05,
    FIRSTSPIKE_READ_MEMORY = 0x06,
    FIRSTSPIKE_INFER_BITMAP = 0x07,
    FIRSTSPIKE_INFER_SPIKES = 0x08,
    FIRSTSPIKE_LEARN_BITMAP = 0x09,
    FIRSTSPIKE_LEARN_SPIKES = 0x0a
};

/* What a request is refused with: STATUS(name, number, sentence). */
#define FIRSTSPIKE_STATUSES(STATUS) \
    STATUS(UNKNOWN_OPERATION, 1, \
           "the device does not know the operation") \
    STATUS(BAD_LENGTH, 2, \
           "the payload has a length that the operation does not take") \
    STATUS(BAD_ADDRESS, 3, \
           "there is no register or memory word at the address") \
    STATUS(READ_ONLY, 4, \
           "the register or memory cannot be written") \
    STATUS(BAD_SAMPLE, 5, \
           "a spike has an index or a step out of range or out of order, or there are more " \
           "spikes than inputs") \
    STATUS(BAD_VALUE, 6, \
           "the value is out of the register's range") \
    STATUS(REPEATED, 7, \
           "the sample was learned before") \
    STATUS(OUT_OF_ORDER, 8, \
           "samples to learn before this one are missing") \
    STATUS(BAD_LABEL, 9, \
           "the label is of no output that takes part") \
    STATUS(NO_MODEL, 10, \
           "the device does not hold the model that the sample is for") \
    STATUS(STALLED, 11, \
           "the core gave no result in time and was reset")

#define FIRSTSPIKE_STATUS_END 12 /* statuses that this release knows are below */

/* Offsets in a greeting, and in an outcome; a u16 of rows a layer follows it. */

#define FIRSTSPIKE_DEVICE_MAGIC 0x6b707331u /* 1spk */
#define FIRSTSPIKE_HELLO_MAGIC 0
#define FIRSTSPIKE_HELLO_MAGIC_BYTES 4
#define FIRSTSPIKE_HELLO_VERSION 4
#define FIRSTSPIKE_HELLO_DIGEST 8
#define FIRSTSPIKE_HELLO_CLOCK_HZ 16
#define FIRSTSPIKE_HELLO_BUILD 20
#define FIRSTSPIKE_HELLO_BUFFER_BYTES 24
#define FIRSTSPIKE_HELLO_RELEASE 28
#define FIRSTSPIKE_HELLO_RELEASE_BYTES 16
#define FIRSTSPIKE_HELLO_BYTES 44

#define FIRSTSPIKE_OUTCOME_CYCLES 0
#define FIRSTSPIKE_OUTCOME_LABEL 4
#define FIRSTSPIKE_OUTCOME_STEP 6
#define FIRSTSPIKE_OUTCOME_FLAGS 8
#define FIRSTSPIKE_OUTCOME_BYTES 10

/* Samples and memories */

#define FIRSTSPIKE_STEP_WORD 0x8000u /* set in a word that opens a step */
#define FIRSTSPIKE_LEARNING_ARGUMENT(label, number) \
    ((uint32_t)(label) * 0x10000u | ((number) & 0xffffu))
#define FIRSTSPIKE_MEMORY_ADDRESS(region, word) ((uint32_t)(region) * 0x1000000u | (word))
#define FIRSTSPIKE_MOST_WORDS 0x1000000u /* words that a region can have */

/* Registers */

#define FIRSTSPIKE_MOST_LAYERS 16 /* that a device has registers for */

/* Number of time steps `T` of an inference. */
#define FIRSTSPIKE_REGISTER_STEPS 0x00u
/* Outputs that take part in the decision, from index 0. */
#define FIRSTSPIKE_REGISTER_CLASSES 0x01u
/* CRC-32 of the loaded image; 0 while none is verified. */
#define FIRSTSPIKE_REGISTER_MODEL 0x02u
/* Frames received whole. */
#define FIRSTSPIKE_REGISTER_FRAMES_ACCEPTED 0x08u
/* Runs of bytes with a bad code, length or CRC. */
#define FIRSTSPIKE_REGISTER_FRAMES_DAMAGED 0x09u
/* Frames received whole for which there was no room. */
#define FIRSTSPIKE_REGISTER_FRAMES_OVERRUN 0x0au
/* Bytes without a stop bit; left out. */
#define FIRSTSPIKE_REGISTER_LINE_ERRORS 0x0bu
/* Frames answered with a status other than `OK`. */
#define FIRSTSPIKE_REGISTER_COMMANDS_REFUSED 0x0cu
/* Inferences completed. */
#define FIRSTSPIKE_REGISTER_INFERENCES 0x0du
/* Times that the watchdog has reset the core. */
#define FIRSTSPIKE_REGISTER_STALLS 0x0eu
/* Resets since the device was configured, the first included. */
#define FIRSTSPIKE_REGISTER_BOOTS 0x0fu
/* Threshold `θ` of a layer. */
#define FIRSTSPIKE_REGISTER_THRESHOLD(layer) (0x10u + (layer))
/* Samples learned; the low 16 bits number the next one. */
#define FIRSTSPIKE_REGISTER_LEARNED 0x20u
/* Margin `M` in steps. */
#define FIRSTSPIKE_REGISTER_MARGIN 0x21u
/* Step of the last layer's weights. */
#define FIRSTSPIKE_REGISTER_STEP 0x22u
/* Least spikes of a hidden layer, `H`. */
#define FIRSTSPIKE_REGISTER_ACTIVITY 0x23u
/* Largest weight without a vote. */
#define FIRSTSPIKE_REGISTER_DEAD_ZONE 0x24u
/* Probability of leaving out a hidden neuron, `2^-16`. */
#define FIRSTSPIKE_REGISTER_DROPOUT 0x25u
/* Probability of leaving out an input spike, `2^-16`. */
#define FIRSTSPIKE_REGISTER_INPUT_DROPOUT 0x26u
/* Generator that chooses rows. */
#define FIRSTSPIKE_REGISTER_RANDOM_UPDATE 0x27u
/* Probability of updating a row, `2^-16`. */
#define FIRSTSPIKE_REGISTER_RATE(layer) (0x30u + (layer))
/* Generator that leaves out neurons, low half. */
#define FIRSTSPIKE_REGISTER_RANDOM_LOW(layer) (0x40u + (layer))
/* Its high half. */
#define FIRSTSPIKE_REGISTER_RANDOM_HIGH(layer) (0x50u + (layer))

enum firstspike_counter {
    FIRSTSPIKE_FRAMES_ACCEPTED,
    FIRSTSPIKE_FRAMES_DAMAGED,
    FIRSTSPIKE_FRAMES_OVERRUN,
    FIRSTSPIKE_LINE_ERRORS,
    FIRSTSPIKE_COMMANDS_REFUSED,
    FIRSTSPIKE_INFERENCES,
    FIRSTSPIKE_STALLS,
    FIRSTSPIKE_BOOTS,
    FIRSTSPIKE_COUNTERS
};

#define FIRSTSPIKE_COUNTER_ADDRESSES {0x08, 0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x0e, 0x0f}

/* Offsets in a packed model, see firmware/packed.py */

#define FIRSTSPIKE_MODEL_MAGIC 0x6d707331u /* 1spm */
#define FIRSTSPIKE_MODEL_FORMAT 1
#define FIRSTSPIKE_PACKED_MAGIC 0
#define FIRSTSPIKE_PACKED_MAGIC_BYTES 4
#define FIRSTSPIKE_PACKED_VERSION 4
#define FIRSTSPIKE_PACKED_SETTINGS 6
#define FIRSTSPIKE_PACKED_REGIONS 7
#define FIRSTSPIKE_PACKED_DIGEST 8
#define FIRSTSPIKE_PACKED_CRC 16
#define FIRSTSPIKE_PACKED_BYTES 20
#define FIRSTSPIKE_PACKED_SETTING_ADDRESS 0
#define FIRSTSPIKE_PACKED_SETTING_VALUE 4
#define FIRSTSPIKE_PACKED_SETTING_BYTES 8
#define FIRSTSPIKE_PACKED_REGION_WORDS 0
#define FIRSTSPIKE_PACKED_REGION_WORD_BYTES 4
#define FIRSTSPIKE_PACKED_REGION_CRC 8
#define FIRSTSPIKE_PACKED_REGION_BYTES 12

#endif
