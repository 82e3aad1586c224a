// The linear layers a decoder is built of: frozen full-precision ones and trainable 1-bit ones.
//
// Shapes: x [..., in], y [..., out]. Weights are [out, in]. Activations have the model's compute
// type (f32, f64 or bf16); trainable tensors keep their own (f32, or f64 for golden runs).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <torch/types.h>
#include <vector>

#include "arch/checkpoint.h"
#include "nn/sign_ste.h"

namespace onebit::nn {

/// What a trainable tensor is: optimisers may treat kinds differently.
enum class ParameterKind : std::uint8_t {
  kLatent,
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

  /// Appends the trainable tensors, each named prefix + "." + its role in the layer.
  virtual void collect(const std::string& prefix, std::vector<Parameter>& out) const = 0;
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

/// What a 1-bit layer starts from. Moved into the layer: these tensors become its parameters.
struct OneBitStart {
  torch::Tensor latent;  ///< w [out, in]; S = sign(w)
  torch::Tensor g;       ///< [in]
  torch::Tensor h;       ///< [out]
};

struct OneBitOptions {
  arch::Form form = arch::Form::kPaper;
  SignGradient gradient = SignGradient::kTanh;
};

/// y = LN(((x ⊙ g) Sᵀ) ⊙ h), S = sign(w); without LN when the form is foldable. LN has no
/// parameters and epsilon arch::kOutputNormEps. OneBit (arXiv 2402.11295), eq. 3 and section 3.2.
class OneBitLinear final : public Linear {
 public:
  /// latent, g and h share one type and device. Throws InternalError when shapes do not fit.
  OneBitLinear(OneBitStart start, OneBitOptions options);

  torch::Tensor forward(const torch::Tensor& x) override;
  void collect(const std::string& prefix, std::vector<Parameter>& out) const override;

  const torch::Tensor& latent() const noexcept { return latent_; }
  const torch::Tensor& g() const noexcept { return g_; }
  const torch::Tensor& h() const noexcept { return h_; }
  const OneBitOptions& options() const noexcept { return options_; }

  /// The same function composed of libtorch's own differentiable operations: slow, and what the
  /// tests hold forward() against.
  torch::Tensor forward_reference(const torch::Tensor& x) const;

 private:
  /// S in the type of the activations, computed once per change of the latent weights.
  const torch::Tensor& sign_for(torch::ScalarType dtype);

  torch::Tensor latent_;
  torch::Tensor g_;
  torch::Tensor h_;
  OneBitOptions options_;
  torch::Tensor sign_;
  std::uint32_t sign_version_ = 0;
};

}  // namespace onebit::nn
