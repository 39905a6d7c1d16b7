// A CUDA runtime on host memory: a stream is a thread, events are ordered, the rules of stream capture are enforced.
// A kernel does nothing: torch's own operations on "cuda" tensors are run by dispatch.py.
// It stands before libcudart by LD_PRELOAD; what torch calls of libcudart has to be here, for either CUDA 12 or 13.
#include "paper.h"

#include <cuda.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <thread>

using namespace paper;

namespace {

constexpr int MOST_GPUS = 16;
std::mutex all;  // guards what follows
std::set<Stream*>& streams = *new std::set<Stream*>;
struct Block {
    size_t bytes;
    cudaMemoryType type;
    int device;
};
std::map<char*, Block>& blocks = *new std::map<char*, Block>;
std::array<size_t, MOST_GPUS> used{};

thread_local cudaError_t last = cudaSuccess;
thread_local int device = 0;
thread_local Graph* capturing = nullptr;  // begun by this thread
std::atomic<int> global_captures{0};
std::atomic<int> operations{0}, world_rank{-1};
std::atomic<bool> is_broken{false};

double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

cudaError_t refused(cudaError_t error, const char* what) {
    note("error %d: %s", error, what);
    return last = error;
}

// A sticky error, once it has happened, is the answer of every later call of the process.
bool broken() {
    if (!is_broken && planted("sticky")) {
        is_broken = true;
        note("every call fails from here on");
    }
    return is_broken;
}

// What CUDA forbids in a thread that captures, and in every thread while a global capture goes on.
bool forbidden(const char* what) {
    bool own = capturing && capturing->mode != cudaStreamCaptureModeRelaxed;
    bool others = !capturing && global_captures > 0;
    if (own || others) note("%s is forbidden during this capture", what);
    return own || others;
}

int gpus() {
    int there = static_cast<int>(number("PAPER_GPUS", 1)), count = 0;
    const char* visible = getenv("CUDA_VISIBLE_DEVICES");
    if (!visible) return there;
    for (char* at = const_cast<char*>(visible); *at;) {
        char* end = at;
        long index = strtol(at, &end, 10);
        if (end == at || index < 0 || index >= there) break;
        count++;
        at = *end == ',' ? end + 1 : end;
    }
    return count;
}

size_t total() { return static_cast<size_t>(number("PAPER_MEMORY", 150754820096)); }

// What the GPU cannot give, although neither NVML nor cudaMemGetInfo says so: fragments, or another process.
size_t missing() { return static_cast<size_t>(number("PAPER_MISSING_MEMORY", 0)); }

// What each process of the machine holds of each GPU, in a file that all of them map: one can take what another wants.
struct Holder {
    std::atomic<pid_t> pid;
    std::atomic<size_t> bytes[MOST_GPUS];
};
constexpr int MOST_HOLDERS = 256;

bool gone(pid_t pid) { return kill(pid, 0) && errno == ESRCH; }

Holder* holders() {
    static Holder* found = [] {
        std::string folder = setting("PAPER_DIR", "/dev/shm/paper-nccl");
        mkdir(folder.c_str(), 0700);
        int file = open((folder + "/memory").c_str(), O_RDWR | O_CREAT, 0600);
        if (file < 0 || ftruncate(file, MOST_HOLDERS * sizeof(Holder))) abort();
        void* mapped = mmap(nullptr, MOST_HOLDERS * sizeof(Holder), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        close(file);
        return static_cast<Holder*>(mapped);
    }();
    return found;
}

// This process's own line; a fork has another.
Holder& own_line() {
    static Holder* line = nullptr;
    for (int i = 0; (!line || line->pid != getpid()) && i < MOST_HOLDERS; i++) {
        pid_t before = holders()[i].pid;
        if ((before && !gone(before)) || !holders()[i].pid.compare_exchange_strong(before, getpid())) continue;
        line = &holders()[i];
        for (auto& bytes : line->bytes) bytes = 0;
    }
    return *line;
}

size_t held_by_others(int of) {
    size_t sum = 0;
    for (int i = 0; i < MOST_HOLDERS; i++) {
        pid_t pid = holders()[i].pid;
        if (pid && pid != getpid() && !gone(pid)) sum += holders()[i].bytes[of];
    }
    return sum;
}

cudaError_t take(void** pointer, size_t bytes, cudaMemoryType type) {
    std::lock_guard<std::mutex> hold(all);
    *pointer = nullptr;
    if (type == cudaMemoryTypeDevice && used[device] + bytes + missing() + held_by_others(device) > total())
        return refused(cudaErrorMemoryAllocation, "out of memory");
    size_t rounded = (bytes + 511) & ~size_t(511);
    *pointer = aligned_alloc(512, rounded ? rounded : 512);
    blocks[static_cast<char*>(*pointer)] = {bytes, type, device};
    if (type == cudaMemoryTypeDevice) own_line().bytes[device] = used[device] += bytes;
    return cudaSuccess;
}

void drop(void* pointer) {
    std::lock_guard<std::mutex> hold(all);
    auto found = blocks.find(static_cast<char*>(pointer));
    if (found == blocks.end()) return note("%p is freed and was never taken", pointer);
    if (found->second.type == cudaMemoryTypeDevice)
        own_line().bytes[found->second.device] = used[found->second.device] -= found->second.bytes;
    blocks.erase(found);
    free(pointer);
}

const Block* block_of(const void* pointer) {
    auto after = blocks.upper_bound(static_cast<char*>(const_cast<void*>(pointer)));
    if (after == blocks.begin()) return nullptr;
    auto found = std::prev(after);
    return static_cast<const char*>(pointer) <= found->first + found->second.bytes ? &found->second : nullptr;
}

struct Event {
    std::mutex mutex;
    std::condition_variable changed;
    long wanted = 0, happened = 0;  // how often it was recorded, and how often a stream came by
    double when = 0;
    bool timing = true;
    Graph* capture = nullptr;
};

Event* event(cudaEvent_t handle) { return reinterpret_cast<Event*>(handle); }

}  // namespace

namespace paper {

std::string setting(const char* name, const char* otherwise) {
    const char* value = getenv(name);
    return value ? value : otherwise;
}

long number(const char* name, long otherwise) {
    const char* value = getenv(name);
    return value ? atol(value) : otherwise;
}

void note(const char* format, ...) {
    const char* path = getenv("PAPER_LOG");
    if (!path) return;
    char line[600];
    int length = snprintf(line, 100, "%d:%ld ", getpid(), syscall(SYS_gettid));
    va_list words;
    va_start(words, format);
    length += vsnprintf(line + length, 480, format, words);
    va_end(words);
    if (length > 590) length = 590;
    line[length++] = '\n';
    int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (file < 0) return;
    if (write(file, line, length) < 0) {
    }
    close(file);
}

void set_rank(int rank) {
    if (world_rank < 0) world_rank = rank;
}

void count_operation() { operations++; }

bool planted(const char* fault) {
    if (setting("PAPER_FAULT", "") != fault || operations < number("PAPER_FAULT_AFTER", 0)) return false;
    long rank = number("PAPER_FAULT_RANK", -1);
    return rank < 0 || rank == world_rank;
}

void Stream::run() {
    for (;;) {
        Task task;
        {
            std::unique_lock<std::mutex> hold(mutex_);
            changed_.wait(hold, [&] { return !tasks_.empty(); });
            task = tasks_.front();
        }
        task();
        {
            std::lock_guard<std::mutex> hold(mutex_);
            tasks_.pop_front();  // only now: an idle stream has no task that still runs
        }
        changed_.notify_all();
    }
}

void Stream::put(Task task) {
    if (capture) return capture->tasks.push_back(task);
    {
        std::lock_guard<std::mutex> hold(mutex_);
        if (!started_) std::thread([this] { run(); }).detach();
        started_ = true;
        tasks_.push_back(task);
    }
    changed_.notify_all();
}

bool Stream::idle() {
    std::lock_guard<std::mutex> hold(mutex_);
    return tasks_.empty();
}

void Stream::wait() {
    std::unique_lock<std::mutex> hold(mutex_);
    changed_.wait(hold, [&] { return tasks_.empty(); });
}

Stream& stream(cudaStream_t handle) {
    if (handle && handle != cudaStreamLegacy && handle != cudaStreamPerThread)
        return *reinterpret_cast<Stream*>(handle);
    static Stream* usual = nullptr;
    static pid_t owner = 0;  // a forked process has none of its parent's threads
    std::lock_guard<std::mutex> hold(all);
    if (owner != getpid()) {
        owner = getpid();
        streams.insert(usual = new Stream);
    }
    return *usual;
}

bool on_device(const void* pointer) {
    std::lock_guard<std::mutex> hold(all);
    const Block* found = block_of(pointer);
    return found && found->type == cudaMemoryTypeDevice;
}

}  // namespace paper

// The next lines refuse a call: FORBIDDEN during a capture, BROKEN after a sticky error.
#define FORBIDDEN(what) \
    if (forbidden(what)) return refused(cudaErrorStreamCaptureUnsupported, what)
#define BROKEN(what) \
    if (broken()) return refused(cudaErrorIllegalAddress, what)

extern "C" {

// Devices

cudaError_t cudaGetDeviceCount(int* count) {
    *count = gpus();
    return *count ? cudaSuccess : refused(cudaErrorNoDevice, "cudaGetDeviceCount");
}

cudaError_t cudaSetDevice(int index) {
    if (index < 0 || index >= gpus()) return refused(cudaErrorInvalidDevice, "cudaSetDevice");
    device = index;
    return cudaSuccess;
}

cudaError_t cudaGetDevice(int* index) {
    *index = device;
    return cudaSuccess;
}

static cudaError_t properties(cudaDeviceProp* found, int index) {
    memset(found, 0, sizeof *found);
    strcpy(found->name, "NVIDIA H200");
    for (int i = 0; i < 16; i++) found->uuid.bytes[i] = static_cast<char>(0xa0 + index + i);
    found->totalGlobalMem = total();
    found->major = 9;
    found->multiProcessorCount = 132;
    found->warpSize = 32;
    found->maxThreadsPerBlock = found->maxThreadsDim[0] = found->maxThreadsDim[1] = 1024;
    found->maxThreadsDim[2] = 64;
    found->maxThreadsPerMultiProcessor = 2048;
    found->pciBusID = 0x1b + index;
    found->l2CacheSize = 60 << 20;
    found->sharedMemPerBlock = 49152;
    found->sharedMemPerBlockOptin = 232448;
    found->sharedMemPerMultiprocessor = 233472;
    found->regsPerMultiprocessor = 65536;
    found->maxGridSize[0] = 2147483647;
    found->maxGridSize[1] = found->maxGridSize[2] = 65535;
    found->textureAlignment = 512;
    found->memoryBusWidth = 6144;
    return cudaSuccess;
}

#if CUDART_VERSION >= 13000
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* found, int index) { return properties(found, index); }
#endif
cudaError_t cudaGetDeviceProperties_v2(cudaDeviceProp* found, int index) { return properties(found, index); }

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
    static const std::map<cudaDeviceAttr, int> known = {
        {cudaDevAttrMultiProcessorCount, 132},
        {cudaDevAttrComputeCapabilityMajor, 9},
        {cudaDevAttrComputeCapabilityMinor, 0},
        {cudaDevAttrMaxThreadsPerBlock, 1024},
        {cudaDevAttrMaxSharedMemoryPerBlockOptin, 232448},
        {cudaDevAttrMaxSharedMemoryPerBlock, 49152},
        {cudaDevAttrWarpSize, 32},
        {cudaDevAttrMaxGridDimX, 2147483647},
    };
    auto found = known.find(attribute);
    *value = found == known.end() ? 1 : found->second;
    return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int length, int index) {
    snprintf(text, length, "0000:%02X:00.0", 0x1b + index);
    return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
    *can = 1;
    return cudaSuccess;
}

