#include "quant/svid_layer.h"

#include <fmt/format.h>
#include <utility>

#include "arch/folding.h"
#include "base/error.h"

namespace onebit::quant {

std::vector<StartGroup> start_groups(const arch::ModelConfig& config, arch::Form form) {
  std::vector<StartGroup> result;
  if (form == arch::Form::kFoldable) {
    for (arch::Folding& folding : arch::foldings(config)) {
      result.push_back({std::move(folding.readers), std::move(folding.tie), folding.target});
    }
    return result;
  }
  for (const arch::TensorSpec& spec : config.arch->tensors) {
    if (spec.linear) result.push_back({{spec.role}, {}, {}});
  }
  return result;
}

SharedSvidResult svid_group(const arch::Checkpoint& source, const StartGroup& group,
                            std::int64_t layer, std::int64_t group_size, const SvidOptions& options,
                            ThreadPool& pool) {
  const arch::ModelConfig& config = source.config();
  std::vector<std::vector<float>> weights;
  SharedSvid problem;
  problem.tie = group.tie;
  problem.group_size = group_size;
  for (const arch::Role role : group.readers) {
    const arch::TensorSpec& spec = *arch::find_tensor(*config.arch, role);
    const formats::Shape shape = arch::shape_of(config, spec);
    std::vector<float>& w = weights.emplace_back(static_cast<std::size_t>(shape[0] * shape[1]));
    source.read_f32(role, layer, w);
    source.release(role, layer);
    problem.in = shape[1];
    problem.parts.push_back({w, shape[0], arch::gguf_name(spec, layer)});
  }
  try {
    return svid_shared(problem, options, pool);
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", source.path().string(), error.what()));
  }
}

}  // namespace onebit::quant
