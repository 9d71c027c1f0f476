/* Numbers in bytes, little-endian whatever the processor. */

#ifndef FIRSTSPIKE_BYTES_H
#define FIRSTSPIKE_BYTES_H

#include <stdint.h>

static inline uint16_t firstspike_get_u16(const uint8_t *bytes)
{
    return (uint16_t)(bytes[0] | (uint16_t)bytes[1] << 8);
}

static inline uint32_t firstspike_get_u32(const uint8_t *bytes)
{
    return firstspike_get_u16(bytes) | (uint32_t)firstspike_get_u16(bytes + 2) << 16;
}

static inline uint64_t firstspike_get_u64(const uint8_t *bytes)
{
    return firstspike_get_u32(bytes) | (uint64_t)firstspike_get_u32(bytes + 4) << 32;
}

static inline void firstspike_put_u16(uint8_t *bytes, uint16_t value)
{
    bytes[0] = (uint8_t)value;
    bytes[1] = (uint8_t)(value >> 8);
}

static inline void firstspike_put_u32(uint8_t *bytes, uint32_t value)
{
    firstspike_put_u16(bytes, (uint16_t)value);
    firstspike_put_u16(bytes + 2, (uint16_t)(value >> 16));
}

#endif
