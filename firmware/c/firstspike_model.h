/* Packed models, see firmware/packed.py; for the driver's own use. */

#ifndef FIRSTSPIKE_MODEL_H
#define FIRSTSPIKE_MODEL_H

#include "firstspike.h"

/* A packed model whose table has been checked. */
struct firstspike_model {
    const struct firstspike_source *source;
    uint64_t digest;
    uint32_t crc;
    uint8_t settings;
    uint8_t regions;
};

/* A memory region of a packed model, whole. */
struct firstspike_region {
    struct firstspike_span span;
    uint32_t crc;
    uint32_t offset; /* of its contents in the source */
};

/*
 * Reads head and table. BAD_MODEL: they are damaged or of another version; OTHER_CONFIGURATION: the
 * model is for another device; NOT_CONNECTED: there is none.
 */
enum firstspike_error firstspike_open_model(const struct firstspike *device,
                                            const struct firstspike_source *source,
                                            struct firstspike_model *model);

typedef enum firstspike_error firstspike_visit_region(struct firstspike *device,
                                                      const struct firstspike_source *source,
                                                      const struct firstspike_region *region);

/* Visits the regions in order, up to the first error. `source` is handed on. */
enum firstspike_error firstspike_each_region(struct firstspike *device,
                                             const struct firstspike_model *model,
                                             const struct firstspike_source *source,
                                             firstspike_visit_region *visit);

/* Compares the CRC-32 of a region on the device with `crc`; WRONG_MEMORY if it is another. */
enum firstspike_error firstspike_check_region(struct firstspike *device,
                                              const struct firstspike_region *region,
                                              uint32_t crc);

#endif
