#include "distill/student.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <torch/utils.h>
#include <vector>

#include "base/error.h"
#include "distill/mixture.h"
#include "distill/student_method.h"
#include "formats/dequantize.h"
#include "nn/activations.h"
#include "nn/pack.h"
#include "quant/svid_layer.h"

namespace onebit::distill {
namespace {

/// What is trained beside matrices.
void train_others(const Recipe& recipe, nn::DecoderModel& student) {
  if (recipe.train_norms) student.train_norms();
  student.set_attention_hooks(nn::attention_hooks(activation_rule(recipe)));
  if (recipe.train_ends && student.frozen().output_norm.defined()) student.train_ends();
}

/// Null for a matrix that is trained.
nn::LinearFactory layers_of(const Mixture& mixture, torch::Device device) {
  return [&mixture, device](const arch::TensorSpec& spec,
                            std::int64_t layer) -> std::unique_ptr<nn::Linear> {
    const arch::TensorId id{spec.role, layer};
    return mixture.keeps(id) ? mixture.layer(id, device) : nullptr;
  };
}

torch::Tensor tensor_of(const std::vector<float>& values) {
  return torch::tensor(at::ArrayRef<float>(values.data(), values.size()));
}

/// The scales of one layer's matrices, solved together where they share their input scale.
class LayerStarts {
 public:
  LayerStarts(const arch::Checkpoint& teacher, const Recipe& recipe, torch::Device device,
              ThreadPool& pool)
      : teacher_(teacher),
        recipe_(recipe),
        device_(device),
        pool_(pool),
        groups_(quant::start_groups(teacher.config(), recipe.form)) {}

  /// Everything but the latent weights. Layers come in order.
  nn::OneBitStart of(arch::Role role, std::int64_t layer) {
    if (layer != layer_) solve(layer);
    return starts_.at(role);
  }

 private:
  void solve(std::int64_t layer) {
    layer_ = layer;
    starts_.clear();
    const auto type = nn::master_type(recipe_.compute);
    for (const quant::StartGroup& group : groups_) {
      const quant::SharedSvidResult result =
          quant::svid_group(teacher_, group, layer, recipe_.group_size, recipe_.svid, pool_);
      nn::OneBitStart start;
      // One tensor for all readers: what is shared from the start stays shared.
      start.g = tensor_of(result.g).to(device_, type).requires_grad_();
      if (!group.tie.empty()) start.tie = torch::tensor(group.tie, torch::kInt64).to(device_);
      for (std::size_t i = 0; i < group.readers.size(); ++i) {
        start.h = tensor_of(result.parts[i].h).to(device_, type);
        if (recipe_.group_size > 0) {
          const auto out = dim_of(group.readers[i]);
          start.h = start.h.view({out, -1});
        }
        starts_[group.readers[i]] = start;
      }
    }
  }

  std::int64_t dim_of(arch::Role role) const {
    const arch::TensorSpec* spec = arch::find_tensor(*teacher_.config().arch, role);
    return arch::shape_of(teacher_.config(), *spec)[0];
  }

