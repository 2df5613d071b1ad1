// The number of processors that this process may use: its affinity mask, cut down by a cgroup CPU quota.
#pragma once

#include <string>
#include <string_view>

namespace fk {

// At least 1. Reads the system anew at every call (some files of /proc and /sys).
int availableProcessors();

// The pure parts, for tests. A quota is in processors, rounded up; 0 means that there is none.

// cgroup v2, the text of cpu.max: "150000 100000\n" is 2, "max 100000\n" is 0.
int quotaFromCpuMax(std::string_view text);

// cgroup v1, the texts of cpu.cfs_quota_us and cpu.cfs_period_us: "150000\n", "100000\n" is 2, "-1\n" is 0.
int quotaFromCfs(std::string_view quota, std::string_view period);

// The path of this process below the hierarchy of `controller` ("cpu", or "" for cgroup v2) in the text of
// /proc/self/cgroup, "" when it is not in that hierarchy.
std::string cgroupPath(std::string_view text, std::string_view controller);

}  // namespace fk
