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

/// Whether the norms of blocks in a packed file are a student's own: in the form kFoldable scales
/// are folded into them.
bool has_own_norms(const Recipe& recipe) {
  return recipe.method != StudentMethod::kOneBit || recipe.form != arch::Form::kFoldable;
}

/// The packed student's norms, where they are trained.
void take_norms(const arch::Checkpoint& packed, const Recipe& recipe, nn::LayerRange range,
                nn::DecoderModel& student) {
  if (!recipe.train_norms) return;
  const torch::NoGradGuard no_grad;
  if (has_own_norms(recipe)) {
    for (std::int64_t layer = range.first; layer < range.first + range.count; ++layer) {
      for (const arch::Role role : {arch::Role::kAttnNorm, arch::Role::kFfnNorm}) {
        torch::Tensor(student.norm(role, layer)).copy_(nn::read_dense(packed, role, layer));
      }
    }
  }
  torch::Tensor output_norm = student.frozen().output_norm;
  if (output_norm.defined()) {
    output_norm.copy_(nn::read_dense(packed, arch::Role::kOutputNorm, -1));
  }
}

/// Its embedding and head, where they are trained.
void take_ends(const arch::Checkpoint& packed, const Recipe& recipe, nn::DecoderModel& student) {
  if (!recipe.train_ends || !student.frozen().output_norm.defined()) return;
  const torch::NoGradGuard no_grad;
  for (const arch::Role role : {arch::Role::kTokenEmbedding, arch::Role::kOutput}) {
    if (!packed.dense(role, -1)) continue;  // a tied head
    torch::Tensor into =
        role == arch::Role::kOutput ? student.frozen().head : student.frozen().embedding;
    into.copy_(nn::read_dense(packed, role, -1));
  }
}

/// Whether `packed` has what the teacher's tensor becomes in the type that it is stored in.
bool is_stored_as(const arch::Checkpoint& teacher, const arch::Checkpoint::Stored& stored,
                  arch::Role role) {
  const std::vector<float> values = nn::values_of(nn::read_dense(teacher, role, -1));
  std::vector<std::byte> expected(stored.view.data.size());
  formats::quantize(stored.view.dtype, values, expected);
  return std::equal(expected.begin(), expected.end(), stored.view.data.begin());
}

}  // namespace

void require_untrained(const arch::Checkpoint& teacher, const arch::Checkpoint& packed,
                       const Recipe& recipe) {
  const auto fail = [&](arch::Role role, std::int64_t layer, const char* what, const char* flag) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{}: {}: found a {} that was trained, expected {}", packed.path().string(),
                    arch::gguf_name(*arch::find_tensor(*packed.config().arch, role), layer), what,
                    flag));
  };
  const auto require_norm = [&](arch::Role role, std::int64_t layer) {
    if (torch::equal(nn::read_dense(packed, role, layer), nn::read_dense(teacher, role, layer))) {
      return;
    }
    fail(role, layer, "norm", "--train-norms");
  };
  if (!recipe.train_norms) {
    const std::int64_t layers = has_own_norms(recipe) ? packed.config().layers : 0;
    for (std::int64_t layer = 0; layer < layers; ++layer) {
      require_norm(arch::Role::kAttnNorm, layer);
      require_norm(arch::Role::kFfnNorm, layer);
    }
    require_norm(arch::Role::kOutputNorm, -1);
  }
  if (recipe.train_ends) return;
  for (const arch::Role role : {arch::Role::kTokenEmbedding, arch::Role::kOutput}) {
    const auto stored = packed.dense(role, -1);
    if (!stored || is_stored_as(teacher, *stored, role)) continue;  // none: a tied head
    fail(role, -1, "matrix", "--train-ends");
  }
}

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
  take_ends(packed, recipe, *student);
  return student;
}

}  // namespace onebit::distill
