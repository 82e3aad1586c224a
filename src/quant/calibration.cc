#include "quant/calibration.h"

#include <algorithm>
#include <fmt/format.h>
#include <torch/utils.h>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/interruption.h"
#include "nn/load.h"
#include "nn/ruled_linear.h"
#include "quant/fake_linear.h"

namespace onebit::quant {
namespace {

using arch::Role;
using torch::Tensor;

/// Enough rows to keep the products busy.
constexpr std::int64_t kBatchTokens = 2048;

std::size_t state_bytes(const arch::Checkpoint& source, const TokenWindows& windows) {
  return windows.tokens.size() * static_cast<std::size_t>(source.config().dim) * sizeof(float);
}

/// Second moments of more inputs are summed a panel of them at a time: what is in memory beside the
/// sum is as wide.
constexpr std::int64_t kPanel = 2048;

/// Adds Σ x xᵀ of `rows` [tokens, in] to the lower triangle of `sum`, f64 [in, in]: each product in
/// f32.
void add_products(const Tensor& rows, Tensor& sum) {
  const std::int64_t in = sum.size(0);
  for (std::int64_t k = 0; k < in; k += kPanel) {
    const std::int64_t width = std::min(kPanel, in - k);
    const Tensor below = rows.narrow(1, k, in - k).t();
    sum.narrow(0, k, in - k).narrow(1, k, width).add_(below.matmul(rows.narrow(1, k, width)));
  }
}

/// The upper triangle as the lower one.
void mirror(Tensor& sum) {
  const std::int64_t in = sum.size(0);
  for (std::int64_t k = 0; k + kPanel < in; k += kPanel) {
    const std::int64_t rest = in - k - kPanel;
    sum.narrow(0, k, kPanel)
        .narrow(1, k + kPanel, rest)
        .copy_(sum.narrow(0, k + kPanel, rest).narrow(1, k, kPanel).t());
  }
}

/// The matrices of a block's first half.
constexpr Role kAttention[] = {Role::kAttnQ, Role::kAttnK, Role::kAttnV, Role::kAttnOut};

bool is_attention(Role role) {
  return std::find(std::begin(kAttention), std::end(kAttention), role) != std::end(kAttention);
}

/// Ends a forward pass of which no more is wanted.
struct Enough {};

}  // namespace

/// The inputs of the matrix that is asked for, and of those that read the same tensor.
struct Calibration::Moment {
  Tensor input;  ///< of the batch under way; kept, so that no other gets its address
  Tensor sum;
  std::vector<Role> readers;
  bool has_readers = false;  ///< all of them: what follows the matrix need not be computed
};

/// Stands before a matrix and looks at what it reads.
class Calibration::Observer final : public nn::Linear {
 public:
  Observer(Role role, nn::Linear& inner, Role wanted, Moment& moment)
      : role_(role), inner_(inner), wanted_(wanted), moment_(moment) {}

  Tensor forward(const Tensor& x) override {
    if (role_ == wanted_) {
      const Tensor rows = x.reshape({-1, x.size(-1)}).to(torch::kFloat32);
      if (!moment_.sum.defined()) {
        moment_.sum = torch::zeros({rows.size(1), rows.size(1)}, torch::kFloat64);
      }
      add_products(rows, moment_.sum);
      if (moment_.has_readers) throw Enough();
      moment_.input = x;
    }
    if (moment_.input.defined()) {
      // Matrices are called in their order; the first of another input ends it.
      if (x.data_ptr() != moment_.input.data_ptr()) throw Enough();
      if (std::find(moment_.readers.begin(), moment_.readers.end(), role_) ==
          moment_.readers.end()) {
        moment_.readers.push_back(role_);
      }
    }
    return inner_.forward(x);
  }

  void collect(const std::string&, std::vector<nn::Parameter>&) const override {}