cudaError_t cudaDeviceEnablePeerAccess(int, unsigned) { return cudaSuccess; }

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize() {
    BROKEN("cudaDeviceSynchronize");
    FORBIDDEN("cudaDeviceSynchronize");
    stream(nullptr);
    std::vector<Stream*> known;
    {
        std::lock_guard<std::mutex> hold(all);
        known.assign(streams.begin(), streams.end());
    }
    for (Stream* each : known)
        if (!each->capture) each->wait();
    return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
    *version = CUDART_VERSION;
    return cudaSuccess;
}

cudaError_t cudaGetLastError() {
    cudaError_t error = is_broken ? cudaErrorIllegalAddress : last;
    last = cudaSuccess;
    return error;
}

cudaError_t cudaPeekAtLastError() { return is_broken ? cudaErrorIllegalAddress : last; }

const char* cudaGetErrorName(cudaError_t error) {
    switch (error) {
    case cudaErrorStreamCaptureUnsupported: return "cudaErrorStreamCaptureUnsupported";
    case cudaErrorIllegalAddress: return "cudaErrorIllegalAddress";
    case cudaErrorMemoryAllocation: return "cudaErrorMemoryAllocation";
    default: return "an error of the paper runtime";
    }
}

const char* cudaGetErrorString(cudaError_t error) {
    switch (error) {
    case cudaErrorStreamCaptureUnsupported: return "operation not permitted when stream is capturing";
    case cudaErrorIllegalAddress: return "an illegal memory access was encountered";
    case cudaErrorMemoryAllocation: return "out of memory";
    default: return "an error of the paper runtime";
    }
}

