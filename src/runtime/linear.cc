#include "runtime/linear.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "base/check.h"
#include "formats/dequantize.h"
#include "formats/ggml_blocks.h"
#include "runtime/activations.h"

namespace onebit::runtime {
namespace {

using formats::DType;
using formats::TensorView;
using kernels::QuantizedRows;

/// Rows per unit of work: whole tiles of every kernel, and y of two threads in distinct cache
/// lines.
constexpr std::int64_t kRowGrain = 64;

/// From so many tokens on, they are shared out too: whole tiles of every kernel, and enough of them
/// that a kernel's tables and decoded rows are worth making.
constexpr std::int64_t kTokenGrain = 48;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

/// A product with many tokens as tasks of equal size: several for each thread, so that one that
/// comes late leaves less to wait for.
struct Tasks {
  std::int64_t token_part;
  std::int64_t token_parts;
  std::int64_t row_part;
  std::int64_t row_parts;

  /// Tokens are divided before rows are: kernels' tables are made anew for every part of the rows.
  static Tasks tokens_first(std::int64_t rows, std::int64_t tokens, int threads) {
    const std::int64_t wanted = std::int64_t{4} * threads;
    Tasks tasks = {};
    tasks.divide_tokens(tokens, std::min(2 * kTokenGrain, parts(tokens, wanted)));
    tasks.divide_rows(rows, std::min(rows, std::max(rows * tasks.token_parts / wanted, kRowGrain)));
    return tasks;
  }

  /// Rows before tokens: rows are decoded anew for every part of the tokens.
  static Tasks rows_first(std::int64_t rows, std::int64_t tokens, int threads) {
    const std::int64_t wanted = std::int64_t{8} * threads;
    Tasks tasks = {};
    tasks.divide_rows(rows, std::max(rows / wanted / kRowGrain * kRowGrain, kRowGrain));
    tasks.divide_tokens(tokens, parts(tokens, parts(wanted, tasks.row_parts)));
    return tasks;
  }

 private:
  static std::int64_t parts(std::int64_t n, std::int64_t of) { return (n + of - 1) / of; }

  void divide_tokens(std::int64_t tokens, std::int64_t part) {
    token_part = round_up(part, kTokenGrain);
    token_parts = parts(tokens, token_part);
  }

