#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <thread>
#include <vector>

#include "abi/boundary.h"
#include "abi/expect_error.h"
#include "core/processors.h"
#include "support.h"

namespace fk::test {
namespace {

fk_context_options makeOptions(int32_t threads = 0) {
  fk_context_options options;
  fk_context_options_init(&options);
  options.threads = threads;
  return options;
}

// Made and freed through the ABI.
class ContextHandle {
 public:
  explicit ContextHandle(const fk_context_options& options) {
    EXPECT_EQ(fk_context_create(&options, &context_), FK_OK) << fk_last_error();
  }
  ~ContextHandle() { EXPECT_EQ(fk_context_destroy(context_), FK_OK) << fk_last_error(); }
  ContextHandle(const ContextHandle&) = delete;
  operator fk_context*() const { return context_; }
  fk_context* operator->() const { return context_; }

 private:
  fk_context* context_ = nullptr;
};

int32_t threadsOf(fk_context* context) {
  int32_t threads = -1;
  EXPECT_EQ(fk_context_threads(context, &threads), FK_OK);
  return threads;
}

TEST(Context, DefaultsAreTheProcessorsAndOneGibibyte) {
  fk_context* context = nullptr;
  ASSERT_EQ(fk_context_create(nullptr, &context), FK_OK) << fk_last_error();
  EXPECT_EQ(threadsOf(context), availableProcessors());
  EXPECT_EQ(context->workspaceLimit, size_t{1} << 30);
  EXPECT_EQ(fk_context_destroy(context), FK_OK);
}

TEST(Context, TakesItsOptions) {
  fk_context_options options = makeOptions(3);
  options.workspace_limit = 12345;
  const ContextHandle context(options);
  EXPECT_EQ(threadsOf(context), 3);
  EXPECT_EQ(context->workspaceLimit, 12345u);
}

TEST(Context, RefusesOptionsThatItCannotServe) {
  const auto refused = [](auto change, fk_status status, const char* text) {
    fk_context_options options = makeOptions();
    change(options);
    fk_context* context = nullptr;
    EXPECT_STATUS(fk_context_create(&options, &context), status, text);
    EXPECT_EQ(context, nullptr);
  };
  refused([](auto& o) { o.threads = -1; }, FK_ERROR_INVALID_ARGUMENT, "options: threads is -1, needs 0");
  refused([](auto& o) { o.threads = 1025; }, FK_ERROR_INVALID_ARGUMENT, "to 1024");
  refused([](auto& o) { o.device_type = kDLCUDA; }, FK_ERROR_NO_CUDA, "this build has no CUDA");
  refused([](auto& o) { o.device_type = 7; }, FK_ERROR_INVALID_ARGUMENT, "options: device_type is 7");
  refused([](auto& o) { o.device_id = 1; }, FK_ERROR_INVALID_ARGUMENT, "options: device_id is 1, needs 0");
  refused([](auto& o) { o.stream = &o; }, FK_ERROR_INVALID_ARGUMENT, "options: stream is set");
  refused([](auto& o) { o.struct_size = 0; }, FK_ERROR_INVALID_ARGUMENT, "struct_size is 0");
  const fk_context_options options = makeOptions();
  EXPECT_STATUS(fk_context_create(&options, nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
}

TEST(Context, NullIsAnErrorExceptForDestroy) {
  int32_t threads;
  uint64_t bytes;
  EXPECT_EQ(fk_context_destroy(nullptr), FK_OK);
  EXPECT_STATUS(fk_context_cancel(nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  EXPECT_STATUS(fk_context_clear_cancel(nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  EXPECT_STATUS(fk_context_threads(nullptr, &threads), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  EXPECT_STATUS(fk_context_workspace_bytes(nullptr, &bytes), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  EXPECT_STATUS(fk_context_release_workspace(nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  const ContextHandle context(makeOptions(1));
  EXPECT_STATUS(fk_context_threads(context, nullptr), FK_ERROR_INVALID_ARGUMENT, "threads: NULL");
  EXPECT_STATUS(fk_context_workspace_bytes(context, nullptr), FK_ERROR_INVALID_ARGUMENT, "bytes: NULL");
}

TEST(Context, ThreadsMayBeShared) {
  fk_context* owner = nullptr;
  fk_context_options options = makeOptions(3);
  ASSERT_EQ(fk_context_create(&options, &owner), FK_OK);
  options.share_threads_with = owner;
  options.threads = 0;
  const ContextHandle all(options);
  options.threads = 2;
  const ContextHandle some(options);
  options.threads = 4;
  fk_context* tooMany = nullptr;
  EXPECT_STATUS(fk_context_create(&options, &tooMany), FK_ERROR_INVALID_ARGUMENT,
                "options: threads is 4, but the pool of share_threads_with has 3");
  EXPECT_EQ(threadsOf(all), 3);
  EXPECT_EQ(threadsOf(some), 2);
  EXPECT_EQ(all->pool, owner->pool);
  EXPECT_EQ(fk_context_destroy(owner), FK_OK);
  int64_t total = 0;  // the pool outlives the context that made it
  std::mutex mutex;
  some->execution().forEach(100, [&](int64_t task, int) {
    std::lock_guard lock(mutex);
    total += task;
  });
  EXPECT_EQ(total, 99 * 50);
}

TEST(Context, RefusesASecondCallAtOnce) {
  const ContextHandle context(makeOptions(1));
  uint64_t bytes;
  {
    abi::BusyGuard call(context);
    EXPECT_STATUS(fk_context_destroy(context), FK_ERROR_BUSY, "a call runs in it");
    EXPECT_STATUS(fk_context_workspace_bytes(context, &bytes), FK_ERROR_BUSY, "in use by another call");
    EXPECT_STATUS(fk_context_release_workspace(context), FK_ERROR_BUSY, "in use by another call");
    EXPECT_EQ(fk_context_cancel(context), FK_OK);
    EXPECT_EQ(threadsOf(context), 1);
  }
  EXPECT_EQ(fk_context_workspace_bytes(context, &bytes), FK_OK);
}

TEST(Context, ErrorsBelongToTheirThread) {
  EXPECT_STATUS(fk_context_cancel(nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  std::thread([] { EXPECT_STREQ(fk_last_error(), ""); }).join();
  EXPECT_STREQ(fk_last_error(), "context: NULL");
}

// A tensor whose rows or columns all are the same memory (stride 0): large problems in little memory.
struct Broadcast {
  std::vector<float> values;
  std::vector<int64_t> shape, strides;
  DLTensor tensor;

  Broadcast(std::vector<int64_t> shapeIn, std::vector<int64_t> stridesIn, int64_t elements)
      : values(static_cast<size_t>(elements), 0.01f), shape(std::move(shapeIn)), strides(std::move(stridesIn)) {
    tensor = {
        values.data(), {kDLCPU, 0}, static_cast<int32_t>(shape.size()), {kDLFloat, 32, 1}, shape.data(), strides.data(), 0};
  }
};

// Runs a long call, cancels it, and expects it to return without finishing.
void expectCancellable(const std::function<fk_status(fk_context*)>& longCall) {
  using Clock = std::chrono::steady_clock;
  const ContextHandle context(makeOptions(2));
  fk_status status = FK_OK;
  std::string error;
  Clock::time_point returned;
  std::thread caller([&] {
    status = longCall(context);
    error = fk_last_error();
    returned = Clock::now();
  });
  while (!context->busy) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(30));
  const Clock::time_point cancelled = Clock::now();
  EXPECT_EQ(fk_context_cancel(context), FK_OK);
  caller.join();
  EXPECT_EQ(status, FK_ERROR_CANCELLED) << error;
  EXPECT_NE(error.find("fk_context_clear_cancel()"), std::string::npos) << error;
  // Milliseconds on a machine of its own; the rest is for the sanitizers and for busy machines.
  EXPECT_LT(std::chrono::duration<double>(returned - cancelled).count(), 5.0);
  EXPECT_EQ(longCall(context), FK_ERROR_CANCELLED);
  EXPECT_EQ(fk_context_clear_cancel(context), FK_OK);
  EXPECT_FALSE(context->cancelled);
}

TEST(ContextCancel, StopsAGemm) {
  const int64_t m = 4096, n = 4096, k = 4096;  // 1.4e11 operations
  Broadcast a({m, k}, {0, 1}, k), b({k, n}, {0, 1}, n), c({m, n}, {n, 1}, m * n);
  expectCancellable([&](fk_context* context) { return fk_gemm(context, nullptr, &a.tensor, &b.tensor, &c.tensor); });
}

TEST(ContextCancel, StopsCutCrossEntropy) {
  const int64_t n = int64_t{1} << 16, v = int64_t{1} << 16, d = 128;  // 1.1e12 operations
  Broadcast embeddings({n, d}, {0, 1}, d), classifier({v, d}, {0, 1}, d), loss({1}, {1}, 1), logSumExp({n}, {1}, n);
  Broadcast dEmbeddings({n, d}, {d, 1}, n * d);
  int64_t target = 0, zero = 0, rows = n;
  const DLTensor targets{&target, {kDLCPU, 0}, 1, {kDLInt, 64, 1}, &rows, &zero, 0};
  fk_cut_cross_entropy_tensors tensors;
  fk_cut_cross_entropy_tensors_init(&tensors);
  tensors.embeddings = &embeddings.tensor;
  tensors.classifier = &classifier.tensor;
  tensors.targets = &targets;
  tensors.loss = &loss.tensor;
  expectCancellable([&](fk_context* context) { return fk_cut_cross_entropy_forward(context, nullptr, &tensors); });
  tensors.d_embeddings = &dEmbeddings.tensor;
  expectCancellable([&](fk_context* context) { return fk_cut_cross_entropy_loss_and_gradient(context, nullptr, &tensors); });
  tensors.loss = nullptr;
  tensors.log_sum_exp = &logSumExp.tensor;
  expectCancellable([&](fk_context* context) { return fk_cut_cross_entropy_backward(context, nullptr, &tensors); });
}

TEST(ContextCancel, StopsAttention) {
  const int64_t s = int64_t{1} << 16, d = 64;  // 1.1e12 operations
  const std::vector<int64_t> shape = {1, s, 1, d}, same = {0, 0, 0, 1}, apart = {s * d, d, d, 1};
  Broadcast q(shape, same, d), k(shape, same, d), v(shape, same, d), output(shape, apart, s * d);
  Broadcast logSumExp({1, 1, s}, {s, s, 1}, s), dQ(shape, apart, s * d), dK(shape, apart, s * d), dV(shape, apart, s * d);
  fk_attention_tensors tensors;
  fk_attention_tensors_init(&tensors);
  tensors.q = &q.tensor, tensors.k = &k.tensor, tensors.v = &v.tensor;
  tensors.output = &output.tensor;
  expectCancellable([&](fk_context* context) { return fk_attention_forward(context, nullptr, &tensors); });
  tensors.log_sum_exp = &logSumExp.tensor, tensors.d_output = &output.tensor;
  tensors.d_q = &dQ.tensor, tensors.d_k = &dK.tensor, tensors.d_v = &dV.tensor;
  expectCancellable([&](fk_context* context) { return fk_attention_backward(context, nullptr, &tensors); });
}

// Two contexts on two threads at once, with threads of their own or shared: each gets the bits that it gets alone.
TEST(Context, TwoAtOnceDoNotDisturbEachOther) {
  for (const bool shared : {false, true}) {
    fk_context_options options = makeOptions(3);
    const ContextHandle first(options);
    options.share_threads_with = shared ? static_cast<fk_context*>(first) : nullptr;
    const ContextHandle second(options);
    Random random(3);
    StridedArray<float> a = makeMatrix(65, 129, {}, random), b = makeMatrix(129, 63, {}, random);
    const auto multiply = [](fk_context* context, const DLTensor& x, const DLTensor& y) {
      StridedArray<float> product = makeMatrix(65, 63);
      DLTensor tensor = product.tensor();
      EXPECT_EQ(fk_gemm(context, nullptr, &x, &y, &tensor), FK_OK) << fk_last_error();
      return product.values();
    };
    const DLTensor x = a.tensor(), y = b.tensor();
    const std::vector<float> alone = multiply(first, x, y);
    std::vector<std::thread> callers;
    for (fk_context* context : {static_cast<fk_context*>(first), static_cast<fk_context*>(second)}) {
      callers.emplace_back([&, context] {
        for (int repeat = 0; repeat < 30; ++repeat) EXPECT_TRUE(sameBits(multiply(context, x, y), alone));
      });
    }
    for (std::thread& caller : callers) caller.join();
  }
}

// The size query answers what the call then takes, and the workspace stays until it is released.
TEST(Context, WorkspaceIsQueriedKeptAndReleased) {
  const ContextHandle context(makeOptions(2));
  Random random(4);
  StridedArray<float> a = makeMatrix(65, 129, {}, random), b = makeMatrix(129, 63, {}, random), c = makeMatrix(65, 63);
  const DLTensor x = a.tensor(), y = b.tensor();
  DLTensor z = c.tensor();
  uint64_t queried = 0, held = 0;
  ASSERT_EQ(fk_gemm_workspace_size(context, nullptr, &x, &y, &z, &queried), FK_OK) << fk_last_error();
  ASSERT_EQ(fk_gemm(context, nullptr, &x, &y, &z), FK_OK) << fk_last_error();
  ASSERT_EQ(fk_context_workspace_bytes(context, &held), FK_OK);
  EXPECT_EQ(held, queried);
  EXPECT_EQ(fk_context_release_workspace(context), FK_OK);
  ASSERT_EQ(fk_context_workspace_bytes(context, &held), FK_OK);
  EXPECT_EQ(held, 0u);
  EXPECT_STATUS(fk_gemm_workspace_size(context, nullptr, &x, &y, &z, nullptr), FK_ERROR_INVALID_ARGUMENT, "bytes: NULL");
}

}  // namespace
}  // namespace fk::test