  const arch::Checkpoint& teacher_;
  const Recipe& recipe_;
  torch::Device device_;
  ThreadPool& pool_;
  std::vector<quant::StartGroup> groups_;
  std::map<arch::Role, nn::OneBitStart> starts_;
  std::int64_t layer_ = -1;
};

}  // namespace

std::unique_ptr<nn::DecoderModel> start_student(const arch::Checkpoint& teacher,
                                                const nn::FrozenWeights& frozen,
                                                const Recipe& recipe, ThreadPool& pool,
                                                const StartProgress& progress) {
  return start_student(teacher, frozen, recipe, pool, progress, {0, teacher.config().layers});
}

std::unique_ptr<nn::DecoderModel> start_student(const arch::Checkpoint& teacher,
                                                const nn::FrozenWeights& frozen,
                                                const Recipe& recipe, ThreadPool& pool,
                                                const StartProgress& progress,
                                                nn::LayerRange range) {
  const torch::Device device = frozen.embedding.device();
  const Mixture mixture(recipe, teacher);
  const nn::LinearFactory kept_layer = layers_of(mixture, device);
  std::unique_ptr<nn::DecoderModel> student;
  if (recipe.method == StudentMethod::kOneBit) {
    LayerStarts starts(teacher, recipe, device, pool);
    student = nn::make_student(
        teacher, frozen, recipe.compute, recipe.one_bit(),
        [&](const arch::TensorSpec& spec, std::int64_t layer, const torch::Tensor& w) {
          if (progress) progress(spec, layer);
          nn::OneBitStart start = starts.of(spec.role, layer);
          const torch::Tensor level =
              nn::levels(start.g, start.h, start.tie, w.size(1), recipe.group_size);
          start.latent = nn::latent_start(w.to(device), level, recipe.latent, recipe.latent_scale);
          return start;
        },
        range, kept_layer);
  } else {
    student = std::make_unique<nn::DecoderModel>(
        teacher.config(), frozen, recipe.compute,
        [&](const arch::TensorSpec& spec, std::int64_t layer) {
          if (progress) progress(spec, layer);
          if (auto own = kept_layer(spec, layer)) return own;
          return start_layer(mixture.recipe_of({spec.role, layer}), teacher.config().norm_eps,
                             nn::read_dense(teacher, spec.role, layer).to(device));
        },
        range);
  }
  train_others(recipe, *student);
  return student;
}

namespace {

/// The starts of a packed student's matrices; those that share g in its form share it here.
class PackedStarts {
 public:
  PackedStarts(const arch::Checkpoint& teacher, const arch::Checkpoint& packed,
               const Recipe& recipe, torch::Device device)
      : teacher_(teacher),
        packed_(packed),
        recipe_(recipe),
        device_(device),
        groups_(quant::start_groups(teacher.config(), recipe.form)) {}

  nn::OneBitStart of(arch::Role role, std::int64_t layer) {
    nn::OneBitStart start = nn::packed_start(packed_, role, layer, recipe_.latent_scale);
    if (recipe_.form != arch::Form::kFoldable) return start;
    if (layer != layer_) shared_.clear();
    layer_ = layer;
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      const quant::StartGroup& group = groups_[i];
      if (std::find(group.readers.begin(), group.readers.end(), role) == group.readers.end()) {
        continue;
      }
      torch::Tensor& g = shared_[i];
      if (!g.defined()) g = unfolded(group, start.latent.size(1));
      start.g = g;
      if (!group.tie.empty()) start.tie = torch::tensor(group.tie, torch::kInt64);
    }
    return start;
  }

 private:
  /// What the readers' g was, if it went into a norm; else ones: it is in the other tensor's h.
  torch::Tensor unfolded(const quant::StartGroup& group, std::int64_t in) const {
    using arch::Role;
    const auto type = nn::master_type(recipe_.compute);
    torch::Tensor g;
    if (group.target == Role::kAttnNorm || group.target == Role::kFfnNorm) {
      const torch::Tensor before = nn::read_dense(teacher_, *group.target, layer_);
      const torch::Tensor after = nn::read_dense(packed_, *group.target, layer_);
      g = torch::where(before == 0, torch::ones_like(before), after / before);
    } else {
      const std::int64_t size =
          group.tie.empty() ? in : 1 + *std::max_element(group.tie.begin(), group.tie.end());
      g = torch::ones({size});
    }
    return g.to(device_, type).requires_grad_();
  }

