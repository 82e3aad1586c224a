// The readable reference of every kernel, and the set for CPUs that have no other. Written for
// clarity; the other sets are tested against it and against a double-precision reference.
#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "kernels/kernels.h"

namespace onebit::kernels {

extern const KernelSet kernels_scalar;

namespace {

using formats::BlockQ4_0;
using formats::BlockQ4_1;
using formats::BlockQ8_0;
using formats::kQuantBlock;

constexpr const SignLayout* kSigns = nullptr;
constexpr const BlockLayout* kPanelsQ8_0 = nullptr;
constexpr const BlockLayout* kPanelsQ4_0 = nullptr;
constexpr decltype(KernelSet::gemv_codes) kGemvCodes = nullptr;

formats::Sign1View stored(const PackedSigns& s) noexcept {
  return {reinterpret_cast<const std::uint64_t*>(s.data), s.rows, s.cols};
}

bool is_negative(const std::uint64_t* row, std::int64_t c) noexcept {
  return ((row[c / 64] >> (c % 64)) & 1U) != 0;
}

// ---- 1-bit ----

float scaled_by(float sum, const float* h, std::int64_t r) noexcept {
  return h != nullptr ? sum * h[r] : sum;
}

void gemm_sign1_f32(const PackedSigns& packed, const float* h, const float* x, std::int64_t tokens,
                    float* y, std::int64_t ldy, std::int64_t row_begin,
                    std::int64_t row_end) noexcept {
  const formats::Sign1View s = stored(packed);
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      float sum = 0.0F;
      for (std::int64_t c = 0; c < s.cols; ++c) {
        const float v = x[t * s.cols + c];
        sum += is_negative(s.row(r), c) ? -v : v;
      }
      y[t * ldy + r] = scaled_by(sum, h, r);
    }
  }
}

void gemm_sign1_grouped_f32(const GroupedSigns& w, const float* x, std::int64_t tokens, float* y,
                            std::int64_t ldy, std::int64_t row_begin,
                            std::int64_t row_end) noexcept {
  const formats::Sign1View s = stored(w.s);
  const std::int64_t cols = s.cols;
  const std::int64_t groups = (cols + w.group_size - 1) / w.group_size;
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      float sum = 0.0F;
      for (std::int64_t c = 0; c < cols; ++c) {
        const float v = w.h[r * groups + c / w.group_size] * x[t * cols + c];
        sum += is_negative(s.row(r), c) ? -v : v;
      }
      y[t * ldy + r] = sum;
    }
  }
}

/// Σ S q over columns [begin, end) of a row, as a float: exact.
float dot(const std::uint64_t* signs, const std::int8_t* q, std::int64_t begin,
          std::int64_t end) noexcept {
  std::int32_t sum = 0;
  for (std::int64_t c = begin; c < end; ++c) sum += is_negative(signs, c) ? -q[c] : q[c];
  return static_cast<float>(sum);
}

void gemm_sign1_i8(const PackedSigns& packed, const float* h, const QuantizedRows& x,
                   std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t row_begin,
                   std::int64_t row_end) noexcept {
  const formats::Sign1View s = stored(packed);
  const std::int64_t blocks = QuantizedRows::blocks(s.cols);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int8_t* q = x.q + t * QuantizedRows::stride(s.cols);
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      float sum = 0.0F;
      for (std::int64_t b = 0; b < blocks; ++b) {
        const std::int64_t begin = b * kActivationBlock;
        const std::int64_t end = std::min(begin + kActivationBlock, s.cols);
        sum = std::fma(dot(s.row(r), q, begin, end), x.scales[t * blocks + b], sum);
      }
      y[t * ldy + r] = scaled_by(sum, h, r);
    }
  }
}

