// GstBufferPool: a fixed number of buffers from the default allocator.
#include <gst/gst.h>
#include <stdint.h>

// Hash table from buffers to their memory. It is filled when the pool is made, so that no round has
// to map a buffer.
struct entry {
    GstBuffer *buffer;
    void *start;
};

struct shim_gst {
    GstBufferPool *pool;
    uint32_t mask;
    struct entry entries[];
};

static struct entry *entry_of(struct shim_gst *shim, GstBuffer *buffer) {
    uint32_t at = (uint32_t)((uintptr_t)buffer >> 4) * 2654435761u >> 8;
    while (shim->entries[at & shim->mask].buffer && shim->entries[at & shim->mask].buffer != buffer)
        at++;
    return &shim->entries[at & shim->mask];
}

static const GstBufferPoolAcquireParams dont_wait = {
    .flags = GST_BUFFER_POOL_ACQUIRE_FLAG_DONTWAIT};

struct shim_gst *shim_gst_new(uint32_t frames, uint32_t size) {
    gst_init(NULL, NULL);
    uint32_t entries = 8;
    while (entries < 4 * frames)
        entries *= 2;
    struct shim_gst *shim = g_malloc0(sizeof *shim + entries * sizeof shim->entries[0]);
    shim->mask = entries - 1;
    shim->pool = gst_buffer_pool_new();
    GstStructure *config = gst_buffer_pool_get_config(shim->pool);
    gst_buffer_pool_config_set_params(config, NULL, size, frames, frames);
    if (!gst_buffer_pool_set_config(shim->pool, config) ||
        !gst_buffer_pool_set_active(shim->pool, TRUE))
        return NULL;
    GstBuffer **all = g_new0(GstBuffer *, frames);
    for (uint32_t i = 0; i < frames; i++) {
        GstMapInfo map;
        if (gst_buffer_pool_acquire_buffer(shim->pool, &all[i], NULL) != GST_FLOW_OK ||
            !gst_buffer_map(all[i], &map, GST_MAP_WRITE))
            return NULL;
        *entry_of(shim, all[i]) = (struct entry){all[i], map.data};
        gst_buffer_unmap(all[i], &map);
    }
    for (uint32_t i = 0; i < frames; i++)
        gst_buffer_unref(all[i]);
    g_free(all);
    return shim;
}

void *shim_gst_get(struct shim_gst *shim) {
    GstBuffer *buffer = NULL;
    GstBufferPoolAcquireParams params = dont_wait;
    GstFlowReturn result = gst_buffer_pool_acquire_buffer(shim->pool, &buffer, &params);
    return result == GST_FLOW_OK ? buffer : NULL;
}

void *shim_gst_start(struct shim_gst *shim, void *buffer) { return entry_of(shim, buffer)->start; }

void shim_gst_put(struct shim_gst *shim, void *buffer) {
    (void)shim;
    gst_buffer_unref(buffer);
}