  void divide_rows(std::int64_t rows, std::int64_t part) {
    row_part = round_up(part, kRowGrain);
    row_parts = parts(rows, row_part);
  }
};

/// Natural alignment of a type's elements, or 0 when no kernel multiplies floats by it.
std::size_t kernel_alignment(DType type) {
  switch (type) {
    case DType::kF32:
      return alignof(float);
    case DType::kF16:
    case DType::kBF16:
      return alignof(std::uint16_t);
    case DType::kQ8_0:
      return alignof(formats::BlockQ8_0);
    case DType::kQ4_1:
      return alignof(formats::BlockQ4_1);
    default:
      return 0;
  }
}

bool is_aligned(const TensorView& view, std::size_t alignment) {
  return reinterpret_cast<std::uintptr_t>(view.data.data()) % alignment == 0;
}

/// q4_0 and q5_0 are w = d (q - offset) in blocks of 32: the q8_0 block of the same d and the
/// integers q - offset holds equal weights in a quarter of f32's bytes.
void to_q8_0(DType type, std::span<const std::byte> src, formats::BlockQ8_0& dst) {
  if (type == DType::kQ4_0) {
    formats::BlockQ4_0 block;
    std::memcpy(&block, src.data(), sizeof(block));
    dst.d = block.d;
    for (int i = 0; i < 16; ++i) {
      dst.qs[i] = static_cast<std::int8_t>((block.qs[i] & 0xF) - 8);
      dst.qs[i + 16] = static_cast<std::int8_t>((block.qs[i] >> 4) - 8);
    }
    return;
  }
  formats::BlockQ5_0 block;
  std::memcpy(&block, src.data(), sizeof(block));
  std::uint32_t high = 0;
  std::memcpy(&high, block.qh, sizeof(high));
  dst.d = block.d;
  for (int i = 0; i < 16; ++i) {
    dst.qs[i] = static_cast<std::int8_t>(((block.qs[i] & 0xF) | ((high >> i & 1U) << 4)) - 16);
    dst.qs[i + 16] =
        static_cast<std::int8_t>(((block.qs[i] >> 4) | ((high >> (i + 16) & 1U) << 4)) - 16);
  }
}

/// Row r of the copy is the stored row source(r), converted to `type`.
template <class Source>
std::vector<std::byte> copy_rows(const TensorView& stored, DType type, Source source) {
  const formats::DTypeInfo& to = formats::info(type);
  const std::int64_t cols = stored.cols();
  const std::size_t row_bytes = static_cast<std::size_t>(cols / to.block_size) * to.block_bytes;
  std::vector<std::byte> copy(static_cast<std::size_t>(stored.rows()) * row_bytes);
  for (std::int64_t r = 0; r < stored.rows(); ++r) {
    const std::span<const std::byte> from = stored.row(source(r));
    std::byte* row = copy.data() + static_cast<std::size_t>(r) * row_bytes;
    if (type == stored.dtype) {
      std::memcpy(row, from.data(), row_bytes);
    } else if (type == DType::kF32) {
      formats::dequantize(stored.dtype, from,
                          {reinterpret_cast<float*>(row), static_cast<std::size_t>(cols)});
    } else {
      const std::size_t block_bytes = formats::info(stored.dtype).block_bytes;
      auto* blocks = reinterpret_cast<formats::BlockQ8_0*>(row);
      for (std::int64_t b = 0; b < cols / formats::kQuantBlock; ++b) {
        to_q8_0(stored.dtype, from.subspan(static_cast<std::size_t>(b) * block_bytes, block_bytes),
                blocks[b]);
      }
    }
  }
  return copy;
}

/// `head_dim`: of rows that must be permuted, else 0.
DenseMatrix load_view(const TensorView& view, std::int64_t head_dim) {
  const std::size_t alignment = kernel_alignment(view.dtype);
  DenseMatrix matrix;
  if (alignment != 0 && is_aligned(view, alignment) && head_dim == 0) {
    matrix.view = view;
    return matrix;
  }
  DType type = view.dtype;
  if (alignment == 0) {
    const bool as_q8_0 = type == DType::kQ4_0 || type == DType::kQ5_0;
    type = as_q8_0 ? DType::kQ8_0 : DType::kF32;
  }
  matrix.owned = copy_rows(view, type, [&](std::int64_t r) {
    return head_dim > 0 ? arch::rope_source_row(r, head_dim) : r;
  });
  matrix.view = {type, view.shape, matrix.owned};
  return matrix;
}

DenseMatrix load_dense(const arch::Checkpoint& checkpoint, arch::Role role, std::int64_t layer,
                       const arch::Checkpoint::Stored& stored) {
  DenseMatrix matrix =
      load_view(stored.view, stored.permute_rows ? checkpoint.config().head_dim : 0);
  if (!matrix.owned.empty()) checkpoint.release(role, layer);
  return matrix;
}

/// Whether a model's rule is for its inputs.
bool is_ruled(const Linear& layer) noexcept {
  if (const auto* codes = std::get_if<CodeLayer>(&layer)) return codes->ruled();
  return !std::holds_alternative<DenseMatrix>(layer);
}

/// Codes that are -1, 0 and 1 times a scale of their row; none: others.
std::optional<TernaryLayer> ternary(const arch::CodeMatrix& matrix,
                                    const kernels::KernelSet& kernels, ThreadPool& pool) {
  const std::int64_t cols = matrix.codes.cols;
  if (matrix.codes.bits != 2 || matrix.groups() != 1 || matrix.scale.empty() ||
      !matrix.order.empty() || !matrix.in_scale.empty()) {
    return std::nullopt;
  }
  const float middle = arch::symmetric_zero(2);
  for (const float zero : matrix.zero) {
    if (zero != middle) return std::nullopt;
  }
  std::vector<std::int8_t> values(static_cast<std::size_t>(matrix.codes.rows * cols));
  std::vector<std::uint8_t> row(static_cast<std::size_t>(cols));
  auto* to = values.data();
  for (std::int64_t r = 0; r < matrix.codes.rows; ++r) {
    formats::codes_unpack_row(
        {matrix.codes.row(r), static_cast<std::size_t>(matrix.codes.row_bytes())}, 0, 2, row);
    for (const std::uint8_t code : row) {
      if (code == 0) return std::nullopt;
      *to++ = static_cast<std::int8_t>(code - 2);
    }
  }
  return TernaryLayer{
      kernels::TernaryMatrix(kernels, values, matrix.codes.rows, cols, matrix.scale, &pool)};
}

}  // namespace

std::int64_t out_features(const Linear& w) noexcept {
  if (const auto* dense = std::get_if<DenseMatrix>(&w)) return dense->view.rows();
  if (const auto* codes = std::get_if<CodeLayer>(&w)) return codes->out();
  if (const auto* layer = std::get_if<TernaryLayer>(&w)) return layer->matrix.rows();
  if (const auto* factors = std::get_if<LowRankLayer>(&w)) return factors->out_factor.view.rows();
  return std::get_if<OneBitLayer>(&w)->matrix.sign.rows;
}

std::int64_t in_features(const Linear& w) noexcept {
  if (const auto* dense = std::get_if<DenseMatrix>(&w)) return dense->view.cols();
  if (const auto* codes = std::get_if<CodeLayer>(&w)) return codes->in();
  if (const auto* layer = std::get_if<TernaryLayer>(&w)) return layer->matrix.cols();
  if (const auto* factors = std::get_if<LowRankLayer>(&w)) return factors->in_factor.view.cols();
  return std::get_if<OneBitLayer>(&w)->matrix.sign.cols;
}

std::uint64_t stored_bytes(const Linear& w) noexcept {
  if (const auto* dense = std::get_if<DenseMatrix>(&w)) return dense->view.data.size();
  if (const auto* codes = std::get_if<CodeLayer>(&w)) return codes->stored_bytes();
  if (const auto* layer = std::get_if<TernaryLayer>(&w)) return layer->matrix.stored_bytes();
  if (const auto* factors = std::get_if<LowRankLayer>(&w)) {
    return factors->out_factor.view.data.size() + factors->in_factor.view.data.size();
  }
  const arch::OneBitMatrix& m = std::get_if<OneBitLayer>(&w)->matrix;
  return static_cast<std::uint64_t>(m.sign.rows * formats::sign1_row_bytes(m.sign.cols)) +
         (m.g.size() + m.h.size()) * sizeof(float);
}

Linear load_linear(const arch::Checkpoint& checkpoint, arch::Role role, std::int64_t layer,
                   const kernels::KernelSet& kernels, bool int8_activations, ThreadPool& pool) {
  if (std::optional<arch::OneBitMatrix> matrix = checkpoint.one_bit(role, layer)) {
    ONEBIT_CHECK(checkpoint.provenance().has_value());
    kernels::SignMatrix signs(kernels, matrix->sign, matrix->h, matrix->group_size, &pool);
    if (signs.is_copy()) checkpoint.release(role, layer);
    return OneBitLayer{std::move(*matrix), std::move(signs),
                       checkpoint.provenance()->form == arch::Form::kPaper};
  }
  if (std::optional<arch::CodeMatrix> matrix = checkpoint.codes(role, layer)) {
    // Of other codes activations stay exact.
    const arch::ActivationRule rule = checkpoint.input_rule(role, layer);
    if (int8_activations && rule.bits <= arch::ActivationRule::kMostBits) {
      if (std::optional<TernaryLayer> found = ternary(*matrix, kernels, pool)) {
        checkpoint.release(role, layer);
        return std::move(*found);
      }
    }
    return CodeLayer(std::move(*matrix), rule.changes_inputs());
  }
  if (const std::optional<arch::LowRankMatrix> factors = checkpoint.low_rank(role, layer)) {
    return LowRankLayer{load_view(factors->out_factor, 0), load_view(factors->in_factor, 0)};
  }
  const std::optional<arch::Checkpoint::Stored> stored = checkpoint.dense(role, layer);
  ONEBIT_CHECK(stored.has_value());  // Checkpoint::open has looked for it
  // Models of full precision stay exact.
  if (int8_activations && checkpoint.provenance() && !stored->permute_rows &&
      kernels::BlockMatrix::supports(stored->view.dtype) &&
      is_aligned(stored->view, alignof(f16_bits))) {
    DenseMatrix matrix;
    matrix.view = stored->view;
    matrix.blocks.emplace(kernels, stored->view.dtype, stored->view.data.data(),
                          stored->view.rows(), stored->view.cols(), &pool);
    if (matrix.blocks->is_copy()) checkpoint.release(role, layer);
    return matrix;
  }
  return load_dense(checkpoint, role, layer, *stored);
}

void LinearRunner::run(std::span<const LinearJob> jobs, const float* x, std::int64_t tokens) {
  ONEBIT_CHECK(!jobs.empty() && jobs.size() <= kMaxJobs);
  apply_rule(jobs, x, tokens);
  std::int64_t ends[kMaxJobs];  // the jobs' rows, one after the other
  std::int64_t rows = 0;
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    // Every job starts at a multiple of the grain, so that no unit of work spans two jobs.
    rows += (out_features(*jobs[j].weight) + kRowGrain - 1) / kRowGrain * kRowGrain;
    ends[j] = rows;
    const float* input = input_of(*jobs[j].weight, x);
    if (const auto* layer = std::get_if<OneBitLayer>(jobs[j].weight)) {
      scale_inputs(*layer, input, tokens, scratch_[j]);
    } else if (const auto* codes = std::get_if<CodeLayer>(jobs[j].weight)) {
      arrange_inputs(*codes, input, tokens, scratch_[j]);
    } else if (const auto* trits = std::get_if<TernaryLayer>(jobs[j].weight)) {
      round_inputs(*trits, input, tokens, scratch_[j]);
    } else if (const auto* factors = std::get_if<LowRankLayer>(jobs[j].weight)) {
      reduce_inputs(*factors, input, tokens, scratch_[j]);
    } else if (const auto& dense = std::get<DenseMatrix>(*jobs[j].weight); dense.blocks) {
      split_inputs(*dense.blocks, x, tokens, scratch_[j]);
    }
  }
  const auto multiply = [&](Tokens of, std::int64_t begin, std::int64_t end, int worker) {
    std::int64_t start = 0;
    for (std::size_t j = 0; j < jobs.size(); start = ends[j], ++j) {
      const std::int64_t first = std::max(begin - start, std::int64_t{0});
      const std::int64_t last = std::min(end - start, out_features(*jobs[j].weight));
      if (first < last) {
        multiply_rows(jobs[j], input_of(*jobs[j].weight, x), of, scratch_[j], first, last, worker);
      }
    }
  };
  if (tokens < kTokenGrain) {
    pool_.parallel_for(rows, kRowGrain, [&](std::int64_t begin, std::int64_t end, int part) {
      multiply({0, tokens}, begin, end, part);
    });
  } else {
    const bool decodes = std::any_of(jobs.begin(), jobs.end(), [](const LinearJob& job) {
      return std::holds_alternative<CodeLayer>(*job.weight);
    });
    const Tasks tasks = decodes ? Tasks::rows_first(rows, tokens, pool_.threads())
                                : Tasks::tokens_first(rows, tokens, pool_.threads());
    pool_.parallel_tasks(tasks.token_parts * tasks.row_parts, [&](std::int64_t task, int worker) {
      const std::int64_t token = task / tasks.row_parts * tasks.token_part;
      const std::int64_t row = task % tasks.row_parts * tasks.row_part;
      multiply({token, std::min(tasks.token_part, tokens - token)}, row,
               std::min(rows, row + tasks.row_part), worker);
    });
  }
  for (std::size_t j = 0; j < jobs.size(); ++j) {
    if (const auto* layer = std::get_if<OneBitLayer>(jobs[j].weight)) {
      norm_outputs(*layer, jobs[j].y, tokens);
    }
  }
}