// Memory

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
    BROKEN("cudaMalloc");
    FORBIDDEN("cudaMalloc");
    return take(pointer, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaFree(void* pointer) {
    if (!pointer) return cudaSuccess;
    FORBIDDEN("cudaFree");
    cudaDeviceSynchronize();
    drop(pointer);
    return cudaSuccess;
}

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t) {
    return take(pointer, bytes, cudaMemoryTypeDevice);
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t) {
    drop(pointer);
    return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned) {
    FORBIDDEN("cudaHostAlloc");
    return take(pointer, bytes, cudaMemoryTypeHost);
}

cudaError_t cudaFreeHost(void* pointer) {
    drop(pointer);
    return cudaSuccess;
}

cudaError_t cudaHostGetDevicePointer(void** pointer, void* host, unsigned) {
    *pointer = host;
    return cudaSuccess;
}

cudaError_t cudaHostRegister(void*, size_t, unsigned) { return cudaSuccess; }
cudaError_t cudaHostUnregister(void*) { return cudaSuccess; }
cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t*, int) { return cudaErrorNotSupported; }

cudaError_t cudaMemGetInfo(size_t* unused, size_t* whole) {
    *whole = total();
    size_t taken = used[device] + held_by_others(device);
    *unused = taken < *whole ? *whole - taken : 0;
    return cudaSuccess;
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* found, const void* pointer) {
    memset(found, 0, sizeof *found);
    std::lock_guard<std::mutex> hold(all);
    const Block* block = block_of(pointer);
    found->type = block ? block->type : cudaMemoryTypeUnregistered;
    if (!block) return cudaSuccess;
    found->device = block->device;
    found->devicePointer = found->hostPointer = const_cast<void*>(pointer);
    return cudaSuccess;
}