 private:
  Role role_;
  nn::Linear& inner_;
  Role wanted_;
  Moment& moment_;
};

Calibration::Calibration(const arch::Checkpoint& source, const TokenWindows& windows,
                         const std::filesystem::path& folder, std::stop_token stop,
                         bool with_targets)
    : source_(source),
      batch_windows_(std::max<std::int64_t>(1, kBatchTokens / windows.window)),
      stop_(std::move(stop)),
      file_(folder, state_bytes(source, windows)) {
  ONEBIT_CHECK(windows.count() > 0 && windows.window <= source.config().context &&
               windows.count() * windows.window == std::ssize(windows.tokens));
  const torch::NoGradGuard no_grad;
  const std::int64_t dim = source.config().dim;
  states_ = torch::from_blob(file_.data(), {windows.count(), windows.window, dim});
  const auto ends = nn::load_ends(source, torch::kFloat32);
  const Tensor tokens =
      torch::tensor(at::ArrayRef<text::TokenId>(windows.tokens.data(), windows.tokens.size()),
                    torch::kInt64)
          .view({windows.count(), windows.window});
  for (std::int64_t i = 0; i < batches(); ++i) {
    Tensor to = batch(states_, i);
    to.copy_(ends->embed(tokens.narrow(0, i * batch_windows_, to.size(0)).contiguous()));
  }
  if (!with_targets) return;
  full_file_.emplace(folder, state_bytes(source, windows));
  full_states_ = torch::from_blob(full_file_->data(), states_.sizes());
  for (std::int64_t i = 0; i < batches(); ++i) batch(full_states_, i).copy_(batch(states_, i));
}

std::int64_t Calibration::batches() const noexcept {
  return (states_.size(0) + batch_windows_ - 1) / batch_windows_;
}

Tensor Calibration::batch(const Tensor& states, std::int64_t index) const {
  require_running();
  const std::int64_t first = index * batch_windows_;
  return states.narrow(0, first, std::min(batch_windows_, states.size(0) - first));
}

template <class Step>
void Calibration::advance(const Tensor& states, const Step& step) {
  const torch::NoGradGuard no_grad;
  for (std::int64_t i = 0; i < batches(); ++i) {
    Tensor x = batch(states, i);
    x.copy_(step(x));
  }
}

Tensor Calibration::through_rest(const Tensor& x) {
  return in_the_middle_ ? block_->forward_ffn(layer_, x) : block_->forward_block(layer_, x);
}

void Calibration::go_to_the_middle() {
  const bool all = std::all_of(std::begin(kAttention), std::end(kAttention),
                               [&](Role role) { return replaced_.contains(role); });
  if (!all || in_the_middle_) return;
  advance(states_, [&](const Tensor& x) { return block_->forward_attention(layer_, x); });
  in_the_middle_ = true;
}

void Calibration::require_running() const { throw_if_stopped(stop_); }

void Calibration::begin_block(std::int64_t layer) {
  ONEBIT_CHECK(layer == layer_ + 1 && block_ == nullptr);
  layer_ = layer;
  block_ = nn::load_block(source_, torch::kFloat32, layer);
  has_targets_ = false;
  in_the_middle_ = false;
  replaced_.clear();
}

nn::DecoderModel& Calibration::block() {
  ONEBIT_CHECK(block_ != nullptr);
  return *block_;
}

void Calibration::make_targets() {
  ONEBIT_CHECK(block_ != nullptr && full_states_.defined() && !has_targets_);
  advance(full_states_, [&](const Tensor& x) { return block_->forward_block(layer_, x); });
  has_targets_ = true;
}

Tensor Calibration::inputs(std::int64_t first, std::int64_t count) const {
  ONEBIT_CHECK(!in_the_middle_);
  require_running();
  return states_.narrow(0, first, count);
}

Tensor Calibration::targets(std::int64_t first, std::int64_t count) const {
  ONEBIT_CHECK(has_targets_);
  require_running();
  return full_states_.narrow(0, first, count);
}

Tensor Calibration::second_moment(Role role) {
  ONEBIT_CHECK(block_ != nullptr);
  if (const auto found = moments_.find(role); found != moments_.end()) return found->second;
  if (!is_attention(role)) go_to_the_middle();
  const torch::NoGradGuard no_grad;
  Moment moment;
  std::map<Role, std::unique_ptr<nn::Linear>> inner;
  for (const arch::TensorSpec& spec : source_.config().arch->tensors) {
    if (!spec.linear) continue;
    auto observer =
        std::make_unique<Observer>(spec.role, block_->linear(spec.role, layer_), role, moment);
    inner[spec.role] = block_->exchange(spec.role, layer_, std::move(observer));
  }
  for (std::int64_t i = 0; i < batches(); ++i) {
    moment.input.reset();
    try {
      through_rest(batch(states_, i));
    } catch (const Enough&) {  // what is wanted is in moment.sum
    }
    moment.has_readers = true;
  }
  for (auto& [replaced, linear] : inner) block_->exchange(replaced, layer_, std::move(linear));
  mirror(moment.sum);
  const Tensor h = moment.sum.mul_(2.0 / static_cast<double>(states_.size(0)));
  if (!h.isfinite().all().item<bool>()) {
    throw Error(ErrorCode::kNumeric,
                "inputs from the calibration text: found a value that is not "
                "finite, expected finite ones");
  }
  for (const Role reader : moment.readers) moments_[reader] = h;
  return h;
}

void Calibration::replace(Role role, const FakeQuantized& quantized) {
  ONEBIT_CHECK(block_ != nullptr);
  std::unique_ptr<nn::Linear> linear = std::make_unique<FakeLinear>(quantized, torch::kFloat32);
  if (quantized.inputs.changes_inputs()) {
    linear = std::make_unique<nn::RuledLinear>(std::move(linear), quantized.inputs,
                                               source_.config().norm_eps);
  }
  block_->exchange(role, layer_, std::move(linear));
  replaced_.insert(role);
  moments_.erase(role);
}

void Calibration::end_block() {
  ONEBIT_CHECK(block_ != nullptr);
  moments_.clear();
  if (layer_ + 1 < source_.config().layers) {
    advance(states_, [&](const Tensor& x) { return through_rest(x); });
  }
  block_.reset();
}

}  // namespace onebit::quant
