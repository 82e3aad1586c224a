// A student's start: signs, scales and latent weights of every matrix of the teacher.
#include <fmt/format.h>
#include <span>

#include "base/error.h"
#include "distill/trainer.h"
#include "quant/svid.h"

namespace onebit::distill {
namespace {

torch::Tensor tensor_of(const std::vector<float>& values) {
  return torch::tensor(at::ArrayRef<float>(values.data(), values.size()));
}

}  // namespace

std::unique_ptr<nn::DecoderModel> start_student(const arch::Checkpoint& teacher,
                                                const nn::FrozenWeights& frozen,
                                                const Recipe& recipe, ThreadPool& pool,
                                                Progress& progress, const std::stop_token& stop) {
  std::uint64_t total = 0;
  for (const arch::TensorSpec& spec : teacher.config().arch->tensors) {
    if (spec.linear) total += static_cast<std::uint64_t>(teacher.config().layers);
  }
  std::uint64_t done = 0;
  return nn::make_student(
      teacher, frozen, recipe.compute, {recipe.form, recipe.sign_gradient},
      [&](const arch::TensorSpec& spec, std::int64_t layer, const torch::Tensor& w) {
        if (stop.stop_requested()) {
          throw Error(ErrorCode::kInterrupted, "interrupted before the first step; nothing saved");
        }
        const std::string name = arch::gguf_name(spec, layer);
        progress.update(done++, total, name);
        const std::span<const float> weights(w.const_data_ptr<float>(),
                                             static_cast<std::size_t>(w.numel()));
        quant::SvidResult svid;
        try {
          svid = quant::svid(weights, w.size(0), w.size(1), recipe.svid, pool);
        } catch (const Error& error) {
          throw Error(error.code(),
                      fmt::format("{}: {}: {}", teacher.path().string(), name, error.what()));
        }
        const torch::Tensor g = tensor_of(svid.g);
        const torch::Tensor h = tensor_of(svid.h);
        return nn::OneBitStart{nn::latent_start(w, g, h, recipe.latent, recipe.latent_scale), g, h};
      });
}

}  // namespace onebit::distill
