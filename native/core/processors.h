// The number of processors that this process may use: its affinity mask, cut down by a cgroup CPU quota.
#pragma once

namespace fk {

int availableProcessors();

}  // namespace fk
