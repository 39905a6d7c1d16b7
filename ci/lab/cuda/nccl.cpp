// An NCCL on paper: ranks are processes of one machine that hand their data to each other as files in $PAPER_DIR.
// It moves and reduces every element, refuses memory that is not a GPU's and two ranks on one GPU, and logs in
// NCCL's form as far as this project reads it. It knows no topology, no transport and no speed.
#include "paper.h"

#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <set>

#define ncclDevCommCreate declared_create  // 2.28 declares these with types that are not needed here
#define ncclDevCommDestroy declared_destroy
#include <nccl.h>
#undef ncclDevCommCreate
#undef ncclDevCommDestroy

#define SINCE(minor) (NCCL_VERSION_CODE >= 20000 + 100 * (minor))
#if !SINCE(24)
enum { ncclFloat8e4m3 = 10, ncclFloat8e5m2 = 11 };
#endif

using namespace paper;
using Bytes = std::vector<char>;

namespace {

struct Communicator {
    std::string id;
    int ranks, rank;
    long exchanges = 0;
    int splits = 0;
    std::map<int, long> sent{}, received{};  // messages so far, by the other rank
};

Communicator* own(ncclComm_t handle) { return reinterpret_cast<Communicator*>(handle); }

char last_error[300] = "";

// Files between processes

std::string folder() { return setting("PAPER_DIR", "/dev/shm/paper-nccl"); }
std::string path(const std::string& name) { return folder() + "/" + name; }

void hand_over(const std::string& name, const void* data, size_t bytes) {
    std::string part = path(name + ".part");
    int file = open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    for (size_t at = 0; at < bytes;) {
        ssize_t done = write(file, static_cast<const char*>(data) + at, bytes - at);
        if (done <= 0) break;
        at += done;
    }
    close(file);
    rename(part.c_str(), path(name).c_str());
}

Bytes receive(const std::string& name) {
    int file;
    while ((file = open(path(name).c_str(), O_RDONLY)) < 0) usleep(50);
    struct stat facts;
    fstat(file, &facts);
    Bytes found(facts.st_size);
    for (size_t at = 0; at < found.size();) {
        ssize_t done = read(file, found.data() + at, found.size() - at);
        if (done <= 0) break;
        at += done;
    }
    close(file);
    return found;
}

// What every rank of the communicator hands over, by rank.
std::vector<Bytes> exchange(Communicator* with, const void* data, size_t bytes) {
    long turn = with->exchanges++;
    auto name = [&](long of, int rank) { return with->id + "." + std::to_string(of) + "." + std::to_string(rank); };
    hand_over(name(turn, with->rank), data, bytes);
    std::vector<Bytes> found;
    for (int rank = 0; rank < with->ranks; rank++) found.push_back(receive(name(turn, rank)));
    if (turn) unlink(path(name(turn - 1, with->rank)).c_str());  // all are past it
    return found;
}

// The same for a collective, where the fault "wrong" changes a bit of what this rank sends.
std::vector<Bytes> contribute(Communicator* with, const void* data, size_t bytes) {
    if (!bytes || !planted("wrong")) return exchange(with, data, bytes);
    Bytes changed(static_cast<const char*>(data), static_cast<const char*>(data) + bytes);
    changed[bytes / 2] ^= 1;
    return exchange(with, changed.data(), bytes);
}

// Elements

size_t width(ncclDataType_t type) {
    switch (static_cast<int>(type)) {  // the eight-bit floats are younger than some headers
    case ncclInt8: case ncclUint8: case ncclFloat8e4m3: case ncclFloat8e5m2: return 1;
    case ncclFloat16: case ncclBfloat16: return 2;
    case ncclInt32: case ncclUint32: case ncclFloat32: return 4;
    default: return 8;
    }
}

float from_half(unsigned short bits) {
    unsigned sign = bits >> 15, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    float value = !exponent        ? ldexpf(fraction, -24)
                  : exponent == 31 ? (fraction ? NAN : INFINITY)
                                   : ldexpf(fraction + 1024, int(exponent) - 25);
    return sign ? -value : value;
}

unsigned short to_half(float value) {
    if (std::isnan(value)) return 0x7e00;
    unsigned short sign = std::signbit(value) ? 0x8000 : 0;
    value = fabsf(value);
    if (value >= 65520) return sign | 0x7c00;
    if (value < ldexpf(1, -14)) return sign | static_cast<unsigned short>(nearbyintf(ldexpf(value, 24)));
    int exponent;
    frexpf(value, &exponent);
    exponent--;
    float fraction = nearbyintf(ldexpf(value, 10 - exponent));
    if (fraction >= 2048) {
        fraction /= 2;
        exponent++;
    }
    return sign | ((exponent + 15) << 10) | (static_cast<unsigned short>(fraction) - 1024);
}

float from_brain(unsigned short bits) {
    unsigned whole = unsigned(bits) << 16;
    float value;
    memcpy(&value, &whole, 4);
    return value;
}

unsigned short to_brain(float value) {
    if (std::isnan(value)) return 0x7fc0;
    unsigned whole;
    memcpy(&whole, &value, 4);
    return (whole + 0x7fff + ((whole >> 16) & 1)) >> 16;
}

template <class T> T combined(T a, T b, ncclRedOp_t operation) {
    switch (operation) {
    case ncclProd: return a * b;
    case ncclMax: return a > b ? a : b;
    case ncclMin: return a < b ? a : b;
    default: return a + b;
    }
}

template <class T> void combine(char* into, const char* more, size_t count, ncclRedOp_t operation) {
    T* a = reinterpret_cast<T*>(into);
    const T* b = reinterpret_cast<const T*>(more);
    for (size_t i = 0; i < count; i++) a[i] = combined<T>(a[i], b[i], operation);
}

template <class T> void divide(char* values, size_t count, int by) {
    T* a = reinterpret_cast<T*>(values);
    for (size_t i = 0; i < count; i++) a[i] = a[i] / by;
}

void combine_short(char* into, const char* more, size_t count, ncclRedOp_t operation, bool half) {
    auto a = reinterpret_cast<unsigned short*>(into);
    auto b = reinterpret_cast<const unsigned short*>(more);
    for (size_t i = 0; i < count; i++) {
        float sum = combined(half ? from_half(a[i]) : from_brain(a[i]), half ? from_half(b[i]) : from_brain(b[i]), operation);
        a[i] = half ? to_half(sum) : to_brain(sum);
    }
}

void divide_short(char* values, size_t count, int by, bool half) {
    auto a = reinterpret_cast<unsigned short*>(values);
    for (size_t i = 0; i < count; i++) a[i] = half ? to_half(from_half(a[i]) / by) : to_brain(from_brain(a[i]) / by);
}

void reduce(char* into, const char* more, size_t count, ncclDataType_t type, ncclRedOp_t operation) {
    switch (type) {
    case ncclInt8: return combine<signed char>(into, more, count, operation);
    case ncclUint8: return combine<unsigned char>(into, more, count, operation);
    case ncclInt32: return combine<int>(into, more, count, operation);
    case ncclUint32: return combine<unsigned>(into, more, count, operation);
    case ncclInt64: return combine<long>(into, more, count, operation);
    case ncclUint64: return combine<unsigned long>(into, more, count, operation);
    case ncclFloat32: return combine<float>(into, more, count, operation);
    case ncclFloat64: return combine<double>(into, more, count, operation);
    default: return combine_short(into, more, count, operation, type == ncclFloat16);
    }
}

void average(char* values, size_t count, ncclDataType_t type, int ranks) {
    switch (type) {
    case ncclInt8: return divide<signed char>(values, count, ranks);
    case ncclUint8: return divide<unsigned char>(values, count, ranks);
    case ncclInt32: return divide<int>(values, count, ranks);
    case ncclUint32: return divide<unsigned>(values, count, ranks);
    case ncclInt64: return divide<long>(values, count, ranks);
    case ncclUint64: return divide<unsigned long>(values, count, ranks);
    case ncclFloat32: return divide<float>(values, count, ranks);
    case ncclFloat64: return divide<double>(values, count, ranks);
    default: return divide_short(values, count, ranks, type == ncclFloat16);
    }
}

// The reduction of ``count`` elements that begin at ``offset`` bytes of what each rank contributed.
Bytes reduction(
    const std::vector<Bytes>& parts, size_t offset, size_t count, ncclDataType_t type, ncclRedOp_t operation
) {
    size_t bytes = count * width(type);
    Bytes found(parts[0].begin() + offset, parts[0].begin() + offset + bytes);
    for (size_t rank = 1; rank < parts.size(); rank++)
        reduce(found.data(), parts[rank].data() + offset, count, type, operation);
    if (operation == ncclAvg) average(found.data(), count, type, static_cast<int>(parts.size()));
    return found;
}

// The log

FILE* log_file() {
    static FILE* file = nullptr;
    static pid_t owner = 0;
    if (owner == getpid()) return file;
    owner = getpid();
    file = nullptr;
    if (strcasecmp(setting("NCCL_DEBUG", "").c_str(), "INFO")) return file;
    std::string pattern = setting("NCCL_DEBUG_FILE", ""), name;
    if (pattern.empty()) return file = stdout;
    char host[99];
    gethostname(host, sizeof host);
    for (size_t i = 0; i < pattern.size(); i++) {
        char next = i + 1 < pattern.size() ? pattern[i + 1] : 0;
        if (pattern[i] == '%' && next == 'p') name += std::to_string(getpid());
        else if (pattern[i] == '%' && next == 'h') name += host;
        else {
            name += pattern[i];
            continue;
        }
        i++;
    }
    file = fopen(name.c_str(), "w");
    if (file) setlinebuf(file);
    return file;
}

void say(const char* prefix, const char* level, const char* format, va_list words) {
    FILE* file = log_file();
    if (!file) return;
    char host[99], text[1000];
    int device = 0;
    gethostname(host, sizeof host);
    cudaGetDevice(&device);
    vsnprintf(text, sizeof text, format, words);
    fprintf(file, "%s%s:%d:%ld [%d] %s %s\n", prefix, host, getpid(), syscall(SYS_gettid), device, level, text);
}

void info(const char* format, ...) {
    va_list words;
    va_start(words, format);
    say("", "NCCL INFO", format, words);
    va_end(words);
}

void warn(const char* format, ...) {
    va_list words;
    va_start(words, format);
    say("\n[2026-11-22 14:00:00] ", "init.cc:904 NCCL WARN", format, words);
    va_end(words);
}

void say_environment() {
    static bool said = false;
    if (said) return;
    said = true;
    for (char** each = environ; *each; each++) {
        std::string pair = *each;
        size_t equals = pair.find('=');
        if (pair.rfind("NCCL_", 0) == 0)
            info("%s set by environment to %s", pair.substr(0, equals).c_str(), pair.substr(equals + 1).c_str());
    }
    info("Bootstrap: Using lo:127.0.0.1<0>");
    info("cudaDriverVersion %d", CUDART_VERSION);
    info("NCCL version %d.%d.%d+cuda%d.%d", NCCL_MAJOR, NCCL_MINOR, NCCL_PATCH, CUDART_VERSION / 1000,
         CUDART_VERSION % 1000 / 10);
    info("NET/Socket : Using [0]lo:127.0.0.1<0>");
    info("Using network Socket");
}

// Communicators

ncclResult_t joined(Communicator* made, ncclComm_t* handle) {
    struct Place {
        char host[64];
        int bus;
    } mine{}, *other;
    int device = 0;
    cudaGetDevice(&device);
    strncpy(mine.host, setting("NCCL_HOSTID", "this").c_str(), 63);
    mine.bus = 0x1b + device;
    auto line = [&](const char* end) {
        info("ncclCommInitRankConfig comm %p rank %d nranks %d cudaDev %d nvmlDev %d busId %x000 commId 0x%.12s %s",
             made, made->rank, made->ranks, device, device, mine.bus, made->id.c_str(), end);
    };
    line("- Init START");
    auto places = exchange(made, &mine, sizeof mine);
    std::map<std::string, int> on_host;
    for (int rank = 0; rank < made->ranks; rank++) {
        other = reinterpret_cast<Place*>(places[rank].data());
        on_host[other->host]++;
        if (rank == made->rank || strcmp(other->host, mine.host) || other->bus != mine.bus) continue;
        snprintf(last_error, sizeof last_error, "Duplicate GPU detected : rank %d and rank %d both on CUDA device %x000",
                 made->rank, rank, mine.bus);
        warn("%s", last_error);
        return ncclInvalidUsage;
    }
    for (int rank = 0; rank < made->ranks && on_host.size() > 1; rank++)
        if (rank != made->rank)
            info("Channel 00/0 : %d[%d] -> %d[%d] [send] via NET/Socket/0", made->rank, device, rank, device);
    line(("localRanks " + std::to_string(on_host[mine.host]) + " - Init COMPLETE").c_str());
    *handle = reinterpret_cast<ncclComm_t>(made);
    return ncclSuccess;
}

// Calls: within a group they wait for its end, sends before receives.

using Call = std::pair<cudaStream_t, Task>;
enum Kind { COLLECTIVE, SEND, RECEIVE };
thread_local int group_depth = 0;
thread_local std::vector<Call> waiting[3];

void enter(cudaStream_t on, Task task) {
    count_operation();
    if (planted("stuck")) {
        task = [] {
            for (;;) sleep(3600);
        };
    }
    stream(on).put(task);
}

ncclResult_t call(Kind kind, cudaStream_t on, Task task) {
    if (group_depth) waiting[kind].push_back({on, task});
    else enter(on, task);
    return ncclSuccess;
}

bool refuses(const void* pointer, const char* call_name) {
    if (!pointer || on_device(pointer)) return false;
    snprintf(last_error, sizeof last_error, "%s: %p is not memory of a GPU", call_name, pointer);
    warn("%s", last_error);
    return true;
}

}  // namespace