static bool pageable(const void* pointer) {
    std::lock_guard<std::mutex> hold(all);
    return !block_of(pointer);
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t handle) {
    BROKEN("cudaMemcpyAsync");
    Stream& on = stream(handle);
    on.put([=] { memcpy(to, from, bytes); });
    if (!on.capture && (pageable(to) || pageable(from))) on.wait();
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
    BROKEN("cudaMemcpy");
    stream(nullptr).wait();
    memcpy(to, from, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t handle) {
    return cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, handle);
}

cudaError_t cudaMemcpy2DAsync(
    void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width, size_t height, cudaMemcpyKind,
    cudaStream_t handle
) {
    stream(handle).put([=] {
        for (size_t i = 0; i < height; i++)
            memcpy(static_cast<char*>(to) + i * to_pitch, static_cast<const char*>(from) + i * from_pitch, width);
    });
    stream(handle).wait();
    return cudaSuccess;
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) {
    memset(to, value, bytes);
    return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t handle) {
    stream(handle).put([=] { memset(to, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemcpyToSymbol(const void*, const void*, size_t, size_t, cudaMemcpyKind) { return cudaSuccess; }

cudaError_t cudaGetSymbolAddress(void** pointer, const void*) {
    static char memory[1 << 16];
    *pointer = memory;
    return cudaSuccess;
}

// Streams

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* handle, unsigned, int) {
    Stream* made = new Stream;
    std::lock_guard<std::mutex> hold(all);
    streams.insert(made);
    *handle = reinterpret_cast<cudaStream_t>(made);
    return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t* handle) { return cudaStreamCreateWithPriority(handle, 0, 0); }
cudaError_t cudaStreamDestroy(cudaStream_t) { return cudaSuccess; }

cudaError_t cudaStreamGetPriority(cudaStream_t, int* priority) {
    *priority = 0;
    return cudaSuccess;
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
    BROKEN("cudaStreamQuery");
    if (stream(handle).capture) return refused(cudaErrorStreamCaptureUnsupported, "query of a stream that captures");
    return stream(handle).idle() ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
    BROKEN("cudaStreamSynchronize");
    if (stream(handle).capture) return refused(cudaErrorStreamCaptureUnsupported, "wait for a stream that captures");
    FORBIDDEN("cudaStreamSynchronize");
    stream(handle).wait();
    return broken() ? refused(cudaErrorIllegalAddress, "cudaStreamSynchronize") : cudaSuccess;
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t call, void* argument) {
    stream(handle).put([=] { call(argument); });
    return cudaSuccess;
}

cudaError_t cudaStreamAddCallback(cudaStream_t handle, cudaStreamCallback_t call, void* argument, unsigned) {
    stream(handle).put([=] { call(handle, cudaSuccess, argument); });
    return cudaSuccess;
}

// Events

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* handle, unsigned flags) {
    Event* made = new Event;
    made->timing = !(flags & cudaEventDisableTiming);
    *handle = reinterpret_cast<cudaEvent_t>(made);
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* handle) { return cudaEventCreateWithFlags(handle, 0); }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }

cudaError_t cudaEventRecord(cudaEvent_t handle, cudaStream_t on) {
    Event* it = event(handle);
    it->capture = stream(on).capture;
    if (it->capture) return cudaSuccess;
    long turn;
    {
        std::lock_guard<std::mutex> hold(it->mutex);
        turn = ++it->wanted;
    }
    stream(on).put([=] {
        {
            std::lock_guard<std::mutex> hold(it->mutex);
            if (turn > it->happened) {
                it->happened = turn;
                it->when = now();
            }
        }
        it->changed.notify_all();
    });
    return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t handle, cudaStream_t on, unsigned) {
    return cudaEventRecord(handle, on);
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
    Event* it = event(handle);
    BROKEN("cudaEventQuery");
    if (it->capture) return refused(cudaErrorCapturedEvent, "query of an event that was captured");
    FORBIDDEN("cudaEventQuery");
    std::lock_guard<std::mutex> hold(it->mutex);
    return it->happened >= it->wanted ? cudaSuccess : cudaErrorNotReady;
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
    Event* it = event(handle);
    BROKEN("cudaEventSynchronize");
    if (it->capture) return refused(cudaErrorCapturedEvent, "wait for an event that was captured");
    FORBIDDEN("cudaEventSynchronize");
    std::unique_lock<std::mutex> hold(it->mutex);
    long turn = it->wanted;
    it->changed.wait(hold, [&] { return it->happened >= turn; });
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    Event *begin = event(from), *end = event(to);
    if (!begin->timing || !end->timing || !begin->wanted || !end->wanted)
        return refused(cudaErrorInvalidResourceHandle, "elapsed time of an event that takes no time");
    if (begin->happened < begin->wanted || end->happened < end->wanted)
        return refused(cudaErrorNotReady, "elapsed time of an event that has not happened");
    *milliseconds = static_cast<float>((end->when - begin->when) * 1e3);
    return cudaSuccess;
}

cudaError_t cudaEventElapsedTime_v2(float* milliseconds, cudaEvent_t from, cudaEvent_t to) {
    return cudaEventElapsedTime(milliseconds, from, to);
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t awaited, unsigned) {
    Event* it = event(awaited);
    Stream& on = stream(handle);
    if (it->capture) {
        if (on.capture && on.capture != it->capture) return refused(cudaErrorStreamCaptureMerge, "two captures meet");
        on.capture = it->capture;
        return cudaSuccess;
    }
    if (on.capture) {
        bool outside = it->wanted && it->happened < it->wanted;
        return outside ? refused(cudaErrorStreamCaptureIsolation, "a capture waits for an event outside") : cudaSuccess;
    }
    long turn = it->wanted;
    on.put([=] {
        std::unique_lock<std::mutex> hold(it->mutex);
        it->changed.wait(hold, [&] { return it->happened >= turn; });
    });
    return cudaSuccess;
}

// Graphs

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    static std::atomic<int> captures{0};
    if (!handle) return refused(cudaErrorStreamCaptureUnsupported, "capture of the default stream");
    capturing = stream(handle).capture = new Graph{++captures, mode, {}};
    global_captures += mode == cudaStreamCaptureModeGlobal;
    return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
    Graph* made = stream(handle).capture;
    if (!made) return refused(cudaErrorIllegalState, "no capture to end");
    global_captures -= made->mode == cudaStreamCaptureModeGlobal;
    std::lock_guard<std::mutex> hold(all);
    for (Stream* each : streams)
        if (each->capture == made) each->capture = nullptr;
    capturing = nullptr;
    note("a capture ends with %zu nodes", made->tasks.size());
    *graph = reinterpret_cast<cudaGraph_t>(made);
    return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
    *status = stream(handle).capture ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    return cudaSuccess;
}

