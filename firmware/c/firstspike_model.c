#include "firstspike_model.h"

#include "firstspike_bytes.h"
#include "firstspike_memory.h"

/* The table */

static uint32_t setting_offset(uint8_t index)
{
    return FIRSTSPIKE_PACKED_BYTES + (uint32_t)index * FIRSTSPIKE_PACKED_SETTING_BYTES;
}

static uint32_t region_offset(const struct firstspike_model *model, uint8_t index)
{
    return setting_offset(model->settings) + (uint32_t)index * FIRSTSPIKE_PACKED_REGION_BYTES;
}

/* Where the contents of the first region begin, behind the CRC of the table. */
static uint32_t contents_offset(const struct firstspike_model *model)
{
    return region_offset(model, model->regions) + 4;
}

static enum firstspike_error read_head(struct firstspike_model *model)
{
    const uint8_t *head;
    const enum firstspike_error error =
        firstspike_fetch(model->source, 0, FIRSTSPIKE_PACKED_BYTES, &head);
    if (error != FIRSTSPIKE_OK)
        return error;
    if (firstspike_get_u32(head + FIRSTSPIKE_PACKED_MAGIC) != FIRSTSPIKE_MODEL_MAGIC ||
        firstspike_get_u16(head + FIRSTSPIKE_PACKED_VERSION) != FIRSTSPIKE_MODEL_FORMAT)
        return FIRSTSPIKE_BAD_MODEL;
    model->settings = head[FIRSTSPIKE_PACKED_SETTINGS];
    model->regions = head[FIRSTSPIKE_PACKED_REGIONS];
    model->digest = firstspike_get_u64(head + FIRSTSPIKE_PACKED_DIGEST);
    model->crc = firstspike_get_u32(head + FIRSTSPIKE_PACKED_CRC);
    return FIRSTSPIKE_OK;
}

/* Head and table are followed by their CRC. */
static enum firstspike_error check_table(const struct firstspike_model *model)
{
    const uint32_t end = contents_offset(model) - 4;
    uint32_t crc = 0;
    const uint8_t *bytes;
    enum firstspike_error error;
    for (uint32_t offset = 0; offset < end; offset += 4) {
        error = firstspike_fetch(model->source, offset, 4, &bytes);
        if (error != FIRSTSPIKE_OK)
            return error;
        crc = firstspike_crc32(crc, bytes, 4);
    }
    error = firstspike_fetch(model->source, end, 4, &bytes);
    if (error != FIRSTSPIKE_OK)
        return error;
    return firstspike_get_u32(bytes) == crc ? FIRSTSPIKE_OK : FIRSTSPIKE_BAD_MODEL;
}

enum firstspike_error firstspike_open_model(const struct firstspike *device,
                                            const struct firstspike_source *source,
                                            struct firstspike_model *model)
{
    if (!device->connected)
        return FIRSTSPIKE_NOT_CONNECTED;
    *model = (struct firstspike_model){.source = source};
    enum firstspike_error error = read_head(model);
    if (error == FIRSTSPIKE_OK)
        error = check_table(model);
    if (error == FIRSTSPIKE_OK && model->digest != device->greeting.digest)
        return FIRSTSPIKE_OTHER_CONFIGURATION;
    return error;
}

enum firstspike_error firstspike_each_region(struct firstspike *device,
                                             const struct firstspike_model *model,
                                             const struct firstspike_source *source,
                                             firstspike_visit_region *visit)
{
    struct firstspike_region region = {.offset = contents_offset(model)};
    for (uint8_t i = 0; i < model->regions; i++) {
        const uint8_t *entry;
        enum firstspike_error error = firstspike_fetch(model->source, region_offset(model, i),
                                                       FIRSTSPIKE_PACKED_REGION_BYTES, &entry);
        if (error != FIRSTSPIKE_OK)
            return error;
        const uint32_t word_bytes =
            firstspike_get_u32(entry + FIRSTSPIKE_PACKED_REGION_WORD_BYTES);
        if (word_bytes > UINT16_MAX)
            return FIRSTSPIKE_BAD_MODEL;
        region.span = (struct firstspike_span){
            .region = i,
            .word_bytes = (uint16_t)word_bytes,
            .words = firstspike_get_u32(entry + FIRSTSPIKE_PACKED_REGION_WORDS)};
        region.crc = firstspike_get_u32(entry + FIRSTSPIKE_PACKED_REGION_CRC);
        error = visit(device, source, &region);
        if (error != FIRSTSPIKE_OK)
            return error;
        region.offset += region.span.words * region.span.word_bytes;
    }
    return FIRSTSPIKE_OK;
}

typedef enum firstspike_error visit_setting(struct firstspike *device, uint32_t address,
                                            uint32_t value);

