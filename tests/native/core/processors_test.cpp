#include "core/processors.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <thread>

namespace fk {
namespace {

TEST(Processors, CgroupV2Quota) {
  EXPECT_EQ(quotaFromCpuMax("max 100000\n"), 0);
  EXPECT_EQ(quotaFromCpuMax("200000 100000\n"), 2);
  EXPECT_EQ(quotaFromCpuMax("150000 100000\n"), 2);
  EXPECT_EQ(quotaFromCpuMax("10000 100000\n"), 1);
  EXPECT_EQ(quotaFromCpuMax("100000 50000"), 2);
}

TEST(Processors, CgroupV2QuotaThatIsNone) {
  for (const char* text : {"", "\n", "max", "100000", "0 100000\n", "100000 0\n", "-1 100000\n", "x y"}) {
    EXPECT_EQ(quotaFromCpuMax(text), 0) << text;
  }
  EXPECT_GT(quotaFromCpuMax("9223372036854775807 1\n"), 0);
}

TEST(Processors, CgroupV1Quota) {
  EXPECT_EQ(quotaFromCfs("150000\n", "100000\n"), 2);
  EXPECT_EQ(quotaFromCfs("400000\n", "100000\n"), 4);
  EXPECT_EQ(quotaFromCfs("-1\n", "100000\n"), 0);
  EXPECT_EQ(quotaFromCfs("", ""), 0);
}

TEST(Processors, CgroupPath) {
  const char* v2 = "0::/user.slice/session-1.scope\n";
  const char* hybrid = "12:cpuset:/a\n5:cpu,cpuacct:/docker/1234\n2:cpuacct2:/no\n0::/\n";
  EXPECT_EQ(cgroupPath(v2, ""), "/user.slice/session-1.scope");
  EXPECT_EQ(cgroupPath(v2, "cpu"), "");
  EXPECT_EQ(cgroupPath(hybrid, "cpu"), "/docker/1234");
  EXPECT_EQ(cgroupPath(hybrid, ""), "/");
  EXPECT_EQ(cgroupPath(hybrid, "cpua"), "");
  EXPECT_EQ(cgroupPath("garbage\n:\n::\n", "cpu"), "");
  EXPECT_EQ(cgroupPath("", ""), "");
}

TEST(Processors, FollowsTheAffinityOfTheThread) {
  EXPECT_GE(availableProcessors(), 1);
  EXPECT_LE(availableProcessors(), static_cast<int>(std::thread::hardware_concurrency()));
  cpu_set_t all;
  ASSERT_EQ(sched_getaffinity(0, sizeof(all), &all), 0);
  cpu_set_t one;
  CPU_ZERO(&one);
  for (int cpu = 0; CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(availableProcessors(), 1);
  ASSERT_EQ(sched_setaffinity(0, sizeof(all), &all), 0);
}

}  // namespace
}  // namespace fk
