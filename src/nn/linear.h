// The linear layers a decoder is built of: frozen full-precision ones and trainable 1-bit ones.
//
// Shapes: x [..., in], y [..., out]. Weights are [out, in]. Activations have the model's compute
// type (f32, f64 or bf16); trainable tensors keep their own (f32, or f64 for golden runs).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <torch/types.h>
#include <vector>

#include "arch/packed_writer.h"
#include "nn/sign_ste.h"

namespace onebit::nn {

/// [out, groups] to [out, in]: h of every weight. The last group may be partial.
torch::Tensor spread_groups(const torch::Tensor& h, std::int64_t group_size, std::int64_t in);

/// [out, in] to [out, groups]: the sum over each group, the transpose of spread_groups.
torch::Tensor sum_groups(const torch::Tensor& values, std::int64_t group_size);

/// What a trainable tensor is: optimisers may treat kinds differently.
enum class ParameterKind : std::uint8_t {
  kLatent,  ///< the weights of a matrix, or what they are made of
  kScale,
  kNorm,  ///< the weight of a norm
};

/// A trainable tensor under the name that checkpoints and messages use.
struct Parameter {
  std::string name;
  torch::Tensor value;
  ParameterKind kind = ParameterKind::kLatent;
};

class Linear {
 public:
  virtual ~Linear() = default;

  virtual torch::Tensor forward(const torch::Tensor& x) = 0;

  /// From here on nothing is kept between calls that can be computed again.
  virtual void save_memory() noexcept {}

  /// Appends the trainable tensors, each named prefix + "." + its role in the layer; one that `out`
  /// has already, being shared, is not repeated.
  virtual void collect(const std::string& prefix, std::vector<Parameter>& out) const = 0;
};

/// A layer that a packed file has in a way of its own.
class StoredLinear : public Linear {
 public:
  /// Adds the matrix to a file that was told how. Throws as PackedWriter.
  virtual void add_to(arch::PackedWriter& writer, arch::Role role, std::int64_t layer) const = 0;
};

/// y = x Wᵀ, never trained.
class DenseLinear final : public Linear {
 public:
  /// weight: [out, in] in the compute type.
  explicit DenseLinear(torch::Tensor weight);

  torch::Tensor forward(const torch::Tensor& x) override;
  void collect(const std::string&, std::vector<Parameter>&) const override {}

  const torch::Tensor& weight() const noexcept { return weight_; }

 private:
  torch::Tensor weight_;
};

/// What a 1-bit layer starts from. Moved into the layer: these tensors become its parameters;
/// layers that are given the same g share it.
struct OneBitStart {
  torch::Tensor latent;    ///< w [out, in]; S = sign(w)
  torch::Tensor g;         ///< [in], or what `tie` picks from; undefined: all ones, never trained
  torch::Tensor h;         ///< [out], or [out, groups] with a group size
  torch::Tensor tie = {};  ///< int64 [in]: input j takes g[tie[j]]; undefined: g[j]
};

struct OneBitOptions {
  arch::Form form = arch::Form::kPaper;
  SignGradient gradient = SignGradient::kTanh;
  std::int64_t group_size = 0;  ///< of arch::kGroupSizes
};

/// y = LN(((x ⊙ g) Sᵀ) ⊙ h), S = sign(w); LN in the paper's form only. LN has no parameters and
/// epsilon arch::kOutputNormEps. OneBit (arXiv 2402.11295), eq. 3 and section 3.2. With a group
/// size every group of inputs has its own h: y_o = Σ_b h_ob Σ_{j in b} S_oj x_j g_j.
class OneBitLinear final : public Linear {
 public:
  /// latent, g and h share one type and device. Throws InternalError when shapes or options do not
  /// fit.
  OneBitLinear(OneBitStart start, OneBitOptions options);

  torch::Tensor forward(const torch::Tensor& x) override;
  void save_memory() noexcept override { keeps_matrix_ = false; }
  void collect(const std::string& prefix, std::vector<Parameter>& out) const override;

  const torch::Tensor& latent() const noexcept { return latent_; }
  const torch::Tensor& g() const noexcept { return g_; }  ///< as given, before the tie
  const torch::Tensor& h() const noexcept { return h_; }
  const OneBitOptions& options() const noexcept { return options_; }

  /// The same function composed of libtorch's own differentiable operations: slow, and what the
  /// tests hold forward() against.
  torch::Tensor forward_reference(const torch::Tensor& x) const;

 private:
  /// g of every input, [in]; nothing for all ones.
  std::optional<torch::Tensor> input_scale() const;

  /// S in the type in which it is multiplied, or S ⊙ h where h has groups.
  torch::Tensor make_matrix(torch::ScalarType dtype) const;

  /// The same, computed once per change of what it is made of where it may be kept.
  torch::Tensor matrix_for(torch::ScalarType dtype);

  torch::Tensor latent_;
  torch::Tensor g_;
  torch::Tensor h_;
  torch::Tensor tie_;
  OneBitOptions options_;
  bool keeps_matrix_ = true;
  torch::Tensor matrix_;
  std::uint32_t latent_version_ = 0;
  std::uint32_t h_version_ = 0;
};

}  // namespace onebit::nn