void LinearRunner::apply_rule(std::span<const LinearJob> jobs, const float* x,
                              std::int64_t tokens) {
  if (!rule_.changes_inputs()) return;
  const bool is_wanted = std::any_of(jobs.begin(), jobs.end(),
                                     [](const LinearJob& job) { return is_ruled(*job.weight); });
  if (!is_wanted) return;
  const std::int64_t in = in_features(*jobs[0].weight);
  ruled_.reserve(tokens * in);
  steps_.reserve(tokens);
  for_tokens(pool_, tokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* to = ruled_.data() + t * in;
      steps_.data()[t] = runtime::apply_rule(rule_, norm_eps_, x + t * in, in, to).step;
    }
  });
}

const float* LinearRunner::input_of(const Linear& layer, const float* x) const noexcept {
  return rule_.changes_inputs() && is_ruled(layer) ? ruled_.data() : x;
}

void LinearRunner::quantize(const float* row, std::int64_t token, const float* g, std::int64_t in,
                            std::int8_t* q, float* scales) const noexcept {
  const float step = rule_.changes_inputs() && g == nullptr
                         ? steps_.data()[token]
                         : std::numeric_limits<float>::quiet_NaN();
  if (!std::isfinite(step)) {
    kernels_.quantize_i8(row, g, in, q, scales);
    return;
  }
  std::fill_n(scales, QuantizedRows::blocks(in), step);
  std::fill_n(q, QuantizedRows::stride(in), std::int8_t{0});
  if (step == 0) return;
  for (std::int64_t c = 0; c < in; ++c) {
    q[c] = static_cast<std::int8_t>(std::nearbyint(row[c] / step));
  }
}

