#include "distill/student.h"

#include <map>
#include <torch/utils.h>

#include "quant/svid_layer.h"

namespace onebit::distill {
namespace {

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
  LayerStarts starts(teacher, recipe, device, pool);
  auto student = nn::make_student(
      teacher, frozen, recipe.compute, recipe.one_bit(),
      [&](const arch::TensorSpec& spec, std::int64_t layer, const torch::Tensor& w) {
        if (progress) progress(spec, layer);
        nn::OneBitStart start = starts.of(spec.role, layer);
        const torch::Tensor level =
            nn::levels(start.g, start.h, start.tie, w.size(1), recipe.group_size);
        start.latent = nn::latent_start(w.to(device), level, recipe.latent, recipe.latent_scale);
        return start;
      },
      range);
  if (recipe.train_norms) student->train_norms();
  return student;
}

}  // namespace onebit::distill
