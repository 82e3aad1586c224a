#include "quant/omniquant_block.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <torch/optim/adamw.h>
#include <torch/utils.h>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "nn/ruled_linear.h"

namespace onebit::quant {
namespace {

using arch::Role;
using torch::Tensor;

constexpr double kClippingStart = 4;
constexpr double kLeastScale = 1e-2;
constexpr double kLeastStart = 1e-5;
constexpr Role kNorms[] = {Role::kAttnNorm, Role::kFfnNorm};

/// A scale of the transformation, and the matrix whose inputs and columns start it.
struct ScaleStart {
  const char* name;
  Role role;
};
constexpr ScaleStart kScaleStarts[] = {
    {"qkv_scale", Role::kAttnQ}, {"ffn_scale", Role::kFfnUp}, {"out_scale", Role::kAttnOut}};

/// [out, in] as [out, groups, size]: the whole groups, then the partial one, where there are any.
std::vector<Tensor> group_parts(const Tensor& w, std::int64_t group_size) {
  const std::int64_t in = w.size(1);
  const std::int64_t size = group_size > 0 ? group_size : in;
  const std::int64_t whole = in / size * size;
  std::vector<Tensor> parts;
  if (whole > 0) parts.push_back(w.narrow(1, 0, whole).unflatten(1, {-1, size}));
  if (whole < in) parts.push_back(w.narrow(1, whole, in - whole).unsqueeze(1));
  return parts;
}

/// The least and the largest weight of each group. Where these are so close to each other and so
/// far from 0 that affine_rounding.h has no such zero point, one of them becomes 0: the authors'
/// grids lose such groups, a partial one of a single input among them. Zeros alone have the limits
/// 0, 1.
nn::AffineLimits extremes_of(const Tensor& part, int bits) {
  constexpr double kMostSteps = 5e3;  // half of what there is: clipping may bring limits closer
  const Tensor low = part.amin(-1, /*keepdim=*/true);
  const Tensor high = part.amax(-1, /*keepdim=*/true);
  const Tensor step = (high - low).detach() / ((1 << bits) - 1);
  const Tensor far = torch::minimum(low.abs(), high.abs()).gt(kMostSteps * step);
  const Tensor nothing = torch::zeros_like(low);
  const Tensor zeros = low.eq(0).logical_and(high.eq(0));
  return {torch::where(far.logical_and(low > 0), nothing, low),
          torch::where(zeros, torch::ones_like(high),
                       torch::where(far.logical_and(high < 0), nothing, high))};
}

/// Stands before a matrix and looks at what it reads.
class PeakObserver final : public nn::Linear {
 public:
  PeakObserver(nn::Linear& inner, Tensor& peak) : inner_(inner), peak_(peak) {}

  Tensor forward(const Tensor& x) override {
    const Tensor largest = x.detach().abs().flatten(0, -2).amax(0);
    peak_ = peak_.defined() ? torch::maximum(peak_, largest) : largest;
    return inner_.forward(x);
  }
  void collect(const std::string&, std::vector<nn::Parameter>&) const override {}

 private:
  nn::Linear& inner_;
  Tensor& peak_;
};

}  // namespace

InputPeaks input_peaks(nn::DecoderModel& model, std::int64_t layer,
                       const std::function<void()>& run) {
  InputPeaks peaks;
  std::map<Role, std::unique_ptr<nn::Linear>> inner;
  for (const ScaleStart& start : kScaleStarts) {
    auto observer =
        std::make_unique<PeakObserver>(model.linear(start.role, layer), peaks[start.role]);
    inner[start.role] = model.exchange(start.role, layer, std::move(observer));
  }
  run();
  for (auto& [role, linear] : inner) model.exchange(role, layer, std::move(linear));
  return peaks;
}

struct OmniquantBlock::Matrix {
  Tensor weight;  ///< in full precision, [out, in]
  Tensor gamma;   ///< [out, groups]
  Tensor beta;

  /// Groups of `w`, the matrix transformed, and the limits of each.
  template <class Visit>
  void each_part(const Tensor& w, const OmniquantOptions& options, const Visit& visit) const {
    std::int64_t first = 0;
    for (const Tensor& part : group_parts(w, options.group_size)) {
      const auto clipped = [&](const Tensor& clipping, const Tensor& extreme) {
        return clipping.narrow(1, first, part.size(1)).unsqueeze(2).sigmoid() * extreme;
      };
      const nn::AffineLimits extremes = extremes_of(part, options.bits);
      visit(part, nn::AffineLimits{clipped(beta, extremes.low), clipped(gamma, extremes.high)});
      first += part.size(1);
    }
  }
};

struct OmniquantBlock::Optimizer {
  explicit Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups)
      : adam(groups, torch::optim::AdamWOptions()) {}
  torch::optim::AdamW adam;
};

