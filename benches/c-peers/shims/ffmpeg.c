// AVBufferPool: it allocates another buffer whenever it is empty.
#include <libavutil/buffer.h>
#include <stdint.h>

void *shim_av_new(uint32_t frames, uint32_t size) {
    AVBufferPool *pool = av_buffer_pool_init(size, NULL);
    AVBufferRef *all[1024];
    uint32_t made = 0;
    for (; pool && made < frames && made < 1024; made++)
        all[made] = av_buffer_pool_get(pool);
    while (made > 0)
        av_buffer_unref(&all[--made]);
    return pool;
}

void *shim_av_get(void *pool) { return av_buffer_pool_get(pool); }

void *shim_av_start(void *pool, void *ref) {
    (void)pool;
    return ((AVBufferRef *)ref)->data;
}

void shim_av_put(void *pool, void *frame) {
    (void)pool;
    AVBufferRef *ref = frame;
    av_buffer_unref(&ref);
}