  const arch::Checkpoint& teacher_;
  const arch::Checkpoint& packed_;
  const Recipe& recipe_;
  torch::Device device_;
  std::vector<quant::StartGroup> groups_;
  std::map<std::size_t, torch::Tensor> shared_;
  std::int64_t layer_ = -1;
};

/// The packed student's norms, where they are trained; where not, they must be the teacher's.
void take_norms(const arch::Checkpoint& packed, const Recipe& recipe, nn::LayerRange range,
                nn::DecoderModel& student) {
  const torch::NoGradGuard no_grad;
  const auto take = [&](arch::Role role, std::int64_t layer, torch::Tensor into) {
    const torch::Tensor values =
        nn::read_dense(packed, role, layer).to(into.device(), into.dtype());
    if (torch::equal(values, into)) return;
    if (!recipe.train_norms) {
      throw Error(
          ErrorCode::kUnsupported,
          fmt::format("{}: {}: found a norm that was trained, expected --train-norms",
                      packed.path().string(),
                      arch::gguf_name(*arch::find_tensor(*packed.config().arch, role), layer)));
    }
    into.copy_(values);
  };
  for (std::int64_t layer = range.first; layer < range.first + range.count; ++layer) {
    if (recipe.method == StudentMethod::kOneBit && recipe.form == arch::Form::kFoldable) break;
    for (const arch::Role role : {arch::Role::kAttnNorm, arch::Role::kFfnNorm}) {
      take(role, layer, student.norm(role, layer));
    }
  }
  if (student.frozen().output_norm.defined()) {
    take(arch::Role::kOutputNorm, -1, student.frozen().output_norm);
  }
}

/// Its embedding and head, where they are trained; where not, they must be the teacher's as stored.
void take_ends(const arch::Checkpoint& teacher, const arch::Checkpoint& packed,
               const Recipe& recipe, nn::DecoderModel& student) {
  if (!student.frozen().output_norm.defined()) return;  // blocks alone
  const torch::NoGradGuard no_grad;
  for (const arch::Role role : {arch::Role::kTokenEmbedding, arch::Role::kOutput}) {
    const auto stored = packed.dense(role, -1);
    if (!stored) continue;  // a tied head
    if (recipe.train_ends) {
      torch::Tensor into =
          role == arch::Role::kOutput ? student.frozen().head : student.frozen().embedding;
      into.copy_(nn::read_dense(packed, role, -1));
      continue;
    }
    const std::vector<float> values = nn::values_of(nn::read_dense(teacher, role, -1));
    std::vector<std::byte> expected(stored->view.data.size());
    formats::quantize(stored->view.dtype, values, expected);
    if (std::equal(expected.begin(), expected.end(), stored->view.data.begin())) continue;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: {}: found a matrix that was trained, expected --train-ends",
                            packed.path().string(),
                            arch::gguf_name(*arch::find_tensor(*packed.config().arch, role), -1)));
  }
}

}  // namespace

std::unique_ptr<nn::DecoderModel> packed_student(const arch::Checkpoint& teacher,
                                                 const arch::Checkpoint& packed,
                                                 const nn::FrozenWeights& frozen,
                                                 const Recipe& recipe, nn::LayerRange range) {
  const torch::Device device = frozen.embedding.device();
  const Mixture mixture(recipe, teacher);
  const nn::LinearFactory kept_layer = layers_of(mixture, device);
  std::unique_ptr<nn::DecoderModel> student;
  if (recipe.method == StudentMethod::kOneBit) {
    PackedStarts starts(teacher, packed, recipe, device);
    student = nn::make_student(
        teacher, frozen, recipe.compute, recipe.one_bit(),
        [&](const arch::TensorSpec& spec, std::int64_t layer, const torch::Tensor&) {
          return starts.of(spec.role, layer);
        },
        range, kept_layer);
  } else {
    student = std::make_unique<nn::DecoderModel>(
        teacher.config(), frozen, recipe.compute,
        [&](const arch::TensorSpec& spec, std::int64_t layer) {
          if (auto own = kept_layer(spec, layer)) return own;
          return packed_layer(recipe, packed, spec.role, layer, device);
        },
        range);
  }
  train_others(recipe, *student);
  take_norms(packed, recipe, range, *student);
  take_ends(teacher, packed, recipe, *student);
  return student;
}

}  // namespace onebit::distill
