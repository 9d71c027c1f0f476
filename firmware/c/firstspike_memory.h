/* Memories of the device and sources of what is written there; for the driver's own use. */

#ifndef FIRSTSPIKE_MEMORY_H
#define FIRSTSPIKE_MEMORY_H

#include "firstspike.h"

/* Finds bytes of a source; they last until the next call. BAD_MODEL: they reach beyond its end. */
enum firstspike_error firstspike_fetch(const struct firstspike_source *source, uint32_t offset,
                                       size_t count, const uint8_t **bytes);

/* Writes words from `offset` on in a source. */
enum firstspike_error firstspike_copy_to_memory(struct firstspike *device,
                                                const struct firstspike_span *span,
                                                const struct firstspike_source *source,
                                                uint32_t offset);

#endif
