#include "core/thread_pool.h"

#include <gtest/gtest.h>
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <mutex>
#include <set>
#include <stdexcept>
#include <thread>
#include <vector>

#include "core/error.h"

namespace fk {
namespace {

double processCpuSeconds() {
  timespec time;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

void sleepFor(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

class ThreadPoolTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, testing::Values(1, 2, 3, 7));

class ThreadPoolWorkerTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolWorkerTest, testing::Values(2, 3, 7));

TEST_P(ThreadPoolTest, RunsEveryTaskOnce) {
  ThreadPool pool(GetParam());
  const Execution execution{&pool, GetParam()};
  for (const int64_t tasks : {0, 1, 2, 3, 64, 1000}) {
    std::vector<int> runs(static_cast<size_t>(tasks), 0);  // not atomic: a task has one owner, and tsan holds us to it
    execution.forEach(tasks, [&](int64_t task, int) { ++runs[static_cast<size_t>(task)]; });
    EXPECT_EQ(runs, std::vector<int>(static_cast<size_t>(tasks), 1)) << tasks;
  }
}

TEST_P(ThreadPoolTest, GivesEachThreadASlotOfItsOwn) {
  const int maxThreads = std::max(1, GetParam() - 1);
  ThreadPool pool(GetParam());
  std::vector<std::atomic<int>> inside(static_cast<size_t>(maxThreads));
  std::vector<std::thread::id> owner(static_cast<size_t>(maxThreads));
  std::atomic<int> clashes{0};
  Execution{&pool, maxThreads}.forEach(500, [&](int64_t, int slot) {
    ASSERT_GE(slot, 0);
    ASSERT_LT(slot, maxThreads);
    auto& here = inside[static_cast<size_t>(slot)];
    auto& thread = owner[static_cast<size_t>(slot)];
    if (here.fetch_add(1) != 0) ++clashes;
    if (thread != std::thread::id() && thread != std::this_thread::get_id()) ++clashes;
    thread = std::this_thread::get_id();
    here.fetch_sub(1);
  });
  EXPECT_EQ(clashes, 0);
}

// Each task waits for all others, so the loop only ends when `threads` threads work on it.
TEST_P(ThreadPoolTest, UsesAllItsThreads) {
  ThreadPool pool(GetParam());
  std::atomic<int> arrived{0};
  Execution{&pool, GetParam()}.forEach(GetParam(), [&](int64_t, int) {
    ++arrived;
    while (arrived < GetParam()) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, GetParam());
}

TEST_P(ThreadPoolTest, ClaimsTasksInOrder) {
  ThreadPool pool(GetParam());
  std::vector<std::vector<int64_t>> claimed(static_cast<size_t>(GetParam()));
  Execution{&pool, GetParam()}.forEach(300,
                                       [&](int64_t task, int slot) { claimed[static_cast<size_t>(slot)].push_back(task); });
  for (const auto& tasks : claimed) EXPECT_TRUE(std::is_sorted(tasks.begin(), tasks.end()));
}

TEST_P(ThreadPoolTest, ThrowsTheFirstExceptionAndStopsClaiming) {
  ThreadPool pool(GetParam());
  const Execution execution{&pool, GetParam()};
  for (int repeat = 0; repeat < 20; ++repeat) {
    std::atomic<int64_t> started{0};
    try {
      execution.forEach(1000000, [&](int64_t task, int) {
        ++started;
        if (task == 10) fail(FK_ERROR_UNSUPPORTED, "task %d", 10);
      });
      FAIL() << "no exception";
    } catch (const Error& error) {
      EXPECT_STREQ(error.what(), "task 10");
    }
    EXPECT_GE(started, 11);
    EXPECT_LT(started, 1000000);
    std::atomic<int64_t> after{0};
    execution.forEach(100, [&](int64_t, int) { ++after; });  // the pool still works
    EXPECT_EQ(after, 100);
  }
}

TEST_P(ThreadPoolWorkerTest, CarriesAnException) {
  ThreadPool pool(GetParam());
  std::atomic<bool> thrown{false};
  const auto caller = std::this_thread::get_id();
  const auto loop = [&] {
    Execution{&pool, GetParam()}.forEach(2, [&](int64_t, int) {
      if (std::this_thread::get_id() == caller) {
        while (!thrown) std::this_thread::yield();
      } else {
        thrown = true;
        throw std::runtime_error("from a worker");
      }
    });
  };
  EXPECT_THROW(loop(), std::runtime_error);
}

TEST_P(ThreadPoolTest, ServesSeveralCallersAtOnce) {
  ThreadPool pool(GetParam());
  constexpr int kCallers = 4, kLoops = 50, kTasks = 37;
  std::vector<std::thread> callers;
  std::atomic<int64_t> total{0};
  for (int caller = 0; caller < kCallers; ++caller) {
    callers.emplace_back([&] {
      for (int loop = 0; loop < kLoops; ++loop) {
        std::vector<int64_t> done(kTasks, 0);
        Execution{&pool, GetParam()}.forEach(kTasks, [&](int64_t task, int) { done[static_cast<size_t>(task)] += task; });
        for (int64_t task = 0; task < kTasks; ++task) total += done[static_cast<size_t>(task)];
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(total, int64_t{kCallers} * kLoops * kTasks * (kTasks - 1) / 2);
}

TEST_P(ThreadPoolTest, RunsLoopsInsideLoops) {
  ThreadPool pool(GetParam());
  const Execution execution{&pool, GetParam()};
  std::atomic<int64_t> total{0};
  execution.forEach(8, [&](int64_t, int) {
    execution.forEach(8, [&](int64_t, int) { execution.forEach(4, [&](int64_t, int) { ++total; }); });
  });
  EXPECT_EQ(total, 8 * 8 * 4);
}

// Loops whose frames die at once: a worker that came late would touch freed stack, which the sanitizers see.
TEST_P(ThreadPoolTest, LeavesTheCallersFrameAlone) {
  ThreadPool pool(GetParam());
  for (int loop = 0; loop < 2000; ++loop) {
    std::atomic<int> count{0};
    Execution{&pool, GetParam()}.forEach(3, [&](int64_t, int) { count.fetch_add(1, std::memory_order_relaxed); });
    ASSERT_EQ(count, 3);
  }
}

TEST(ThreadPool, CanBeMadeAndDroppedUnused) {
  for (int i = 0; i < 100; ++i) ThreadPool pool(64);  // would be slow if threads were started
}

TEST(ThreadPool, UsesNoMoreThanTheGivenNumberOfThreads) {
  ThreadPool pool(7);
  std::mutex mutex;
  std::set<std::thread::id> threads;
  std::set<int> slots;
  Execution{&pool, 2}.forEach(200, [&](int64_t, int slot) {
    std::lock_guard lock(mutex);
    threads.insert(std::this_thread::get_id());
    slots.insert(slot);
  });
  EXPECT_LE(threads.size(), 2u);
  EXPECT_LE(*slots.rbegin(), 1);
}

TEST(ThreadPool, IdlesWithoutUsingTheCpu) {
  constexpr int kThreads = 7;
  ThreadPool pool(kThreads);
  std::atomic<int> arrived{0};
  Execution{&pool, kThreads}.forEach(kThreads, [&](int64_t, int) {  // every worker has just worked, and may spin now
    ++arrived;
    while (arrived < kThreads) std::this_thread::yield();
  });
  const double atEnd = processCpuSeconds();
  sleepFor(0.1);
  const double after100ms = processCpuSeconds();
  sleepFor(0.5);
  const double idle = (processCpuSeconds() - after100ms) / 0.5;
  // Six workers spin 50 us each; going to sleep and scheduling may add as much again, and a millisecond for this thread.
  EXPECT_LT(after100ms - atEnd, 6 * 50e-6 * 2 + 1e-3);
  EXPECT_LT(idle, 1e-3) << "CPU seconds per second, 100 ms after the last loop";
}

TEST(Execution, ReportsCancellation) {
  std::atomic<bool> cancelled{false};
  const Execution execution{nullptr, 1, &cancelled};
  EXPECT_NO_THROW(execution.throwIfCancelled());
  EXPECT_NO_THROW(Execution{}.throwIfCancelled());
  cancelled = true;
  try {
    execution.serial().throwIfCancelled();
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), FK_ERROR_CANCELLED);
  }
}

}  // namespace
}  // namespace fk