static void capture_info(
    cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph,
    const cudaGraphNode_t** dependencies, size_t* count
) {
    Graph* now_in = stream(handle).capture;
    *status = now_in ? cudaStreamCaptureStatusActive : cudaStreamCaptureStatusNone;
    if (id) *id = now_in ? now_in->id : 0;
    if (graph) *graph = reinterpret_cast<cudaGraph_t>(now_in);
    if (dependencies) *dependencies = nullptr;
    if (count) *count = 0;
}

#if CUDART_VERSION >= 13000
cudaError_t cudaStreamGetCaptureInfo(
    cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph,
    const cudaGraphNode_t** dependencies, const cudaGraphEdgeData** edges, size_t* count
) {
    capture_info(handle, status, id, graph, dependencies, count);
    if (edges) *edges = nullptr;
    return cudaSuccess;
}

cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t, cudaGraphNode_t*, cudaGraphEdgeData*, size_t* count) {
    *count = 0;
    return cudaSuccess;
}
#else
cudaError_t cudaStreamGetCaptureInfo_v2(
    cudaStream_t handle, cudaStreamCaptureStatus* status, unsigned long long* id, cudaGraph_t* graph,
    const cudaGraphNode_t** dependencies, size_t* count
) {
    capture_info(handle, status, id, graph, dependencies, count);
    return cudaSuccess;
}
#endif

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
    static thread_local cudaStreamCaptureMode kept = cudaStreamCaptureModeGlobal;
    std::swap(*mode, kept);
    return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
    *count = reinterpret_cast<Graph*>(graph)->tasks.size();
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long) {
    *made = reinterpret_cast<cudaGraphExec_t>(new Graph(*reinterpret_cast<Graph*>(graph)));
    return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* made, cudaGraph_t graph, unsigned long long flags) {
    return cudaGraphInstantiateWithFlags(made, graph, flags);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t graph, cudaStream_t handle) {
    if (planted("empty-replay")) return cudaSuccess;
    for (const Task& task : reinterpret_cast<Graph*>(graph)->tasks) stream(handle).put(task);
    return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t) { return cudaSuccess; }
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t) { return cudaSuccess; }
cudaError_t cudaGraphDebugDotPrint(cudaGraph_t, const char*, unsigned) { return cudaSuccess; }

