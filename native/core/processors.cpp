#include "core/processors.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <thread>

namespace fk {
namespace {

// "" when the file does not exist.
std::string readText(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// The number that the text starts with, after blanks; 0 when there is none.
int64_t leadingNumber(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \n"), text.size()));
  int64_t number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// Is the name in "name,name"? The empty name is only in the empty list.
bool lists(std::string_view names, std::string_view name) {
  while (true) {
    const size_t comma = names.find(',');
    if (names.substr(0, comma) == name) return true;
    if (comma == names.npos) return false;
    names.remove_prefix(comma + 1);
  }
}

int quotient(int64_t quota, int64_t period) {
  if (quota <= 0 || period <= 0) return 0;
  return static_cast<int>(std::min<int64_t>(quota / period + (quota % period != 0), INT32_MAX));
}

int tighter(int a, int b) { return a == 0 ? b : b == 0 ? a : std::min(a, b); }

// A quota binds everything below it, so every group from this process's own up to the root counts. Paths that a container
// does not see simply do not exist below its mount.
template <class QuotaOf>
int tightestQuota(const std::string& mount, std::string path, QuotaOf quotaOf) {
  if (path.empty()) return 0;
  int quota = 0;
  while (true) {
    quota = tighter(quota, quotaOf(mount + path));
    if (path.size() <= 1) return quota;
    path.resize(std::max<size_t>(path.rfind('/'), 1));
  }
}

int affinityProcessors() {
  for (int capacity = 1024; capacity <= 1 << 20; capacity *= 2) {  // the kernel refuses masks smaller than its own
    cpu_set_t* set = CPU_ALLOC(capacity);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(capacity);
    const int count = sched_getaffinity(0, bytes, set) == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (count > 0) return count;
  }
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace

int quotaFromCpuMax(std::string_view text) {
  const size_t blank = text.find(' ');
  return blank == text.npos ? 0 : quotient(leadingNumber(text.substr(0, blank)), leadingNumber(text.substr(blank)));
}

int quotaFromCfs(std::string_view quota, std::string_view period) {
  return quotient(leadingNumber(quota), leadingNumber(period));
}

std::string cgroupPath(std::string_view text, std::string_view controller) {
  while (!text.empty()) {  // lines of "hierarchy:controller,controller:path"
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    const size_t first = line.find(':');
    const size_t second = first == line.npos ? line.npos : line.find(':', first + 1);
    if (second == line.npos) continue;
    if (lists(line.substr(first + 1, second - first - 1), controller)) return std::string(line.substr(second + 1));
  }
  return "";
}

int availableProcessors() {
  const std::string groups = readText("/proc/self/cgroup");
  const int v2 = tightestQuota("/sys/fs/cgroup", cgroupPath(groups, ""),
                               [](const std::string& folder) { return quotaFromCpuMax(readText(folder + "/cpu.max")); });
  const int v1 = tightestQuota("/sys/fs/cgroup/cpu", cgroupPath(groups, "cpu"), [](const std::string& folder) {
    return quotaFromCfs(readText(folder + "/cpu.cfs_quota_us"), readText(folder + "/cpu.cfs_period_us"));
  });
  return std::max(1, tighter(affinityProcessors(), tighter(v1, v2)));
}

}  // namespace fk
