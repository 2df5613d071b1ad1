#include "core/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"

namespace fk {
namespace {

// One loop. It lives on its caller's stack: a worker touches it only while it is counted in `working`, or holds the mutex
// while the job is listed.
struct Job {
  const int64_t tasks;
  const int maxThreads;
  const ThreadPool::Body body;
  void* const context;

  std::atomic<int64_t> next{0};    // the first unclaimed task
  std::atomic<int> working{0};     // workers inside; changed under the mutex
  int slots = 1;                   // handed out so far; the caller's is 0. Guarded by the mutex.
  std::exception_ptr exception{};  // the first one. Guarded by the mutex.

  bool wantsWorker() const { return slots < maxThreads && next.load(std::memory_order_relaxed) < tasks; }
};

constexpr std::chrono::microseconds kSpin{50};

// A hint to the core that this thread is polling.
void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

// Polls for at most kSpin: waking a sleeping thread costs that much, and the next loop of an operator is often nearer.
template <class Condition>
void spinUntil(Condition condition) {
  constexpr int kPollsPerClockRead = 16;
  const auto end = std::chrono::steady_clock::now() + kSpin;
  do {
    for (int poll = 0; poll < kPollsPerClockRead; ++poll) {
      if (condition()) return;
      relax();
    }
  } while (std::chrono::steady_clock::now() < end);
}

}  // namespace

struct ThreadPool::State {
  std::mutex mutex;
  std::condition_variable posted;    // a job was listed, or the pool is stopping
  std::condition_variable finished;  // some job's last worker left it
  std::atomic<uint64_t> posts{0};    // counts what `posted` announces, for those who spin
  std::vector<Job*> jobs;            // oldest first
  std::vector<std::thread> workers;
  bool stopping = false;

  void startWorkers(int count);
  void work();
  void execute(Job& job, int slot);
  Job* jobThatWantsWorker();
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()), threads_(threads) {}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(state_->mutex);
    state_->stopping = true;
    ++state_->posts;
  }
  state_->posted.notify_all();
  for (std::thread& worker : state_->workers) worker.join();
}

void ThreadPool::run(int64_t tasks, int maxThreads, Body body, void* context) {
  Job job{.tasks = tasks, .maxThreads = std::min(maxThreads, threads_), .body = body, .context = context};
  if (job.maxThreads <= 1 || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) body(context, task, 0);
    return;
  }
  State& state = *state_;
  {
    std::lock_guard lock(state.mutex);
    state.startWorkers(threads_ - 1);
    state.jobs.push_back(&job);
    ++state.posts;
  }
  state.posted.notify_all();
  state.execute(job, 0);
  spinUntil([&] { return job.working.load(std::memory_order_relaxed) == 0; });
  std::unique_lock lock(state.mutex);
  std::erase(state.jobs, &job);
  state.finished.wait(lock, [&] { return job.working.load(std::memory_order_relaxed) == 0; });
  if (job.exception) std::rethrow_exception(job.exception);
}

void ThreadPool::State::startWorkers(int count) {
  try {
    workers.reserve(static_cast<size_t>(count));
    while (workers.size() < static_cast<size_t>(count)) workers.emplace_back([this] { work(); });
  } catch (const std::system_error& error) {
    fail(FK_ERROR_OUT_OF_MEMORY, "thread %zu of %d could not be started (%s); make the context with fewer threads",
         workers.size() + 2, count + 1, error.what());
  }
}

void ThreadPool::State::work() {
  std::unique_lock lock(mutex);
  bool maySpin = false;
  while (true) {
    if (Job* job = jobThatWantsWorker()) {
      const int slot = job->slots++;
      ++job->working;
      lock.unlock();
      execute(*job, slot);
      lock.lock();
      if (--job->working == 0) finished.notify_all();
      maySpin = true;
    } else if (stopping) {
      return;
    } else if (maySpin) {
      const uint64_t seen = posts.load(std::memory_order_relaxed);
      lock.unlock();
      spinUntil([&] { return posts.load(std::memory_order_relaxed) != seen; });
      lock.lock();
      maySpin = false;
    } else {
      posted.wait(lock);  // the loop looks again, under the same lock, at what it waits for
    }
  }
}

void ThreadPool::State::execute(Job& job, int slot) {
  try {
    while (true) {
      const int64_t task = job.next.fetch_add(1, std::memory_order_relaxed);
      if (task >= job.tasks) return;
      job.body(job.context, task, slot);
    }
  } catch (...) {
    std::lock_guard lock(mutex);
    job.next.store(job.tasks, std::memory_order_relaxed);
    if (!job.exception) job.exception = std::current_exception();
  }
}

Job* ThreadPool::State::jobThatWantsWorker() {
  for (Job* job : jobs) {
    if (job->wantsWorker()) return job;
  }
  return nullptr;
}

void Execution::throwCancelled() {
  throw Error(FK_ERROR_CANCELLED,
              "the call was cancelled by fk_context_cancel(); its outputs are unspecified. The context refuses calls until "
              "fk_context_clear_cancel()");
}

}  // namespace fk
