// What fk_context points to.
#pragma once

#include <atomic>
#include <memory>

#include "core/cpu_features.h"
#include "core/thread_pool.h"
#include "core/workspace.h"

struct fk_context {
  fk_context(fk::Isa isa, int threads, std::shared_ptr<fk::ThreadPool> pool, size_t workspaceLimit)
      : isa(isa), threads(threads), workspaceLimit(workspaceLimit), pool(std::move(pool)) {}

  fk::Execution execution() const { return {pool.get(), threads, &cancelled}; }

  const fk::Isa isa;
  const int threads;
  const size_t workspaceLimit;
  const std::shared_ptr<fk::ThreadPool> pool;
  fk::Workspace workspace;
  std::atomic<bool> cancelled{false};
  mutable std::atomic<bool> busy{false};
};
