// Linear layers of the runtime, dense, 1-bit, ternary, of codes or of two factors, and the object
// that applies them: it picks the kernel, spreads rows over threads, and quantises activations
// where that is asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <variant>
#include <vector>

#include "arch/checkpoint.h"
#include "base/buffer.h"
#include "base/thread_pool.h"
#include "formats/tensor_view.h"
#include "kernels/block_matrix.h"
#include "kernels/kernels.h"
#include "kernels/sign_matrix.h"
#include "kernels/ternary_matrix.h"
#include "runtime/code_layer.h"

namespace onebit::runtime {

/// y = x Wᵀ. W is [out, in] in a type that a kernel multiplies as it is: f32, f16, bf16, q8_0,
/// q4_1.
struct DenseMatrix {
  formats::TensorView view;      ///< into the mapped file, or into `owned`
  std::vector<std::byte> owned;  ///< a copy, where the file's bytes cannot be used directly
  /// Of a packed model's q8_0 or q4_0, where it multiplies int8 activations: `view` then says what
  /// it is, and is not multiplied.
  std::optional<kernels::BlockMatrix> blocks;

  DenseMatrix() = default;
  DenseMatrix(DenseMatrix&&) = default;  ///< moves `owned`'s heap block: `view` stays valid
  DenseMatrix& operator=(DenseMatrix&&) = default;
};

/// y = LN(((x ⊙ g) Sᵀ) ⊙ h) (OneBit, arXiv 2402.11295), LN only in the paper's form, g only where
/// the file has one, h for each group of inputs where it has groups.
struct OneBitLayer {
  arch::OneBitMatrix matrix;
  kernels::SignMatrix signs;  ///< as the kernels read it
  bool output_norm = true;
};

/// y = x Wᵀ, W[r, c] = scale[r] T[r, c] with T of -1, 0 and 1: such codes where they multiply int8
/// activations.
struct TernaryLayer {
  kernels::TernaryMatrix matrix;
};

/// y = (x Bᵀ) Aᵀ.
struct LowRankLayer {
  DenseMatrix out_factor;  ///< A
  DenseMatrix in_factor;   ///< B
};

using Linear = std::variant<DenseMatrix, OneBitLayer, CodeLayer, TernaryLayer, LowRankLayer>;

std::int64_t out_features(const Linear& w) noexcept;
std::int64_t in_features(const Linear& w) noexcept;
/// Bytes read to multiply by it.
std::uint64_t stored_bytes(const Linear& w) noexcept;

/// The linear layer of a role as stored in the checkpoint. Used straight from the mapped file where
/// a kernel can; otherwise copied: rows of Hugging Face q/k permuted, misaligned data aligned, q4_0
/// and q5_0 as the q8_0 of equal values, other types as f32, signs in the layout of `kernels`.
/// Nothing is rounded. `int8_activations` as LinearRunner has it.
Linear load_linear(const arch::Checkpoint& checkpoint, arch::Role role, std::int64_t layer,
                   const kernels::KernelSet& kernels, bool int8_activations, ThreadPool& pool);

/// One of several layers that read the same x; y is f32 [tokens, out], not aliasing x.
struct LinearJob {
  const Linear* weight;
  float* y;
};

class LinearRunner {
 public:
  /// At most this many layers share one call (q, k and v).
  static constexpr std::size_t kMaxJobs = 3;

  /// `int8_activations`: a packed model's 1-bit, q8_0 and q4_0 matrices multiply activations
  /// rounded to int8, and ternary ones where the rule rounds them. `rule` is that of the model, for
  /// the inputs of all matrices that are not dense; where it rounds them itself, int8 holds them
  /// exactly.
  LinearRunner(const kernels::KernelSet& kernels, ThreadPool& pool, bool int8_activations,
               arch::ActivationRule rule = {}, double norm_eps = 0)
      : kernels_(kernels), pool_(pool), int8_(int8_activations), rule_(rule), norm_eps_(norm_eps) {}

  bool int8_activations() const noexcept { return int8_; }

  /// Applies every job to x, f32 [tokens, in].
  void run(std::span<const LinearJob> jobs, const float* x, std::int64_t tokens);

 private:
  struct Scratch {
    /// x ⊙ g, or x arranged for codes, [tokens, in], or multiplied by B, [tokens, rank]; else
    /// unused
    Buffer<float> scaled;
    Buffer<std::int8_t> q;  ///< or x ⊙ g as kernels::QuantizedRows; for blocks two rows a token
    Buffer<float> scales;
    Buffer<float> parts;  ///< for blocks: what each of those rows gives, [2 · tokens, out]

    /// Rows of q from `row` on.
    kernels::QuantizedRows rounded(std::int64_t in, std::int64_t row) const noexcept {
      using kernels::QuantizedRows;
      return {q.data() + row * QuantizedRows::stride(in),
              scales.data() + row * QuantizedRows::blocks(in)};
    }
  };

  /// Of a call's tokens.
  struct Tokens {
    std::int64_t first;
    std::int64_t count;
  };

  /// x by the rule into ruled_, where a job is not dense.
  void apply_rule(std::span<const LinearJob> jobs, const float* x, std::int64_t tokens);
  /// What the layer reads.
  const float* input_of(const Linear& layer, const float* x) const noexcept;
  /// One row to int8: exactly, where the rule has rounded it.
  void quantize(const float* row, std::int64_t token, const float* g, std::int64_t in,
                std::int8_t* q, float* scales) const noexcept;
  /// x as the layer multiplies it: ⊙ g, rounded.
  void scale_inputs(const OneBitLayer& layer, const float* x, std::int64_t tokens,
                    Scratch& scratch);
  void round_inputs(const TernaryLayer& layer, const float* x, std::int64_t tokens,
                    Scratch& scratch);
  void reduce_inputs(const LowRankLayer& layer, const float* x, std::int64_t tokens,
                     Scratch& scratch);
  void multiply_dense(const formats::TensorView& w, const float* x, std::int64_t tokens, float* y,
                      std::int64_t begin, std::int64_t end) const noexcept;
  void arrange_inputs(const CodeLayer& layer, const float* x, std::int64_t tokens,
                      Scratch& scratch);
  void split_inputs(const kernels::BlockMatrix& blocks, const float* x, std::int64_t tokens,
                    Scratch& scratch);
  void multiply_blocks(const kernels::BlockMatrix& blocks, Tokens of, Scratch& scratch, float* y,
                       std::int64_t begin, std::int64_t end) const noexcept;
  void multiply_rows(const LinearJob& job, const float* x, Tokens of, Scratch& scratch,
                     std::int64_t begin, std::int64_t end, int worker) noexcept;
  void norm_outputs(const OneBitLayer& layer, float* y, std::int64_t tokens);

  const kernels::KernelSet& kernels_;
  ThreadPool& pool_;
  bool int8_;
  arch::ActivationRule rule_;
  double norm_eps_;
  Buffer<float> ruled_;  ///< [tokens, in]
  Buffer<float> steps_;  ///< [tokens], RoundedRow::step of each
  Scratch scratch_[kMaxJobs];
  Buffer<float> decoded_;  ///< of each thread, decoded_stride_ floats
  std::int64_t decoded_stride_ = 0;
};

/// body(begin, end) over [0, tokens): on the pool when there is more than one token, else here.
template <class Body>
void for_tokens(ThreadPool& pool, std::int64_t tokens, Body&& body) {
  if (tokens == 1) {
    body(std::int64_t{0}, tokens);
  } else {
    pool.parallel_for(tokens, 1,
                      [&](std::int64_t begin, std::int64_t end, int) { body(begin, end); });
  }
}

}  // namespace onebit::runtime
