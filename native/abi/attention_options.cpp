#include "abi/attention_options.h"

#include <algorithm>
#include <cmath>

namespace fk::abi {
namespace {

constexpr int64_t kUnlimited = int64_t{1} << 53;  // beyond every position, and exact in double

int64_t readWindow(int64_t value, const char* name) {
  if (value < -1)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %lld, needs -1 (no limit) or more", name, static_cast<long long>(value));
  return std::min(value, kUnlimited);
}

int64_t readOffset(int64_t value, const char* name) {
  if (value < -kUnlimited || value > kUnlimited)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %lld, needs -2^53 to 2^53", name, static_cast<long long>(value));
  return value;
}

void readRotary(const fk_attention_options& options, cpu::AttentionArguments& call) {
  const int64_t dims = options.rotary_dims, most = std::min(call.q.dim, cpu::RotaryArguments::kMostDims);
  if (dims < 0 || dims > most || dims % 2 != 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: rotary_dims is %d, needs an even number from 0 to %lld", options.rotary_dims,
         static_cast<long long>(most));
  requireFinite(options.rotary_base, "rotary_base");
  if (options.rotary_base <= 0)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: rotary_base is %g, needs more than 0", options.rotary_base);
  call.rotary = {dims, readFlag(options.rotary_interleaved, "rotary_interleaved"), options.rotary_base,
                 readOffset(options.rotary_query_offset, "rotary_query_offset"),
                 readOffset(options.rotary_key_offset, "rotary_key_offset")};
}

}  // namespace

int64_t readAtLeastOne(int64_t value, const char* name) {
  if (value < 1)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: %s is %lld, needs 1 or more", name, static_cast<long long>(value));
  return value;
}

void readAttentionOptions(const fk_attention_options& options, cpu::AttentionArguments& call) {
  call.causal = readFlag(options.causal, "causal");
  if (std::isnan(options.scale)) {
    call.scale = call.q.dim > 0 ? 1 / std::sqrt(static_cast<float>(call.q.dim)) : 1;
  } else {
    requireFinite(options.scale, "scale");
    call.scale = options.scale;
  }
  call.softcap = readNonNegative(options.softcap, "softcap");
  call.topLeft = readEnum(options.alignment, FK_ALIGNMENT_TOP_LEFT, "alignment") == FK_ALIGNMENT_TOP_LEFT;
  requireFinite(options.length_scale_base, "length_scale_base");
  if (options.length_scale_base != 0 && options.length_scale_base <= 1)
    fail(FK_ERROR_INVALID_ARGUMENT, "options: length_scale_base is %g, needs 0 (none) or more than 1",
         options.length_scale_base);
  call.lengthScaleBase = options.length_scale_base;
  call.windowLeft = readWindow(options.window_left, "window_left");
  call.windowRight = readWindow(options.window_right, "window_right");
  if (!(options.dropout >= 0 && options.dropout < 1))
    fail(FK_ERROR_INVALID_ARGUMENT, "options: dropout is %g, needs 0 or more and less than 1", options.dropout);
  call.dropout = options.dropout;
  call.dropoutSeed = options.dropout_seed;
  readRotary(options, call);
  if (options.reserved != 0) fail(FK_ERROR_INVALID_ARGUMENT, "options: reserved is %d, needs 0", options.reserved);
}

}  // namespace fk::abi

void fk_attention_options_init(fk_attention_options* options) noexcept {
  *options = {};
  options->struct_size = sizeof(*options);
  options->scale = NAN;
  options->window_left = options->window_right = -1;
  options->mask_block_rows = options->mask_block_columns = 64;
  options->relative_bidirectional = 1;
  options->relative_max_distance = 128;
  options->rotary_base = 10000;
}
