// What the cache's functions refuse: every text names the argument, what it got and what is allowed, and nothing is written.
#include "abi/expect_error.h"
#include "abi/kv_cache_problem.h"
#include "core/context.h"

namespace fk::test {
namespace {

struct Call {
  fk_attention_options options;
  fk_kv_cache* cache;
  fk_kv_cache_tensors* tensors;
};

KvCacheCase everything() {
  KvCacheCase c;
  c.lengths = {20, 3}, c.appended = 2, c.queries = 2, c.keyHeads = 2, c.group = 2;
  c.precisions = {Precision::kFloat32, Precision::kBFloat16, Precision::kInt8};
  c.sinks = true, c.alibi = 2, c.rotaryDims = 4, c.causal = true;
  return c;
}

// Both functions of the call refuse what `spoil` makes of it.
void expectRefused(const std::function<void(KvCacheProblem&, Call&)>& spoil, const std::string& text,
                   fk_status status = FK_ERROR_INVALID_ARGUMENT) {
  SCOPED_TRACE(text);
  fk_context* context = contextFor(selectedIsa(), 1);
  KvCacheProblem problem(everything(), 1);
  KvCacheProblem::KvTensors tensors;
  KvCacheProblem::PoolTensors pools;
  problem.fillTensors(tensors, pools);
  Call call{problem.attentionOptions(), &pools.value, &tensors.value};
  spoil(problem, call);
  const KvCacheProblem before = problem;
  EXPECT_STATUS(fk_kv_cache_attention(context, &call.options, call.cache, call.tensors), status, text);
  EXPECT_TRUE(problem.sameBitsAs(before));
  uint64_t bytes = 7;
  EXPECT_STATUS(fk_kv_cache_attention_workspace_size(context, &call.options, call.cache, call.tensors, &bytes), status,
                text);
  EXPECT_EQ(bytes, 7u);
}

TEST(KvCacheErrors, AcceptsWhatIsSpoiltBelow) {
  KvCacheProblem problem(everything(), 1);
  EXPECT_EQ(problem.run(contextFor(selectedIsa(), 1)), FK_OK) << fk_last_error();
}

TEST(KvCacheErrors, Structs) {
  expectRefused([](auto&, Call& c) { c.cache = nullptr; }, "cache: NULL");
  expectRefused([](auto&, Call& c) { c.tensors = nullptr; }, "tensors: NULL");
  expectRefused([](auto&, Call& c) { c.cache->struct_size = 3; }, "cache: struct_size is 3, needs");
  expectRefused([](auto&, Call& c) { c.tensors->struct_size = 3; }, "tensors: struct_size is 3, needs");
  expectRefused([](auto&, Call& c) { c.cache->reserved = 5; }, "cache: reserved is 5, needs 0");
  expectRefused([](auto&, Call& c) { c.tensors->reserved = 5; }, "tensors: reserved is 5, needs 0");
}

TEST(KvCacheErrors, OptionsThatACacheHasNoUseFor) {
  const auto refused = [](auto fk_attention_options::*field, auto value, const std::string& text) {
    expectRefused([=](auto&, Call& c) { c.options.*field = value; }, "options: " + text);
  };
  refused(&fk_attention_options::alignment, 1, "alignment is 1, needs its default 0 here");
  refused(&fk_attention_options::dropout, 0.5f, "dropout is 0.5, needs its default 0 here");
  refused(&fk_attention_options::dropout_seed, 3, "dropout_seed is 3, needs its default 0 here");
  refused(&fk_attention_options::mask_block_rows, 32, "mask_block_rows is 32, needs its default 64 here");
  refused(&fk_attention_options::mask_block_columns, 32, "mask_block_columns is 32, needs its default 64 here");
  refused(&fk_attention_options::relative_bidirectional, 0, "relative_bidirectional is 0, needs its default 1 here");
  refused(&fk_attention_options::relative_max_distance, 9, "relative_max_distance is 9, needs its default 128 here");
  refused(&fk_attention_options::rotary_query_offset, 1, "rotary_query_offset is 1, needs its default 0 here");
  refused(&fk_attention_options::rotary_key_offset, 1, "rotary_key_offset is 1, needs its default 0 here");
}

TEST(KvCacheErrors, OptionsOutOfTheirRange) {
  expectRefused([](auto&, Call& c) { c.options.causal = 2; }, "options: causal is 2");
  expectRefused([](auto&, Call& c) { c.options.scale = kInfinity; }, "options: scale is inf");
  expectRefused([](auto&, Call& c) { c.options.softcap = -1; }, "options: softcap is -1");
  expectRefused([](auto&, Call& c) { c.options.length_scale_base = 0.5f; }, "options: length_scale_base is 0.5");
  expectRefused([](auto&, Call& c) { c.options.window_left = -2; }, "options: window_left is -2");
  expectRefused([](auto&, Call& c) { c.options.rotary_dims = 3; }, "options: rotary_dims is 3");
  expectRefused([](auto&, Call& c) { c.options.rotary_dims = 10; },
                "options: rotary_dims is 10, needs an even number from 0 to 8");
  expectRefused([](auto&, Call& c) { c.options.rotary_base = 0; }, "options: rotary_base is 0");
}

TEST(KvCacheErrors, ArraysThatAreMissing) {
  expectRefused([](auto&, Call& c) { c.cache->k_f32 = nullptr; }, "k_f32: NULL, needs an array beside v_f32");
  expectRefused([](auto&, Call& c) { c.cache->v_bf16 = nullptr; }, "v_bf16: NULL, needs an array beside k_bf16");
  expectRefused([](auto&, Call& c) { c.cache->v_int8 = nullptr; }, "v_int8: NULL, needs an array beside k_int8");
  expectRefused([](auto&, Call& c) { c.cache->k_int8_scales = nullptr; },
                "k_int8_scales: NULL, needs an array beside k_int8");
  expectRefused([](auto&, Call& c) { c.cache->v_int8_scales = nullptr; },
                "v_int8_scales: NULL, needs an array beside v_int8");
  expectRefused([](auto&, Call& c) { c.cache->k_int8 = c.cache->v_int8 = nullptr; },
                "k_int8: NULL, needs an array beside k_int8_scales");
  expectRefused([](auto&, Call& c) { c.cache->lengths = nullptr; }, "lengths: NULL");
  expectRefused([](auto&, Call& c) { c.tensors->new_k = nullptr; }, "new_k: NULL, needs an array beside new_v");
  expectRefused([](auto&, Call& c) { c.tensors->q = nullptr; }, "q: NULL, needs an array beside output");
  expectRefused([](auto&, Call& c) { c.tensors->output = nullptr; }, "output: NULL, needs an array beside q");
  const auto withoutQueries = [](fk_kv_cache_tensors* t) { t->q = nullptr, t->output = nullptr; };
  expectRefused([=](auto&, Call& c) { withoutQueries(c.tensors); }, "alibi_slopes: given, needs NULL without q");
  expectRefused(
      [=](auto&, Call& c) {
        withoutQueries(c.tensors);
        c.tensors->alibi_slopes = nullptr;
      },
      "sinks: given, needs NULL without q");
  expectRefused(
      [=](auto&, Call& c) {
        withoutQueries(c.tensors);
        c.tensors->alibi_slopes = c.tensors->sinks = nullptr;
      },
      "log_sum_exp: given, needs NULL without q");
  expectRefused([=](auto&, Call& c) { fk_kv_cache_tensors_init(c.tensors); },
                "tensors: q and new_k are NULL, needs one of them");
  expectRefused(
      [](auto&, Call& c) {
        fk_kv_cache given;
        fk_kv_cache_init(&given);
        given.lengths = c.cache->lengths;
        *c.cache = given;
      },
      "cache: k_f32, k_bf16 and k_int8 are NULL");
}

// Each array with one extent less than the others say, and of another type.
TEST(KvCacheErrors, ShapesAndTypes) {
  using Find = std::function<const DLTensor*(Call&)>;
  const std::pair<const char*, Find> arrays[] = {{"v_f32", [](Call& c) { return c.cache->v_f32; }},
                                                 {"k_bf16", [](Call& c) { return c.cache->k_bf16; }},
                                                 {"v_int8", [](Call& c) { return c.cache->v_int8; }},
                                                 {"k_int8_scales", [](Call& c) { return c.cache->k_int8_scales; }},
                                                 {"v_int8_scales", [](Call& c) { return c.cache->v_int8_scales; }},
                                                 {"page_table", [](Call& c) { return c.cache->page_table; }},
                                                 {"new_v", [](Call& c) { return c.tensors->new_v; }},
                                                 {"q", [](Call& c) { return c.tensors->q; }},
                                                 {"output", [](Call& c) { return c.tensors->output; }},
                                                 {"log_sum_exp", [](Call& c) { return c.tensors->log_sum_exp; }},
                                                 {"sinks", [](Call& c) { return c.tensors->sinks; }},
                                                 {"alibi_slopes", [](Call& c) { return c.tensors->alibi_slopes; }}};
  for (const auto& [name, find] : arrays) {
    const std::string prefix = std::string(name) + ": ";
    expectRefused([&](auto&, Call& c) { const_cast<DLTensor*>(find(c))->dtype.bits = 64; }, prefix + "dtype ");
    expectRefused([&](auto&, Call& c) { const_cast<DLTensor*>(find(c))->ndim -= 1; }, prefix + "shape [");
    expectRefused([&](auto&, Call& c) { const_cast<DLTensor*>(find(c))->data = nullptr; }, prefix + "data is NULL");
    const size_t axes = std::string(name) == "page_table" ? 1 : std::string(name) == "alibi_slopes" ? 2 : 0;
    std::vector<int64_t> shape;
    expectRefused(
        [&](auto&, Call& c) {
          auto* tensor = const_cast<DLTensor*>(find(c));
          shape.assign(tensor->shape, tensor->shape + tensor->ndim);
          shape[axes == 2 ? 1 : 0] += 1;
          if (std::string(name) == "k_bf16") shape[1] += 1;  // its own number of pages is free
          tensor->shape = shape.data();
        },
        ": shape [");
  }
  expectRefused(
      [](auto&, Call& c) {
        const_cast<DLTensor*>(c.cache->k_f32)->dtype = {kDLBfloat, 16, 1};
      },
      "k_f32: dtype bfloat16, needs float32");
  FloatArray matrix = floatArray(Storage::kFloat32, {1, 1});
  DLTensor tensor = matrix.tensor();
  expectRefused([&](auto&, Call& c) { c.tensors->q = &tensor; }, "q: shape [1, 1], needs");
}

TEST(KvCacheErrors, Heads) {
  FloatArray q = floatArray(Storage::kFloat32, {2, 2, 3, 8});
  DLTensor tensor = q.tensor();
  expectRefused([&](auto&, Call& c) { c.tensors->q = &tensor; }, "q: 3 heads, needs a multiple of the cache's 2");
}

TEST(KvCacheErrors, Lengths) {
  const auto refused = [](int32_t length, const std::string& text) {
    expectRefused([=](KvCacheProblem& p, Call&) { p.lengths(1) = length; }, text, FK_ERROR_INDEX_OUT_OF_RANGE);
  };
  // 22 tokens take two pages of 16, and the table has a column more.
  refused(-1, "lengths: element 1 is -1, needs 0 to 46: 2 more come to its 48 places");
  refused(47, "lengths: element 1 is 47, needs 0 to 46: 2 more come to its 48 places");
  refused(INT32_MAX, "lengths: element 1 is 2147483647, needs 0 to 46");
  expectRefused([](KvCacheProblem&, Call& c) { c.cache->page_table = nullptr; },
                "lengths: element 0 is 20, needs 0 to 14: 2 more come to its 16 places", FK_ERROR_INDEX_OUT_OF_RANGE);
  StridedArray<int32_t> many({40});
  many.fill([] { return 0; });
  DLTensor tensor = many.tensor();
  expectRefused(
      [&](auto&, Call& c) {
        c.cache->page_table = nullptr;
        c.cache->lengths = &tensor;
        fk_kv_cache_tensors_init(c.tensors);
        static FloatArray q = floatArray(Storage::kFloat32, {40, 1, 2, 8}), output = q;
        static DLTensor tq = q.tensor(), to = output.tensor();
        c.tensors->q = &tq, c.tensors->output = &to;
      },
      "lengths: 40 items, needs at most 5, the pages, or a page_table");
}

TEST(KvCacheErrors, Pages) {
  const auto refused = [](int64_t item, int64_t index, int32_t page, const std::string& text) {
    expectRefused([=](KvCacheProblem& p, Call&) { p.table(item, index) = page; }, text, FK_ERROR_INDEX_OUT_OF_RANGE);
  };
  refused(0, 0, -1, "page_table: item 0's page 0 is -1, needs 0 to 4");
  refused(0, 1, 5, "page_table: item 0's page 1 is 5, needs 0 to 4");
  refused(1, 0, INT32_MAX, "page_table: item 1's page 0 is 2147483647, needs 0 to 4");
}

// Pages are outputs when something is appended, and may be shared with inputs when not.
TEST(KvCacheErrors, Overlaps) {
  expectRefused([](auto&, Call& c) { c.cache->v_f32->data = c.cache->k_f32->data; },
                " in memory; it needs memory of its own");
  expectRefused([](auto&, Call& c) { c.tensors->output->data = c.tensors->q->data; }, "output: overlaps q in memory");
  int64_t strides[4] = {0, 1, 1, 1};
  expectRefused([&](auto&, Call& c) { c.cache->k_f32->strides = strides; }, "share memory");

  KvCacheCase c = everything();
  c.appended = 0, c.precisions = {Precision::kFloat32};
  KvCacheProblem problem(c, 2);
  KvCacheProblem::KvTensors tensors;
  KvCacheProblem::PoolTensors pools;
  problem.fillTensors(tensors, pools);
  pools.value.v_f32 = pools.value.k_f32;
  const fk_attention_options options = problem.attentionOptions();
  EXPECT_EQ(fk_kv_cache_attention(contextFor(selectedIsa(), 1), &options, &pools.value, &tensors.value), FK_OK)
      << fk_last_error();
}

TEST(KvCacheErrors, Contexts) {
  KvCacheProblem problem(everything(), 1);
  EXPECT_STATUS(problem.run(nullptr), FK_ERROR_INVALID_ARGUMENT, "context: NULL");
  fk_context context(selectedIsa(), 1, std::make_shared<ThreadPool>(1), kDefaultLimit);
  fk_context_cancel(&context);
  EXPECT_STATUS(problem.run(&context), FK_ERROR_CANCELLED, "cancelled");
}

}  // namespace
}  // namespace fk::test