#define ON_GPU(pointer, call_name) \
    if (refuses(pointer, call_name)) return ncclInvalidArgument

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
    std::random_device random;
    for (char& each : id->internal) each = static_cast<char>(random());
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* handle, int ranks, ncclUniqueId id, int rank, ncclConfig_t*) {
    mkdir(folder().c_str(), 0700);
    set_rank(rank);
    say_environment();
    char hex[25];
    for (int i = 0; i < 12; i++) snprintf(hex + 2 * i, 3, "%02x", static_cast<unsigned char>(id.internal[i]));
    return joined(new Communicator{hex, ranks, rank}, handle);
}

ncclResult_t ncclCommInitRank(ncclComm_t* handle, int ranks, ncclUniqueId id, int rank) {
    return ncclCommInitRankConfig(handle, ranks, id, rank, nullptr);
}

ncclResult_t ncclCommInitAll(ncclComm_t*, int, const int*) { return ncclInternalError; }

ncclResult_t ncclCommSplit(ncclComm_t parent, int color, int key, ncclComm_t* handle, ncclConfig_t*) {
    Communicator* from = own(parent);
    int mine[2] = {color, key};
    auto chosen = exchange(from, mine, sizeof mine);
    from->splits++;
    *handle = nullptr;
    if (color < 0) return ncclSuccess;
    std::vector<std::pair<int, int>> members;  // key, rank of the parent
    for (int rank = 0; rank < from->ranks; rank++) {
        auto said = reinterpret_cast<int*>(chosen[rank].data());
        if (said[0] == color) members.push_back({said[1], rank});
    }
    std::sort(members.begin(), members.end());
    auto place = std::find_if(members.begin(), members.end(), [&](auto& each) { return each.second == from->rank; });
    std::string id = from->id + "s" + std::to_string(from->splits) + "c" + std::to_string(color);
    return joined(
        new Communicator{id, static_cast<int>(members.size()), static_cast<int>(place - members.begin())}, handle
    );
}

