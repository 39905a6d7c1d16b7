// What the paper CUDA runtime (runtime.cpp) and the paper NCCL (nccl.cpp) share.
#pragma once

#include <cuda_runtime_api.h>
#undef cudaGetDeviceProperties
#undef cudaStreamGetCaptureInfo_v2

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

namespace paper {

using Task = std::function<void()>;

// What a capture recorded; a replay puts its tasks on a stream again.
struct Graph {
    int id;
    cudaStreamCaptureMode mode;
    std::vector<Task> tasks;
};

// A stream is a thread that runs its tasks in order. While it captures, tasks go into the graph instead.
class Stream {
public:
    Graph* capture = nullptr;
    void put(Task task);
    bool idle();
    void wait();

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<Task> tasks_;
    bool started_ = false;
    void run();
};

Stream& stream(cudaStream_t handle);  // the default streams of a process are one

bool on_device(const void* pointer);
void note(const char* format, ...) __attribute__((format(printf, 1, 2)));  // a line in $PAPER_LOG

// The fault that $PAPER_FAULT plants, on the rank $PAPER_FAULT_RANK (of the first communicator; -1: on all), from the
// NCCL operation number $PAPER_FAULT_AFTER of the process on.
bool planted(const char* fault);
void count_operation();
void set_rank(int rank);

std::string setting(const char* name, const char* otherwise);
long number(const char* name, long otherwise);

}  // namespace paper