void gemm_sign1_grouped_i8(const GroupedSigns& w, const QuantizedRows& x, std::int64_t tokens,
                           float* y, std::int64_t ldy, std::int64_t row_begin,
                           std::int64_t row_end) noexcept {
  const formats::Sign1View s = stored(w.s);
  const std::int64_t groups = (s.cols + w.group_size - 1) / w.group_size;
  const std::int64_t blocks = QuantizedRows::blocks(s.cols);
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int8_t* q = x.q + t * QuantizedRows::stride(s.cols);
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      float sum = 0.0F;
      for (std::int64_t g = 0; g < groups; ++g) {
        const std::int64_t begin = g * w.group_size;
        const std::int64_t end = std::min(begin + w.group_size, s.cols);
        const float scale = x.scales[t * blocks + begin / kActivationBlock];
        sum = std::fma(dot(s.row(r), q, begin, end) * scale, w.h[r * groups + g], sum);
      }
      y[t * ldy + r] = sum;
    }
  }
}

/// One block of n values; returns its scale.
float quantize_block(const float* x, const float* g, std::int64_t n, std::int8_t* q) noexcept {
  const auto value = [&](std::int64_t i) { return g != nullptr ? x[i] * g[i] : x[i]; };
  // As integers, magnitudes compare as the floats do, with infinity and NaN above them all.
  std::uint32_t max_bits = 0;
  for (std::int64_t i = 0; i < n; ++i) {
    max_bits = std::max(max_bits, std::bit_cast<std::uint32_t>(value(i)) & 0x7FFFFFFFU);
  }
  const float max = std::bit_cast<float>(max_bits);
  if (!(max >= kQuantizeZeroBelow) || std::isinf(max)) {
    std::fill(q, q + n, std::int8_t{0});
    return std::isfinite(max) ? 0.0F : std::numeric_limits<float>::quiet_NaN();
  }
  const float scale = max / 127.0F;
  for (std::int64_t i = 0; i < n; ++i) {
    q[i] = static_cast<std::int8_t>(std::nearbyint(value(i) / scale));
  }
  return scale;
}

void quantize_i8(const float* x, const float* g, std::int64_t n, std::int8_t* q,
                 float* scales) noexcept {
  for (std::int64_t begin = 0; begin < n; begin += kActivationBlock) {
    *scales++ = quantize_block(x + begin, g != nullptr ? g + begin : nullptr,
                               std::min(kActivationBlock, n - begin), q + begin);
  }
  std::fill(q + n, q + QuantizedRows::stride(n), std::int8_t{0});
}

// ---- dense ----

float weight(const float* row, std::int64_t c) noexcept { return row[c]; }

struct F16Row {
  const f16_bits* bits;
};
float weight(F16Row row, std::int64_t c) noexcept { return f16_to_f32(row.bits[c]); }

struct BF16Row {
  const bf16_bits* bits;
};
float weight(BF16Row row, std::int64_t c) noexcept { return bf16_to_f32(row.bits[c]); }

float weight(const BlockQ8_0* row, std::int64_t c) noexcept {
  const BlockQ8_0& block = row[c / kQuantBlock];
  return f16_to_f32(block.d) * static_cast<float>(block.qs[c % kQuantBlock]);
}

float weight(const BlockQ4_1* row, std::int64_t c) noexcept {
  const BlockQ4_1& block = row[c / kQuantBlock];
  const std::int64_t i = c % kQuantBlock;
  const int nibble = i < 16 ? block.qs[i] & 15 : block.qs[i - 16] >> 4;
  return f16_to_f32(block.d) * static_cast<float>(nibble) + f16_to_f32(block.m);
}

/// row_of(r) gives what weight() takes.
template <class RowOf>
void gemm(RowOf row_of, std::int64_t in, const float* x, std::int64_t tokens, float* y,
          std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  for (std::int64_t t = 0; t < tokens; ++t) {
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      const auto row = row_of(r);
      float sum = 0.0F;
      for (std::int64_t c = 0; c < in; ++c) sum += weight(row, c) * x[t * in + c];
      y[t * ldy + r] = sum;
    }
  }
}

