// rte_mempool: a ring of frames, with or without a cache per registered thread.
#define _GNU_SOURCE
#include <sched.h>

#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_mempool.h>
#include <stdint.h>
#include <stdio.h>

// Returns 0 or an error number. Without huge pages, devices and shared files, it runs without root.
int shim_dpdk_start(void) {
    char *arguments[] = {"c-peers", "--no-huge", "--no-pci",  "--no-shconf", "-m", "64",
                         "-l",      "0",         "--log-level", "3",         "--no-telemetry"};
    int count = (int)(sizeof arguments / sizeof arguments[0]);
    // rte_eal_init pins this thread to a core, and new threads inherit that. The harness pins its
    // own threads, so the affinity is restored.
    cpu_set_t cores;
    int known = sched_getaffinity(0, sizeof cores, &cores);
    int started = rte_eal_init(count, arguments);
    if (known == 0)
        sched_setaffinity(0, sizeof cores, &cores);
    return started < 0 ? rte_errno : 0;
}

void *shim_dpdk_new(const char *name, uint32_t frames, uint32_t size, uint32_t cache) {
    return rte_mempool_create(name, frames, size, cache, 0, NULL, NULL, NULL, NULL, SOCKET_ID_ANY,
                              0);
}

// Registers the calling thread, once. Only registered threads have caches.
void shim_dpdk_register_thread(void) {
    if (rte_lcore_id() == LCORE_ID_ANY && rte_thread_register() != 0)
        fprintf(stderr, "DPDK cannot register a thread: %s\n", rte_strerror(rte_errno));
}

void *shim_dpdk_get(void *pool) {
    void *frame;
    return rte_mempool_get(pool, &frame) == 0 ? frame : NULL;
}

void shim_dpdk_put(void *pool, void *frame) { rte_mempool_put(pool, frame); }

int shim_dpdk_get_bulk(void *pool, void **frames, uint32_t count) {
    return rte_mempool_get_bulk(pool, frames, count);
}

void shim_dpdk_put_bulk(void *pool, void *const *frames, uint32_t count) {
    rte_mempool_put_bulk(pool, frames, count);
}