// Kernels: they are registered, and their launch takes its place in the stream

void** __cudaRegisterFatBinary(void*) {
    static void* handle[4];
    return handle;
}

void __cudaRegisterFatBinaryEnd(void**) {}
void __cudaUnregisterFatBinary(void**) {}
void __cudaRegisterFunction(void**, const char*, char*, const char*, int, void*, void*, void*, void*, int*) {}
void __cudaRegisterVar(void**, char*, char*, const char*, int, size_t, int, int) {}

static thread_local struct {
    dim3 grid, block;
    size_t shared;
    void* stream;
} configured;

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, struct CUstream_st* on) {
    configured = {grid, block, shared, on};
    return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* on) {
    *grid = configured.grid;
    *block = configured.block;
    *shared = configured.shared;
    *static_cast<void**>(on) = configured.stream;
    return cudaSuccess;
}

static cudaError_t launched(cudaStream_t on) {
    BROKEN("launch");
    note("a kernel is launched, which does nothing here");
    stream(on).put([] {});
    return cudaSuccess;
}

cudaError_t cudaLaunchKernel(const void*, dim3, dim3, void**, size_t, cudaStream_t on) { return launched(on); }

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* how, const void*, void**) { return launched(how->stream); }

#if CUDART_VERSION >= 13000
char __cudaInitModule(void**) { return 0; }

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* function) {
    *kernel = reinterpret_cast<cudaKernel_t>(const_cast<void*>(function));
    return cudaSuccess;
}