#if SINCE(23)
ncclResult_t ncclCommInitRankScalable(ncclComm_t* handle, int ranks, int rank, int, ncclUniqueId* ids, ncclConfig_t* how) {
    return ncclCommInitRankConfig(handle, ranks, ids[0], rank, how);
}
#endif
#if SINCE(27)
ncclResult_t ncclCommShrink(ncclComm_t, int*, int, ncclComm_t*, ncclConfig_t*, int) { return ncclInternalError; }
ncclResult_t ncclCommWindowRegister(ncclComm_t, void*, size_t, ncclWindow_t*, int) { return ncclSuccess; }
ncclResult_t ncclCommWindowDeregister(ncclComm_t, ncclWindow_t) { return ncclSuccess; }
#endif
#if SINCE(28)
ncclResult_t ncclDevCommCreate() { return ncclInternalError; }
ncclResult_t ncclDevCommDestroy() { return ncclInternalError; }
#endif

ncclResult_t ncclCommFinalize(ncclComm_t) { return ncclSuccess; }
ncclResult_t ncclCommDestroy(ncclComm_t) { return ncclSuccess; }
ncclResult_t ncclCommAbort(ncclComm_t) { return ncclSuccess; }

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* error) {
    *error = ncclSuccess;
    return ncclSuccess;
}