void LinearRunner::scale_inputs(const OneBitLayer& layer, const float* x, std::int64_t tokens,
                                Scratch& scratch) {
  const std::int64_t in = layer.matrix.sign.cols;
  const float* g = layer.matrix.g.empty() ? nullptr : layer.matrix.g.data();
  if (int8_) {
    scratch.q.reserve(tokens * QuantizedRows::stride(in));
    scratch.scales.reserve(tokens * QuantizedRows::blocks(in));
  } else if (g != nullptr) {
    scratch.scaled.reserve(tokens * in);
  } else {
    return;
  }
  for_tokens(pool_, tokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = x + t * in;
      if (int8_) {
        quantize(row, t, g, in, scratch.q.data() + t * QuantizedRows::stride(in),
                 scratch.scales.data() + t * QuantizedRows::blocks(in));
      } else {
        kernels_.multiply(row, g, scratch.scaled.data() + t * in, in);
      }
    }
  });
}

/// Both times that TernaryMatrix wants them.
void LinearRunner::round_inputs(const TernaryLayer& layer, const float* x, std::int64_t tokens,
                                Scratch& scratch) {
  const std::int64_t in = layer.matrix.cols();
  const std::int64_t twice = kernels::TernaryMatrix::twice(in);
  // A row is rounded to where it is then given twice from.
  const std::int64_t blocks = QuantizedRows::blocks(in);
  scratch.q.reserve(tokens * (QuantizedRows::stride(twice) + QuantizedRows::stride(in)));
  scratch.scales.reserve(tokens * 3 * blocks);
  std::int8_t* once_q = scratch.q.data() + tokens * QuantizedRows::stride(twice);
  float* once_scales = scratch.scales.data() + tokens * 2 * blocks;
  for_tokens(pool_, tokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const QuantizedRows once = {once_q + t * QuantizedRows::stride(in), once_scales + t * blocks};
      quantize(x + t * in, t, nullptr, in, once_q + t * QuantizedRows::stride(in),
               once_scales + t * blocks);
      kernels::TernaryMatrix::repeat(once, in, 1,
                                     scratch.q.data() + t * QuantizedRows::stride(twice),
                                     scratch.scales.data() + t * 2 * blocks);
    }
  });
}