cudaError_t __cudaLaunchKernel(cudaKernel_t, dim3, dim3, void**, size_t, cudaStream_t on) { return launched(on); }
#endif

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* found, const void*) {
    memset(found, 0, sizeof *found);
    found->maxThreadsPerBlock = 1024;
    found->numRegs = 32;
    found->binaryVersion = found->ptxVersion = 90;
    return cudaSuccess;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* count, const void*, int, size_t, unsigned) {
    *count = 2;
    return cudaSuccess;
}

cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }

// The driver, as torch reaches it through the runtime

static CUresult nothing() { return CUDA_SUCCESS; }

static CUresult context_state(CUdevice, unsigned* flags, int* active) {
    *flags = 0;
    *active = 1;
    return CUDA_SUCCESS;
}

static CUresult attribute(int* value, CUdevice_attribute, CUdevice) {
    *value = 1;
    return CUDA_SUCCESS;
}

static CUresult device_of(CUdevice* found, int index) {
    *found = index;
    return CUDA_SUCCESS;
}

static CUresult context_of(CUcontext* found) {
    *found = reinterpret_cast<CUcontext>(8);
    return CUDA_SUCCESS;
}

static cudaError_t entry(const std::string& name, void** function, cudaDriverEntryPointQueryResult* result) {
    auto is = [&](const char* part) { return name.find(part) != std::string::npos; };
    *function = is("PrimaryCtxGetState")   ? reinterpret_cast<void*>(context_state)
                : is("DeviceGetAttribute") ? reinterpret_cast<void*>(attribute)
                : is("CtxGetCurrent")      ? reinterpret_cast<void*>(context_of)
                : name == "cuDeviceGet"    ? reinterpret_cast<void*>(device_of)
                                           : reinterpret_cast<void*>(nothing);
    if (result) *result = cudaDriverEntryPointSuccess;
    return cudaSuccess;
}

cudaError_t cudaGetDriverEntryPointByVersion(
    const char* name, void** function, unsigned, unsigned long long, cudaDriverEntryPointQueryResult* result
) {
    return entry(name, function, result);
}

#if CUDART_VERSION < 13000
#undef cudaGetDriverEntryPoint
cudaError_t cudaGetDriverEntryPoint(
    const char* name, void** function, unsigned long long, cudaDriverEntryPointQueryResult* result
) {
    return entry(name, function, result);
}
#endif

}  // extern "C"