void gemm_f32(const float* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
              std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm([=](std::int64_t r) { return w + r * in; }, in, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_f16(const f16_bits* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
              std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm([=](std::int64_t r) { return F16Row{w + r * in}; }, in, x, tokens, y, ldy, row_begin,
       row_end);
}

void gemm_bf16(const bf16_bits* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
               std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm([=](std::int64_t r) { return BF16Row{w + r * in}; }, in, x, tokens, y, ldy, row_begin,
       row_end);
}

template <class Block>
void gemm_blocks(const Block* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
                 std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm([=](std::int64_t r) { return w + r * (in / kQuantBlock); }, in, x, tokens, y, ldy, row_begin,
       row_end);
}

void gemm_q8_0(const BlockQ8_0* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
               std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_blocks(w, in, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_q4_1(const BlockQ4_1* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
               std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_blocks(w, in, x, tokens, y, ldy, row_begin, row_end);
}

std::int32_t integer(const BlockQ8_0& block, std::int64_t i) noexcept { return block.qs[i]; }
std::int32_t integer(const BlockQ4_0& block, std::int64_t i) noexcept {
  return (i < 16 ? block.qs[i] & 15 : block.qs[i - 16] >> 4) - 8;
}

template <class Block>
void gemm_blocks_i8(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                    std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  const auto* stored = reinterpret_cast<const Block*>(w.data);
  const std::int64_t blocks = w.cols / kQuantBlock;
  for (std::int64_t t = 0; t < tokens; ++t) {
    const std::int8_t* q = x.q + t * QuantizedRows::stride(w.cols);
    const float* scales = x.scales + t * QuantizedRows::blocks(w.cols);
    for (std::int64_t r = row_begin; r < row_end; ++r) {
      float sum = 0.0F;
      for (std::int64_t b = 0; b < blocks; ++b) {
        const Block& block = stored[r * blocks + b];
        std::int32_t dot = 0;
        for (std::int64_t i = 0; i < kQuantBlock; ++i) {
          dot += integer(block, i) * q[b * kQuantBlock + i];
        }
        const float scaled = static_cast<float>(dot) * scales[b * kQuantBlock / kActivationBlock];
        sum = std::fma(scaled, f16_to_f32(block.d), sum);
      }
      y[t * ldy + r] = sum;
    }
  }
}

void gemm_q8_0_i8(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                  std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_blocks_i8<BlockQ8_0>(w, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_q4_0_i8(const PackedBlocks& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                  std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_blocks_i8<BlockQ4_0>(w, x, tokens, y, ldy, row_begin, row_end);
}

// ---- attention ----

/// In two passes: the maximum, then the sums.
void attend(KvType type, const KvHead& head, const Queries& x, float* scratch, float* out,
            std::int64_t stride) noexcept {
  const KvLayout layout{type, head.dim};
  float* key = scratch;
  float* value = scratch + head.dim;
  const auto score = [&](const float* q, std::int64_t position) {
    const std::int64_t block = position / kKvBlock;
    layout.load(position % kKvBlock, head.keys + block * layout.key_bytes(),
                head.values + block * layout.value_bytes(), key, value);
    float sum = 0.0F;
    for (std::int64_t c = 0; c < head.dim; ++c) sum += q[c] * key[c];
    return sum;
  };
  for (std::int64_t i = 0; i < x.count; ++i) {
    const float* q = x.q + i * head.dim;
    const std::int64_t seen = x.position + i / x.group + 1;
    float maximum = -std::numeric_limits<float>::infinity();
    for (std::int64_t p = 0; p < seen; ++p) maximum = std::max(maximum, score(q, p));
    float* result = out + i / x.group * stride + i % x.group * head.dim;
    std::fill_n(result, head.dim, 0.0F);
    float total = 0.0F;
    for (std::int64_t p = 0; p < seen; ++p) {
      const float weight = std::exp(score(q, p) - maximum);
      total += weight;
      for (std::int64_t c = 0; c < head.dim; ++c) result[c] += weight * value[c];
    }
    for (std::int64_t c = 0; c < head.dim; ++c) result[c] /= total;
  }
}

void attend_f32(const KvHead& head, const Queries& x, float* scratch, float* out,
                std::int64_t stride) noexcept {
  attend(KvType::kF32, head, x, scratch, out, stride);
}

void attend_f16(const KvHead& head, const Queries& x, float* scratch, float* out,
                std::int64_t stride) noexcept {
  attend(KvType::kF16, head, x, scratch, out, stride);
}

void attend_q8_0(const KvHead& head, const Queries& x, float* scratch, float* out,
                 std::int64_t stride) noexcept {
  attend(KvType::kQ8_0, head, x, scratch, out, stride);
}

// ---- codes ----

/// `grid`: of row and group.
float decode(const CodedRows& w, std::int64_t grid, std::int64_t column, std::uint8_t code) {
  if (w.products != nullptr) {
    const CodedProducts& p = *w.products;
    const float* signs = p.signs + grid % w.groups * 8;
    const float first = signs[code] * p.row_scale[2 * grid];
    const float second = signs[4 + code] * p.row_scale[2 * grid + 1];
    return std::fma(second, p.col_scale[w.codes.cols + column], first * p.col_scale[column]);
  }
  if (w.levels != nullptr) return w.levels[(grid << w.codes.bits) + code];
  return (static_cast<float>(code) - w.zero[grid]) * w.scale[grid];
}

void decode_codes(const CodedRows& w, float* out, std::int64_t row_begin,
                  std::int64_t row_end) noexcept {
  const formats::CodesView& codes = w.codes;
  for (std::int64_t r = row_begin; r < row_end; ++r) {
    std::int64_t c = 0;
    for (std::int64_t s = 0; s < w.groups; ++s) {
      const std::int64_t at = r * w.groups + s;
      for (; c < w.ends[s]; ++c) {
        std::uint8_t code = 0;
        formats::codes_unpack_row({codes.row(r), static_cast<std::size_t>(codes.row_bytes())}, c,
                                  codes.bits, {&code, 1});
        *out++ = decode(w, at, c, code);
      }
    }
  }
}

// ---- rows ----

void to_f16(const float* x, f16_bits* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = f32_to_f16(x[i]);
}

void multiply(const float* x, const float* g, float* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * g[i];
}

void add_row(const float* x, float* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
}

void rms_norm(const float* x, const float* w, float eps, float* y, std::int64_t n) noexcept {
  float squares = 0.0F;
  for (std::int64_t i = 0; i < n; ++i) squares += x[i] * x[i];
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) y[i] = x[i] * inverse * w[i];
}

void layer_norm(const float* x, float eps, float* y, std::int64_t n) noexcept {
  float sum = 0.0F;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  const float mean = sum / static_cast<float>(n);
  float squares = 0.0F;
  for (std::int64_t i = 0; i < n; ++i) squares += (x[i] - mean) * (x[i] - mean);
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(n) + eps);
  for (std::int64_t i = 0; i < n; ++i) y[i] = (x[i] - mean) * inverse;
}

void swiglu_row(const float* gate, const float* up, float* y, std::int64_t n) noexcept {
  for (std::int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

float keep_finite(const float* x, float* y, std::int64_t n) noexcept {
  constexpr float kNone = -std::numeric_limits<float>::infinity();
  float largest = kNone;
  for (std::int64_t i = 0; i < n; ++i) {
    y[i] = std::isfinite(x[i]) ? x[i] : kNone;
    largest = std::max(largest, y[i]);
  }
  return largest;
}

void softmax(float* x, std::int64_t n) noexcept {
  const float max = *std::max_element(x, x + n);
  float sum = 0.0F;
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] - max);
    sum += x[i];
  }
  const float inverse = 1.0F / sum;
  for (std::int64_t i = 0; i < n; ++i) x[i] *= inverse;
}

}  // namespace

constexpr KernelSet kernels_scalar = {
    .name = "scalar",
#include "kernels/kernel_set.inc"
};

}  // namespace onebit::kernels