/// x Bᵀ: few rows, so that tokens are shared out where there are some.
void LinearRunner::reduce_inputs(const LowRankLayer& layer, const float* x, std::int64_t tokens,
                                 Scratch& scratch) {
  const TensorView& b = layer.in_factor.view;
  const std::int64_t in = b.cols();
  const std::int64_t rank = b.rows();
  scratch.scaled.reserve(tokens * rank);
  float* to = scratch.scaled.data();
  if (tokens < kTokenGrain) {
    constexpr std::int64_t kGrain = 8;
    pool_.parallel_for(rank, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
      multiply_dense(b, x, tokens, to, begin, end);
    });
    return;
  }
  pool_.parallel_for(tokens, kTokenGrain, [&](std::int64_t begin, std::int64_t end, int) {
    multiply_dense(b, x + begin * in, end - begin, to + begin * rank, 0, rank);
  });
}

void LinearRunner::arrange_inputs(const CodeLayer& layer, const float* x, std::int64_t tokens,
                                  Scratch& scratch) {
  decoded_stride_ = std::max(decoded_stride_, layer.scratch());
  decoded_.reserve(decoded_stride_ * pool_.threads());
  if (!layer.arranges()) return;
  scratch.scaled.reserve(tokens * layer.in());
  for_tokens(pool_, tokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      layer.arrange(x + t * layer.in(), scratch.scaled.data() + t * layer.in());
    }
  });
}

