// The method `omniquant`: grids of codes whose limits are trained on calibration text, a block at a
// time, and with them scales that move between tensors.
#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <set>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "nn/activations.h"
#include "nn/affine_rounding.h"
#include "quant/calibration.h"
#include "quant/code_quantizer.h"
#include "quant/omniquant_block.h"
#include "quant/quantize_model.h"

namespace onebit::quant {
namespace {

using arch::Role;
using torch::Tensor;

constexpr int kBits[] = {4, 2, 3, 5, 6, 7, 8};

std::vector<float> floats(const Tensor& t) {
  const Tensor flat = t.to(torch::kFloat32).contiguous();
  return {flat.data_ptr<float>(), flat.data_ptr<float>() + flat.numel()};
}

struct Ranges {
  bool one_sign = false;  ///< of some group's weights: its zero point is then outside the codes
  double widest = 0;      ///< range of a group with 0
};

Ranges ranges_of(const MatrixTask& task, std::int64_t group_size) {
  const std::vector<std::int32_t> ends = arch::group_ends(task.in, group_size);
  Ranges ranges;
  for (std::int64_t r = 0; r < task.out; ++r) {
    const std::span<const float> row = task.weights.subspan(static_cast<std::size_t>(r * task.in),
                                                            static_cast<std::size_t>(task.in));
    std::int32_t begin = 0;
    for (const std::int32_t end : ends) {
      const auto [low, high] = std::minmax_element(row.begin() + begin, row.begin() + end);
      ranges.one_sign = ranges.one_sign || *low > 0 || *high < 0;
      ranges.widest = std::max(ranges.widest, std::max(0.0, static_cast<double>(*high)) -
                                                  std::min(0.0, static_cast<double>(*low)));
      begin = end;
    }
  }
  return ranges;
}

/// That the grids' steps can be what the weights take: others would be limited in silence.
void require_steps(double widest, int bits) {
  const double step = widest / ((1 << bits) - 1);
  if (widest == 0 || (step >= nn::kLeastAffineStep && step <= nn::kMostAffineStep)) return;
  throw Error(ErrorCode::kNumeric,
              fmt::format("weights: found a range of {:g}, {:g} a step of {} bits, expected steps "
                          "of {:g} to {:g}",
                          widest, step, bits, nn::kLeastAffineStep, nn::kMostAffineStep));
}

class OmniquantQuantizer final : public CodeQuantizer {
 public:
  OmniquantQuantizer(const arch::Checkpoint& source, const MethodOptions& options)
      : CodeQuantizer(options.scales) {
    options_.bits = options.bits;
    options_.activation_bits = options.activation_bits;
    options_.group_size = options.group_size;
    options_.scales = options.scales;
    options_.training = options.omniquant;
    look_at_weights(source);
  }

  arch::ActivationRule activations() const override { return activation_rule(options_); }

  void train_block(Calibration& calibration, const Note& note) override {
    const std::int64_t layer = calibration.layer();
    InputPeaks peaks;
    if (options_.training.let) {
      peaks = input_peaks(calibration.block(), layer, [&] { calibration.make_targets(); });
    } else {
      calibration.make_targets();
    }
    OmniquantBlock block(calibration.block(), layer, options_, peaks);
    train(block, calibration, note);
    layer_ = layer;
    matrices_.clear();
    norms_.clear();
    for (const arch::TensorSpec& spec : calibration.block().config().arch->tensors) {
      if (spec.linear) {
        matrices_[spec.role] = {block.codes(spec.role), {}};
        if (options_.training.let) matrices_[spec.role].weights = floats(block.weight(spec.role));
      } else if (spec.per_layer && options_.training.let) {
        norms_[spec.role] = floats(block.norm(spec.role));
      }
    }
  }

  void save_block(BlockPart& part) const override {
    CodeQuantizer::save_block(part);
    for (const auto& [role, trained] : matrices_) {
      if (!trained.weights.empty()) part.add(part_name(role), std::span(trained.weights));
    }
    for (const auto& [role, norm] : norms_) part.add(part_name(role), std::span(norm));
  }

  void restore_block(std::int64_t layer, std::span<const Role> matrices, const BlockPart& part,
                     Calibration* calibration) override {
    ONEBIT_CHECK(calibration != nullptr);
    CodeQuantizer::restore_block(layer, matrices, part, calibration);
    calibration->make_targets();
    layer_ = layer;
    matrices_.clear();
    norms_.clear();
    nn::DecoderModel& block = calibration->block();
    block.set_attention_hooks(nn::attention_hooks(activations()));
    for (const arch::TensorSpec& spec : block.config().arch->tensors) {
      std::vector<float> values = part.floats(part_name(spec.role));
      if (spec.linear) {
        matrices_[spec.role].weights = std::move(values);
      } else if (!values.empty()) {
        if (std::ssize(values) != block.config().dim) {
          throw Error(ErrorCode::kCorrupt,
                      fmt::format("found a norm of {} values in what an earlier run has left, "
                                  "expected {}; --restart begins anew",
                                  values.size(), block.config().dim));
        }
        block.set_norm(spec.role, layer, torch::tensor(at::ArrayRef<float>(values)));
        norms_[spec.role] = std::move(values);
      }
    }
  }

