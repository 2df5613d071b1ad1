// A small pool for loops of independent tasks. Workers start at the first parallel loop, spin at most 50 us after a
// task and then sleep; the caller works too. Several callers may use one pool at once: workers help whoever has tasks left.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <type_traits>

namespace fk {

class ThreadPool {
 public:
  // threads >= 1, the callers' own thread included: a pool of 1 has no worker.
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return threads_; }

  // Calls body(context, task, slot) once for every task in [0, tasks), on at most maxThreads threads; returns when all are
  // done. slot < maxThreads names the executing thread within this loop (for per-thread scratch). Tasks are claimed in
  // order. The first exception stops the claiming of further tasks and is thrown here. A body may call run() itself: the
  // inner loop has slots of its own, its caller works it, and free workers help.
  using Body = void (*)(void* context, int64_t task, int slot);
  void run(int64_t tasks, int maxThreads, Body body, void* context);

 private:
  struct State;
  std::unique_ptr<State> state_;
  int threads_;
};

// Where a kernel runs: a pool and how many of its threads, or (pool null) the calling thread alone. Kernels give the same
// bits for every Execution, so this is only ever a question of speed.
struct Execution {
  ThreadPool* pool = nullptr;
  int threads = 1;
  const std::atomic<bool>* cancelled = nullptr;

  // Throws Error(FK_ERROR_CANCELLED). Kernels call it once per tile.
  void throwIfCancelled() const {
    if (cancelled && cancelled->load(std::memory_order_relaxed)) throwCancelled();
  }
  [[noreturn]] static void throwCancelled();

  Execution serial() const { return {nullptr, 1, cancelled}; }

  // body(task, slot), see ThreadPool::run.
  template <class Function>
  void forEach(int64_t tasks, Function&& body) const {
    if (pool == nullptr || threads == 1 || tasks <= 1) {
      for (int64_t task = 0; task < tasks; ++task) body(task, 0);
      return;
    }
    auto call = [](void* context, int64_t task, int slot) {
      (*static_cast<std::remove_reference_t<Function>*>(context))(task, slot);
    };
    pool->run(tasks, threads, call, &body);
  }
};

}  // namespace fk