/// A token becomes two rows of int8, its rounding and what that leaves over: some 15 bits. The head
/// needs them, whose input has a few large values, and its time goes to reading the weights.
void LinearRunner::split_inputs(const kernels::BlockMatrix& blocks, const float* x,
                                std::int64_t tokens, Scratch& scratch) {
  const std::int64_t in = blocks.blocks().cols;
  const std::int64_t stride = QuantizedRows::stride(in);
  const std::int64_t scale_stride = QuantizedRows::blocks(in);
  scratch.q.reserve(2 * tokens * stride);
  scratch.scales.reserve(2 * tokens * scale_stride);
  scratch.scaled.reserve(tokens * in);
  scratch.parts.reserve(2 * tokens * blocks.blocks().rows);
  for_tokens(pool_, tokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      const float* row = x + t * in;
      float* rest = scratch.scaled.data() + t * in;
      std::int8_t* q = scratch.q.data() + 2 * t * stride;
      float* scales = scratch.scales.data() + 2 * t * scale_stride;
      kernels_.quantize_i8(row, nullptr, in, q, scales);
      for (std::int64_t c = 0; c < in; ++c) {
        rest[c] = row[c] - scales[c / kernels::kActivationBlock] * static_cast<float>(q[c]);
      }
      kernels_.quantize_i8(rest, nullptr, in, q + stride, scales + scale_stride);
    }
  });
}

void LinearRunner::multiply_blocks(const kernels::BlockMatrix& blocks, Tokens of, Scratch& scratch,
                                   float* y, std::int64_t begin, std::int64_t end) const noexcept {
  const std::int64_t out = blocks.blocks().rows;
  float* parts = scratch.parts.data();
  blocks.gemm()(blocks.blocks(), scratch.rounded(blocks.blocks().cols, 2 * of.first), 2 * of.count,
                parts + 2 * of.first * out, out, begin, end);
  for (std::int64_t t = of.first; t < of.first + of.count; ++t) {
    float* to = y + t * out + begin;
    std::copy_n(parts + 2 * t * out + begin, end - begin, to);
    kernels_.add(parts + (2 * t + 1) * out + begin, to, end - begin);
  }
}