/* Visits the registers of a model in order, up to the first error. */
static enum firstspike_error each_setting(struct firstspike *device,
                                          const struct firstspike_model *model,
                                          visit_setting *visit)
{
    for (uint8_t i = 0; i < model->settings; i++) {
        const uint8_t *entry;
        enum firstspike_error error = firstspike_fetch(model->source, setting_offset(i),
                                                       FIRSTSPIKE_PACKED_SETTING_BYTES, &entry);
        if (error != FIRSTSPIKE_OK)
            return error;
        error = visit(device, firstspike_get_u32(entry + FIRSTSPIKE_PACKED_SETTING_ADDRESS),
                      firstspike_get_u32(entry + FIRSTSPIKE_PACKED_SETTING_VALUE));
        if (error != FIRSTSPIKE_OK)
            return error;
    }
    return FIRSTSPIKE_OK;
}

/* Verifying */

enum firstspike_error firstspike_check_region(struct firstspike *device,
                                              const struct firstspike_region *region,
                                              uint32_t crc)
{
    uint32_t held = 0;
    const enum firstspike_error error = firstspike_memory_crc(device, &region->span, &held);
    if (error != FIRSTSPIKE_OK)
        return error;
    if (held == crc)
        return FIRSTSPIKE_OK;
    device->wrong_region = region->span.region;
    return FIRSTSPIKE_WRONG_MEMORY;
}

static enum firstspike_error check_region(struct firstspike *device,
                                          const struct firstspike_source *source,
                                          const struct firstspike_region *region)
{
    (void)source;
    return firstspike_check_region(device, region, region->crc);
}

static enum firstspike_error check_setting(struct firstspike *device, uint32_t address,
                                           uint32_t value)
{
    uint32_t held = 0;
    const enum firstspike_error error = firstspike_read_register(device, address, &held);
    if (error != FIRSTSPIKE_OK)
        return error;
    return held == value ? FIRSTSPIKE_OK : FIRSTSPIKE_WRONG_REGISTER;
}

static enum firstspike_error verify(struct firstspike *device, const struct firstspike_model *model)
{
    const enum firstspike_error error =
        firstspike_each_region(device, model, model->source, check_region);
    return error == FIRSTSPIKE_OK ? each_setting(device, model, check_setting) : error;
}

enum firstspike_error firstspike_verify(struct firstspike *device,
                                        const struct firstspike_source *source)
{
    struct firstspike_model model;
    const enum firstspike_error error = firstspike_open_model(device, source, &model);
    return error == FIRSTSPIKE_OK ? verify(device, &model) : error;
}

/* Loading */

static enum firstspike_error update_region(struct firstspike *device,
                                           const struct firstspike_source *source,
                                           const struct firstspike_region *region)
{
    const enum firstspike_error error = check_region(device, source, region);
    if (error != FIRSTSPIKE_WRONG_MEMORY)
        return error;
    return firstspike_copy_to_memory(device, &region->span, source, region->offset);
}

/* Writes everything but the register `model`. */
static enum firstspike_error write_model(struct firstspike *device,
                                         const struct firstspike_model *model)
{
    enum firstspike_error error = firstspike_write_register(device, FIRSTSPIKE_REGISTER_MODEL, 0);
    if (error == FIRSTSPIKE_OK)
        error = firstspike_each_region(device, model, model->source, update_region);
    if (error == FIRSTSPIKE_OK)
        error = each_setting(device, model, firstspike_write_register);
    return error;
}

/* Has the device vouch for a model that has been verified. */
static enum firstspike_error vouch(struct firstspike *device, const struct firstspike_model *model)
{
    enum firstspike_error error =
        firstspike_write_register(device, FIRSTSPIKE_REGISTER_MODEL, model->crc);
    if (error != FIRSTSPIKE_OK)
        return error;
    /* A reset just before has left nothing to vouch for. */
    error = verify(device, model);
    if (error == FIRSTSPIKE_WRONG_MEMORY || error == FIRSTSPIKE_WRONG_REGISTER)
        (void)firstspike_write_register(device, FIRSTSPIKE_REGISTER_MODEL, 0);
    return error;
}

enum firstspike_error firstspike_load(struct firstspike *device,
                                      const struct firstspike_source *source)
{
    struct firstspike_model model;
    enum firstspike_error error = firstspike_open_model(device, source, &model);
    if (error == FIRSTSPIKE_OK)
        error = write_model(device, &model);
    if (error == FIRSTSPIKE_OK)
        error = verify(device, &model);
    if (error == FIRSTSPIKE_OK)
        error = vouch(device, &model);
    if (error == FIRSTSPIKE_OK)
        device->model = model.crc;
    return error;
}

enum firstspike_error firstspike_resume(struct firstspike *device, uint32_t model)
{
    const enum firstspike_error error = check_setting(device, FIRSTSPIKE_REGISTER_MODEL, model);
    if (error == FIRSTSPIKE_WRONG_REGISTER || (error == FIRSTSPIKE_OK && model == 0))
        return FIRSTSPIKE_NO_MODEL;
    if (error == FIRSTSPIKE_OK)
        device->model = model;
    return error;
}