  void adjust(Role role, std::int64_t layer, std::span<float> values) override {
    const auto found = norms_.find(role);
    if (layer != layer_ || found == norms_.end()) return;
    ONEBIT_CHECK(found->second.size() == values.size());
    std::copy(found->second.begin(), found->second.end(), values.begin());
  }

 protected:
  arch::CodeSpec spec(const arch::TensorId& id, const formats::Shape& shape) const override {
    arch::CodeSpec spec;
    spec.bits = options_.bits;
    spec.groups = arch::group_count(shape[1], options_.group_size);
    // A scale of the transformation may change its sign, and so that of weights; and a small scale
    // that f16 rounds down may make 256 of the zero point 255.
    const bool wide = options_.training.let || options_.bits == 8 || one_sign_.contains(id);
    spec.zero = wide ? formats::DType::kI16 : formats::DType::kI8;
    return spec;
  }

  arch::CodeValues quantize(const MatrixTask& task) override { return trained(task).values; }

  std::span<const float> coded_weights(const MatrixTask& task) override {
    if (!options_.training.let) return task.weights;
    const std::vector<float>& weights = trained(task).weights;
    if (weights.size() == task.weights.size()) return weights;
    throw Error(ErrorCode::kCorrupt,
                "found no transformed weights in what an earlier run has left, expected some; "
                "--restart begins anew");
  }

 private:
  struct Trained {
    arch::CodeValues values;
    std::vector<float> weights;  ///< transformed; empty without the transformation
  };

  /// Of a transformed matrix or norm in a part.
  static std::string part_name(Role role) {
    return fmt::format("{}.transformed", static_cast<int>(role));
  }

  const Trained& trained(const MatrixTask& task) const {
    ONEBIT_CHECK(task.layer == layer_);
    return matrices_.at(task.role);
  }

  /// Which zero points they will need; hours are not to be spent before one is found that is not
  /// finite, or beyond all grids.
  void look_at_weights(const arch::Checkpoint& source) {
    for (const arch::TensorId& id : arch::tensor_ids(source.config())) {
      const arch::TensorSpec& tensor = *arch::find_tensor(*source.config().arch, id.role);
      if (!tensor.linear) continue;
      const formats::Shape shape = arch::shape_of(source.config(), tensor);
      std::vector<float> weights(static_cast<std::size_t>(shape[0] * shape[1]));
      source.read_f32(id.role, id.layer, weights);
      source.release(id.role, id.layer);
      const MatrixTask task = {id.role, id.layer, shape[0], shape[1], weights};
      try {
        require_finite(task);
        const Ranges ranges = ranges_of(task, options_.group_size);
        require_steps(ranges.widest, options_.bits);
        // Trained scales are smaller, but for those of a transformation.
        const auto widest_step = static_cast<float>(ranges.widest / ((1 << options_.bits) - 1));
        if (!options_.training.let) {
          arch::require_precise_scales({&widest_step, 1}, options_.scales, "scales");
        }
        if (ranges.one_sign) one_sign_.insert(id);
      } catch (const Error& error) {
        throw located(error, source, arch::gguf_name(tensor, id.layer));
      }
    }
  }

  void train(OmniquantBlock& block, const Calibration& calibration, const Note& note) const {
    const OmniquantTraining& training = options_.training;
    const BlockSamples samples = {
        calibration.windows(),
        [&](std::int64_t first, std::int64_t count) { return calibration.inputs(first, count); },
        [&](std::int64_t first, std::int64_t count) { return calibration.targets(first, count); }};
    const std::int64_t steps = (samples.windows + training.batch - 1) / training.batch;
    double first_loss = 0;
    double sum = 0;
    block.train(samples, [&](std::int64_t step, double loss) {
      const std::int64_t of_epoch = step % steps;
      sum = of_epoch == 0 ? loss : sum + loss;
      const double mean = sum / static_cast<double>(of_epoch + 1);
      if (step == steps - 1) first_loss = mean;
      note(fmt::format("blk.{}: epoch {} of {}, loss {:.4g}", calibration.layer(), step / steps + 1,
                       training.epochs, mean));
    });
    log(LogLevel::kInfo,
        fmt::format("blk.{}: loss {:.4g} in the first epoch, {:.4g} in the last",
                    calibration.layer(), first_loss, sum / static_cast<double>(steps)));
  }

  OmniquantOptions options_;
  std::set<arch::TensorId> one_sign_;  ///< matrices with groups of one sign
  std::int64_t layer_ = -1;            ///< whose results these are:
  std::map<Role, Trained> matrices_;
  std::map<Role, std::vector<float>> norms_;
};

}  // namespace

extern const Method method_omniquant = {
    .name = "omniquant",
    .summary = "codes between limits that are trained block by block to keep its output",
    .bits = kBits,
    .calibrates = Calibrates::kAlways,
    .trains_blocks = true,
    .make = [](const arch::Checkpoint& source, const MethodOptions& options,
               ThreadPool&) -> std::unique_ptr<Quantizer> {
      return std::make_unique<OmniquantQuantizer>(source, options);
    },
};

}  // namespace onebit::quant