ncclResult_t ncclCommCount(const ncclComm_t handle, int* count) {
    if (!handle) return ncclInvalidArgument;
    *count = own(handle)->ranks;
    return ncclSuccess;
}

ncclResult_t ncclCommUserRank(const ncclComm_t handle, int* rank) {
    if (!handle) return ncclInvalidArgument;
    *rank = own(handle)->rank;
    return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
    return result == ncclInvalidUsage      ? "invalid usage"
           : result == ncclInvalidArgument ? "invalid argument"
           : result                        ? "an error of the paper NCCL"
                                           : "no error";
}

const char* ncclGetLastError(ncclComm_t) { return last_error; }

ncclResult_t ncclMemAlloc(void** pointer, size_t bytes) {
    return cudaMalloc(pointer, bytes) ? ncclUnhandledCudaError : ncclSuccess;
}

ncclResult_t ncclMemFree(void* pointer) { return cudaFree(pointer) ? ncclUnhandledCudaError : ncclSuccess; }

ncclResult_t ncclCommRegister(const ncclComm_t, void* buffer, size_t, void** handle) {
    ON_GPU(buffer, "ncclCommRegister");
    *handle = new char;
    return ncclSuccess;
}

ncclResult_t ncclCommDeregister(const ncclComm_t, void* handle) {
    delete static_cast<char*>(handle);
    return ncclSuccess;
}

