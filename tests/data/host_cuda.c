/* The part of CUDA's driver API that the toolkit's sessions reach through pycuda and cuda-bindings, on
   host memory. Work on a stream is done at once. What needs a context fails without one, and what is
   alive is counted, so that the real packages can be tested where there is no GPU. What a graph holds,
   the test keeps: it is told when one begins, ends, is instantiated and launched. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID_DEVICE = 101, INVALID_CONTEXT = 201 };
typedef unsigned long long pointer;

static int memory, pinned, streams, events, retained, graphs, executables;
static void (*tell)(const char *what, void *stream, void *graph);
static __thread void *stack[16];
static __thread int depth;
#define IN_CONTEXT if (!depth) return INVALID_CONTEXT

void host_counts(int *counts) {
    int all[] = {memory, pinned, streams, events, retained, graphs, executables, depth};
    memcpy(counts, all, sizeof all);
}
void host_tells(void (*listener)(const char *, void *, void *)) { tell = listener; }

int cuInit(unsigned flags) { return OK; }
int cuDriverGetVersion(int *version) { *version = 13000; return OK; }
int cuDeviceGetCount(int *count) { *count = 1; return OK; }
int cuDeviceGet(int *device, int ordinal) { *device = 0; return ordinal ? INVALID_DEVICE : OK; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "NVIDIA L4", size); return OK; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : 0;
    return OK;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &retained; retained++; return OK; }
int cuDevicePrimaryCtxRelease_v2(int device) { retained--; return OK; }
int cuCtxPushCurrent_v2(void *context) { stack[depth++] = context; return OK; }
int cuCtxPopCurrent_v2(void **context) { IN_CONTEXT; *context = stack[--depth]; return OK; }
int cuCtxDetach(void *context) { abort(); /* not for a primary context */ }

int cuMemAlloc_v2(pointer *address, size_t size) { IN_CONTEXT; *address = (pointer)malloc(size); memory++; return OK; }
int cuMemFree_v2(pointer address) { IN_CONTEXT; free((void *)address); memory--; return OK; }
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { IN_CONTEXT; *address = malloc(size); pinned++; return OK; }
int cuMemFreeHost(void *address) { IN_CONTEXT; free(address); pinned--; return OK; }
int cuMemcpyHtoDAsync_v2(pointer to, const void *from, size_t size, void *stream) { IN_CONTEXT; memcpy((void *)to, from, size); return OK; }
int cuMemcpyDtoHAsync_v2(void *to, pointer from, size_t size, void *stream) { IN_CONTEXT; memcpy(to, (void *)from, size); return OK; }

int cuStreamCreate(void **stream, unsigned flags) { IN_CONTEXT; *stream = malloc(1); streams++; return OK; }
int cuStreamDestroy_v2(void *stream) { IN_CONTEXT; free(stream); streams--; return OK; }
int cuStreamSynchronize(void *stream) { IN_CONTEXT; return OK; }
int cuEventCreate(void **event, unsigned flags) { IN_CONTEXT; *event = malloc(1); events++; return OK; }
int cuEventDestroy_v2(void *event) { IN_CONTEXT; free(event); events--; return OK; }
int cuEventRecord(void *event, void *stream) { IN_CONTEXT; return OK; }
int cuEventElapsedTime(float *milliseconds, void *start, void *end) { *milliseconds = 1.5f; return OK; }
int cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) { *milliseconds = 1.5f; return OK; }
int cuGetErrorString(int error, const char **text) { *text = "told by the test"; return OK; }
int cuMemcpyDtoDAsync_v2(pointer to, pointer from, size_t size, void *stream) { IN_CONTEXT; memcpy((void *)to, (void *)from, size); return OK; }
int cuMemGetInfo_v2(size_t *left, size_t *all) { IN_CONTEXT; *left = *all = 1u << 30; return OK; }

int cuStreamBeginCapture_v2(void *stream, int mode) {
    IN_CONTEXT;
    if (mode != 1) return 1; /* thread-local, or other threads could not allocate meanwhile */
    tell("begin", stream, 0);
    return OK;
}
int cuStreamEndCapture(void *stream, void **graph) {
    IN_CONTEXT;
    if (getenv("HOST_CUDA_NO_GRAPHS")) { *graph = 0; tell("lost", stream, 0); return 901; }
    *graph = malloc(1);
    graphs++;
    tell("end", stream, *graph);
    return OK;
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) {
    *executable = malloc(1);
    executables++;
    tell("instantiate", *executable, graph);
    return OK;
}
int cuGraphLaunch(void *executable, void *stream) { IN_CONTEXT; tell("launch", stream, executable); return OK; }
int cuGraphDestroy(void *graph) { free(graph); graphs--; return OK; }
int cuGraphExecDestroy(void *executable) { free(executable); executables--; return OK; }

static int missing(void) { return 801; }
int cuGetProcAddress_v2(const char *name, void **function, int version, uint64_t flags, int *status) {
    void *self = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    const char *endings[] = {"_v2", "WithFlags", ""};
    *function = 0;
    for (int i = 0; i < 3 && !*function; i++) {
        char symbol[256];
        snprintf(symbol, sizeof symbol, "%s%s", name, endings[i]);
        *function = dlsym(self, symbol);
    }
    if (!*function) *function = missing;
    if (status) *status = 0;
    return OK;
}
int cuGetProcAddress(const char *name, void **function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, 0);
}