void LinearRunner::multiply_rows(const LinearJob& job, const float* x, Tokens of, Scratch& scratch,
                                 std::int64_t begin, std::int64_t end, int worker) noexcept {
  const std::int64_t in = in_features(*job.weight);
  const std::int64_t out = out_features(*job.weight);
  float* y = job.y + of.first * out;
  if (const auto* layer = std::get_if<OneBitLayer>(job.weight)) {
    const bool is_grouped = layer->matrix.group_size > 0;
    const kernels::PackedSigns& signs = layer->signs.signs();
    const float* h = layer->matrix.h.data();
    if (int8_) {
      const QuantizedRows rounded = scratch.rounded(in, of.first);
      if (is_grouped) {
        kernels_.gemm_sign1_grouped_i8(layer->signs.grouped(), rounded, of.count, y, out, begin,
                                       end);
      } else {
        kernels_.gemm_sign1_i8(signs, h, rounded, of.count, y, out, begin, end);
      }
      return;
    }
    const float* scaled = (layer->matrix.g.empty() ? x : scratch.scaled.data()) + of.first * in;
    if (is_grouped) {
      kernels_.gemm_sign1_grouped_f32(layer->signs.grouped(), scaled, of.count, y, out, begin, end);
    } else {
      kernels_.gemm_sign1_f32(signs, h, scaled, of.count, y, out, begin, end);
    }
    return;
  }
  if (const auto* codes = std::get_if<CodeLayer>(job.weight)) {
    const float* arranged = (codes->arranges() ? scratch.scaled.data() : x) + of.first * in;
    codes->multiply(kernels_, arranged, of.count, y, begin, end,
                    decoded_.data() + worker * decoded_stride_);
    return;
  }
  if (const auto* trits = std::get_if<TernaryLayer>(job.weight)) {
    const std::int64_t twice = kernels::TernaryMatrix::twice(in);
    const QuantizedRows rounded = {
        scratch.q.data() + of.first * QuantizedRows::stride(twice),
        scratch.scales.data() + of.first * 2 * QuantizedRows::blocks(in)};
    trits->matrix.gemm_i8(rounded, of.count, y, out, begin, end);
    return;
  }
  if (const auto* factors = std::get_if<LowRankLayer>(job.weight)) {
    const TensorView& a = factors->out_factor.view;
    multiply_dense(a, scratch.scaled.data() + of.first * a.cols(), of.count, y, begin, end);
    return;
  }
  const DenseMatrix& dense = *std::get_if<DenseMatrix>(job.weight);
  if (dense.blocks) {
    multiply_blocks(*dense.blocks, of, scratch, job.y, begin, end);
    return;
  }
  multiply_dense(dense.view, x + of.first * in, of.count, y, begin, end);
}

void LinearRunner::multiply_dense(const TensorView& w, const float* x, std::int64_t tokens,
                                  float* y, std::int64_t begin, std::int64_t end) const noexcept {
  const auto multiply = [&]<class Weight>(kernels::DenseGemm<Weight> gemm) {
    gemm(reinterpret_cast<const Weight*>(w.data.data()), w.cols(), x, tokens, y, w.rows(), begin,
         end);
  };
  switch (w.dtype) {
    case DType::kF16:
      return multiply(kernels_.gemm_f16);
    case DType::kBF16:
      return multiply(kernels_.gemm_bf16);
    case DType::kQ8_0:
      return multiply(kernels_.gemm_q8_0);
    case DType::kQ4_1:
      return multiply(kernels_.gemm_q4_1);
    default:
      return multiply(kernels_.gemm_f32);
  }
}

void LinearRunner::norm_outputs(const OneBitLayer& layer, float* y, std::int64_t tokens) {
  if (!layer.output_norm) return;
  const std::int64_t out = layer.matrix.sign.rows;
  for_tokens(pool_, tokens, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t t = begin; t < end; ++t) {
      float* row = y + t * out;
      kernels_.layer_norm(row, static_cast<float>(arch::kOutputNormEps), row, out);
    }
  });
}

}  // namespace onebit::runtime