ncclResult_t ncclRedOpCreatePreMulSum(ncclRedOp_t*, void*, ncclDataType_t, ncclScalarResidence_t, ncclComm_t) {
    return ncclInvalidUsage;
}

ncclResult_t ncclRedOpDestroy(ncclRedOp_t, ncclComm_t) { return ncclSuccess; }

ncclResult_t ncclGroupStart() {
    group_depth++;
    return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
    if (--group_depth) return ncclSuccess;
    for (auto& calls : waiting) {
        for (Call& each : calls) enter(each.first, each.second);
        calls.clear();
    }
    return ncclSuccess;
}

ncclResult_t ncclAllReduce(
    const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t handle,
    cudaStream_t on
) {
    Communicator* with = own(handle);
    ON_GPU(from, "AllReduce");
    ON_GPU(to, "AllReduce");
    if (operation > ncclAvg) return ncclInvalidArgument;
    if (with->ranks == 1 && from == to) return ncclSuccess;  // as NCCL, which enqueues nothing then
    info("AllReduce: %zu Bytes -> Algo RING proto SIMPLE channel{Lo..Hi}={0..1}", count * width(type));
    return call(COLLECTIVE, on, [=] {
        Bytes sum = reduction(contribute(with, from, count * width(type)), 0, count, type, operation);
        memcpy(to, sum.data(), sum.size());
    });
}

