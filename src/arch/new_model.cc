#include "arch/new_model.h"

#include <cmath>
#include <fmt/format.h>
#include <numbers>
#include <utility>
#include <vector>

#include "arch/gguf_config.h"
#include "arch/gguf_tokenizer.h"
#include "arch/packed_format.h"
#include "base/error.h"
#include "base/rng.h"

namespace onebit::arch {
namespace {

constexpr double kDeviation = 0.02;

/// Normal numbers by Box and Muller's transform, one of each pair.
double normal(Rng& rng) {
  const double u = 1.0 - rng.uniform();  // (0, 1]
  return std::sqrt(-2 * std::log(u)) * std::cos(2 * std::numbers::pi * rng.uniform());
}

std::vector<float> draw(const TensorSpec& spec, const ModelConfig& config, std::int64_t count,
                        Rng& rng) {
  std::vector<float> values(static_cast<std::size_t>(count), 1.0F);
  if (spec.cols == Dim::kNone) return values;
  const bool adds = spec.role == Role::kAttnOut || spec.role == Role::kFfnDown;
  const double deviation =
      adds ? kDeviation / std::sqrt(2.0 * static_cast<double>(config.layers)) : kDeviation;
  for (float& value : values) value = static_cast<float>(deviation * normal(rng));
  return values;
}

}  // namespace

void write_new_model(const std::filesystem::path& out, const ModelConfig& config,
                     const Checkpoint& tokenizer, const std::string& name, std::uint64_t seed) {
  validate(config, out.string());
  std::optional<text::TokenizerData> data = tokenizer.tokenizer_data();
  if (!data) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("{}: the model has no tokenizer", tokenizer.path().string()));
  }
  pad_tokens(*data, config.vocab);
  file::GgufWriter writer(out);
  for (auto& [key, value] : config_to_gguf(config)) writer.set(key, std::move(value));
  writer.set("general.type", file::GgufValue{std::string("model")});
  writer.set("general.name", file::GgufValue{name});
  for (auto& [key, value] : tokenizer_to_gguf(*data)) writer.set(key, std::move(value));
  if (std::string source = tokenizer.chat_template(); !source.empty()) {
    writer.set(kChatTemplateKey, file::GgufValue{std::move(source)});
  }
  const auto tensor_name = [&](const TensorId& id) {
    return gguf_name(*find_tensor(*config.arch, id.role), id.layer) + std::string(kWeightSuffix);
  };
  for (const TensorId& id : tensor_ids(config)) {
    writer.declare(tensor_name(id), formats::DType::kF32,
                   shape_of(config, *find_tensor(*config.arch, id.role)));
  }
  Rng rng(seed);
  for (const TensorId& id : tensor_ids(config)) {
    const TensorSpec& spec = *find_tensor(*config.arch, id.role);
    const auto count = formats::element_count(shape_of(config, spec));
    writer.write(tensor_name(id), std::as_bytes(std::span<const float>(
                                      draw(spec, config, static_cast<std::int64_t>(*count), rng))));
  }
  writer.finish();
}

}  // namespace onebit::arch