OmniquantBlock::OmniquantBlock(nn::DecoderModel& model, std::int64_t layer,
                               const OmniquantOptions& options, const InputPeaks& peaks)
    : model_(model), layer_(layer), options_(options), rounding_{options.bits, options.scales} {
  const arch::ModelConfig& config = model.config();
  for (const arch::TensorSpec& spec : config.arch->tensors) {
    if (!spec.linear) continue;
    const auto* dense = dynamic_cast<const nn::DenseLinear*>(&model.linear(spec.role, layer));
    ONEBIT_CHECK(dense != nullptr);
    const Tensor& w = dense->weight();
    const Tensor start = torch::full({w.size(0), arch::group_count(w.size(1), options.group_size)},
                                     kClippingStart, w.options());
    matrices_.emplace(spec.role, Matrix{w, start.clone(), start.clone()});
  }
  for (const Role role : kNorms) norms_[role] = model.norm(role, layer);
  const Tensor channel = torch::arange(config.heads * config.head_dim, torch::kInt64);
  const Tensor head = channel.div(config.head_dim * (config.heads / config.kv_heads), "floor");
  shared_ = head * config.head_dim + channel.remainder(config.head_dim);
  if (options.training.let) start_scales(peaks);
  model.set_attention_hooks(nn::attention_hooks(activation_rule(options)));
  std::vector<Tensor> clipping;
  std::vector<Tensor> scales;
  for (auto& [name, value] : parameters()) {
    value.requires_grad_();
    (scales_.contains(name) ? scales : clipping).push_back(value);
  }
  std::vector<torch::optim::OptimizerParamGroup> groups;
  const auto add = [&](std::vector<Tensor> values, double rate) {
    auto how = std::make_unique<torch::optim::AdamWOptions>(rate);
    how->betas({0.9, 0.999}).eps(1e-8).weight_decay(0);
    groups.emplace_back(std::move(values), std::move(how));
  };
  add(std::move(clipping), options.training.lwc_rate);
  if (!scales.empty()) add(std::move(scales), options.training.let_rate);
  optimizer_ = std::make_unique<Optimizer>(groups);
}

OmniquantBlock::~OmniquantBlock() = default;

void OmniquantBlock::start_scales(const InputPeaks& peaks) {
  const arch::ModelConfig& config = model_.config();
  const auto joined = [&](const Tensor& of_queries) {
    return of_queries.unflatten(0, {config.kv_heads, -1, config.head_dim}).amax(1).flatten();
  };
  for (const ScaleStart& start : kScaleStarts) {
    Tensor peak = peaks.at(start.role);
    Tensor column = matrices_.at(start.role).weight.abs().amax(0);
    if (start.role == Role::kAttnOut) {
      peak = joined(peak);
      column = joined(column);
    }
    scales_[start.name] = (peak.clamp_min(kLeastStart).pow(options_.training.let_alpha) /
                           column.clamp_min(kLeastStart).pow(1 - options_.training.let_alpha))
                              .clamp_min(kLeastStart);
  }
  scales_["qk_scale"] =
      torch::ones({config.kv_heads * config.head_dim}, scales_.at("out_scale").options());
}

void OmniquantBlock::keep_scales_apart_from_zero() {
  const torch::NoGradGuard no_grad;
  for (auto& [name, s] : scales_) {
    const Tensor least = torch::where(s < 0, -kLeastScale, kLeastScale);
    s.copy_(torch::where(s.abs() < kLeastScale, least.to(s.dtype()), s));
  }
}

Tensor OmniquantBlock::transformed(Role role) const {
  const auto found = matrices_.find(role);
  const Tensor& w = found != matrices_.end() ? found->second.weight : norms_.at(role);
  if (scales_.empty()) return w;
  const auto scale = [&](const char* name) { return scales_.at(name); };
  const auto rows = [&](const char* name) { return scale(name).unsqueeze(1); };
  switch (role) {
    case Role::kAttnNorm:
      return w / scale("qkv_scale");
    case Role::kFfnNorm:
      return w / scale("ffn_scale");
    case Role::kAttnQ:
      return w * scale("qkv_scale") / rows("qk_scale").index_select(0, shared_);
    case Role::kAttnK:
      return w * scale("qkv_scale") * rows("qk_scale");
    case Role::kAttnV:
      return w * scale("qkv_scale") / rows("out_scale");
    case Role::kAttnOut:
      return w * scale("out_scale").index_select(0, shared_);
    case Role::kFfnGate:
    case Role::kFfnUp:
      return w * scale("ffn_scale");
    default:
      return w;
  }
}