ncclResult_t ncclReduce(
    const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t operation, int root, ncclComm_t handle,
    cudaStream_t on
) {
    Communicator* with = own(handle);
    ON_GPU(from, "Reduce");
    return call(COLLECTIVE, on, [=] {
        auto parts = contribute(with, from, count * width(type));
        if (with->rank != root) return;
        Bytes sum = reduction(parts, 0, count, type, operation);
        memcpy(to, sum.data(), sum.size());
    });
}

ncclResult_t ncclBroadcast(
    const void* from, void* to, size_t count, ncclDataType_t type, int root, ncclComm_t handle, cudaStream_t on
) {
    Communicator* with = own(handle);
    ON_GPU(to, "Broadcast");
    return call(COLLECTIVE, on, [=] {
        auto parts = contribute(with, from, with->rank == root ? count * width(type) : 0);
        memcpy(to, parts[root].data(), parts[root].size());
    });
}

ncclResult_t ncclBcast(void* buffer, size_t count, ncclDataType_t type, int root, ncclComm_t handle, cudaStream_t on) {
    return ncclBroadcast(buffer, buffer, count, type, root, handle, on);
}

ncclResult_t ncclReduceScatter(
    const void* from, void* to, size_t count, ncclDataType_t type, ncclRedOp_t operation, ncclComm_t handle,
    cudaStream_t on
) {
    Communicator* with = own(handle);
    ON_GPU(from, "ReduceScatter");
    ON_GPU(to, "ReduceScatter");
    return call(COLLECTIVE, on, [=] {
        size_t bytes = count * width(type);
        Bytes sum = reduction(contribute(with, from, bytes * with->ranks), with->rank * bytes, count, type, operation);
        memcpy(to, sum.data(), bytes);
    });
}

ncclResult_t ncclAllGather(
    const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t handle, cudaStream_t on
) {
    Communicator* with = own(handle);
    ON_GPU(from, "AllGather");
    ON_GPU(to, "AllGather");
    return call(COLLECTIVE, on, [=] {
        size_t bytes = count * width(type);
        auto parts = contribute(with, from, bytes);
        for (int rank = 0; rank < with->ranks; rank++)
            memcpy(static_cast<char*>(to) + rank * bytes, parts[rank].data(), bytes);
    });
}

#if SINCE(28)
ncclResult_t ncclAlltoAll(
    const void* from, void* to, size_t count, ncclDataType_t type, ncclComm_t handle, cudaStream_t on
) {
    Communicator* with = own(handle);
    ON_GPU(from, "AlltoAll");
    ON_GPU(to, "AlltoAll");
    return call(COLLECTIVE, on, [=] {
        size_t bytes = count * width(type);
        auto parts = contribute(with, from, bytes * with->ranks);
        for (int rank = 0; rank < with->ranks; rank++)
            memcpy(static_cast<char*>(to) + rank * bytes, parts[rank].data() + with->rank * bytes, bytes);
    });
}
#endif

static std::string message(Communicator* with, int from, int to, long turn) {
    return with->id + ".m." + std::to_string(from) + "." + std::to_string(to) + "." + std::to_string(turn);
}

ncclResult_t ncclSend(
    const void* from, size_t count, ncclDataType_t type, int peer, ncclComm_t handle, cudaStream_t on
) {
    Communicator* with = own(handle);
    ON_GPU(from, "Send");
    return call(SEND, on, [=] {
        hand_over(message(with, with->rank, peer, with->sent[peer]++), from, count * width(type));
    });
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t handle, cudaStream_t on) {
    Communicator* with = own(handle);
    ON_GPU(to, "Recv");
    return call(RECEIVE, on, [=] {
        std::string name = message(with, peer, with->rank, with->received[peer]++);
        Bytes found = receive(name);
        memcpy(to, found.data(), std::min(found.size(), count * width(type)));
        unlink(path(name).c_str());
    });
}

}  // extern "C"