Tensor OmniquantBlock::quantised(Role role) const {
  std::vector<Tensor> parts;
  matrices_.at(role).each_part(
      transformed(role), options_, [&](const Tensor& part, const nn::AffineLimits& limits) {
        parts.push_back(nn::fake_affine(part, limits, rounding_).flatten(1));
      });
  return parts.size() == 1 ? parts[0] : torch::cat(parts, 1);
}

arch::ActivationRule activation_rule(const OmniquantOptions& options) {
  arch::ActivationRule rule;
  rule.rounding = arch::Rounding::kMinMax;
  rule.bits = rule.kv_bits = options.activation_bits;
  return rule;
}

void OmniquantBlock::install() {
  keep_scales_apart_from_zero();
  for (const auto& [role, matrix] : matrices_) {
    model_.exchange(
        role, layer_,
        std::make_unique<nn::RuledLinear>(std::make_unique<nn::DenseLinear>(quantised(role)),
                                          activation_rule(options_), model_.config().norm_eps));
  }
  for (const Role role : kNorms) model_.set_norm(role, layer_, transformed(role));
}

void OmniquantBlock::apply() {
  const torch::NoGradGuard no_grad;
  install();
}

double OmniquantBlock::step(const Tensor& x, const Tensor& target) {
  install();
  const Tensor loss = torch::mse_loss(model_.forward_block(layer_, x), target);
  optimizer_->adam.zero_grad();
  loss.backward();
  optimizer_->adam.step();
  return loss.item<double>();
}

void OmniquantBlock::train(const BlockSamples& samples,
                           const std::function<void(std::int64_t, double)>& on_step) {
  ONEBIT_CHECK(samples.windows > 0 && options_.training.epochs >= 0 && options_.training.batch > 0);
  std::int64_t done = 0;
  for (int epoch = 0; epoch < options_.training.epochs; ++epoch) {
    for (std::int64_t first = 0; first < samples.windows; first += options_.training.batch) {
      const std::int64_t count = std::min(options_.training.batch, samples.windows - first);
      const double loss = step(samples.inputs(first, count), samples.targets(first, count));
      if (!std::isfinite(loss)) {
        throw Error(
            ErrorCode::kNumeric,
            fmt::format("step {} of the block: found a loss of {}, expected a finite number",
                        done + 1, loss));
      }
      if (on_step) on_step(done, loss);
      ++done;
    }
  }
  apply();
}

arch::CodeValues OmniquantBlock::codes(Role role) const {
  const torch::NoGradGuard no_grad;
  const Matrix& matrix = matrices_.at(role);
  std::vector<Tensor> codes;
  std::vector<Tensor> scale;
  std::vector<Tensor> zero;
  matrix.each_part(transformed(role), options_,
                   [&](const Tensor& part, const nn::AffineLimits& limits) {
                     const nn::AffineCodes found = nn::encode_affine(part, limits, rounding_);
                     codes.push_back(found.codes.flatten(1));
                     scale.push_back(found.scale.flatten(1));
                     zero.push_back(found.zero.flatten(1));
                   });
  const auto floats = [](const std::vector<Tensor>& parts) {
    const Tensor all = torch::cat(parts, 1).to(torch::kFloat32).contiguous();
    return std::vector<float>(all.data_ptr<float>(), all.data_ptr<float>() + all.numel());
  };
  arch::CodeValues values;
  const Tensor all = torch::cat(codes, 1).contiguous();
  values.codes.assign(all.data_ptr<std::uint8_t>(), all.data_ptr<std::uint8_t>() + all.numel());
  values.ends = arch::group_ends(matrix.weight.size(1), options_.group_size);
  values.scale = floats(scale);
  values.zero = floats(zero);
  return values;
}

Tensor OmniquantBlock::weight(Role role) const {
  const torch::NoGradGuard no_grad;
  return transformed(role).to(torch::kFloat32);
}

const Tensor& OmniquantBlock::norm(Role role) const { return model_.norm(role, layer_); }

std::map<std::string, Tensor> OmniquantBlock::parameters() const {
  std::map<std::string, Tensor> all = scales_;
  for (const auto& [role, matrix] : matrices_) {
    const std::string name(arch::find_tensor(*model_.config().arch, role)->name);
    all[name + ".gamma"] = matrix.gamma;
    all[name + ".beta"] = matrix.beta;
  }
  return all;
}

}  // namespace onebit::quant
