#include "cli/model_summary.h"

#include <fmt/format.h>
#include <optional>

#include "arch/packed_format.h"
#include "base/check.h"
#include "file/gguf.h"

namespace onebit::cli {
namespace {

/// Bytes of what a packed matrix has beside its signs or codes: Checkpoint hands out the values,
/// the file knows how wide they are stored.
std::uint64_t scale_bytes(const file::GgufFile& packed, const std::string& name) {
  std::uint64_t bytes = 0;
  for (const std::string_view suffix :
       {arch::kInScaleSuffix, arch::kOutScaleSuffix, arch::kGroupsSuffix, arch::kScaleSuffix,
        arch::kZeroSuffix, arch::kLevelsSuffix, arch::kRowScaleSuffix, arch::kKindsSuffix,
        arch::kOrderSuffix}) {
    const file::GgufTensor* tensor = packed.find_tensor(name + std::string(suffix));
    if (tensor != nullptr) bytes += tensor->view.data.size();  // a folded matrix has but one
  }
  return bytes;
}

}  // namespace

double ModelSummary::matrix_bits_per_weight() const {
  return 8.0 * static_cast<double>(matrix_bytes) / static_cast<double>(matrix_weights);
}

double ModelSummary::file_bits_per_weight() const {
  return 8.0 * static_cast<double>(file_bytes) / static_cast<double>(parameters);
}

ModelSummary summarize(const arch::Checkpoint& checkpoint) {
  const arch::ModelConfig& config = checkpoint.config();
  std::optional<file::GgufFile> packed;
  if (checkpoint.provenance()) packed = file::GgufFile::open(checkpoint.path());

  ModelSummary summary;
  summary.parameters = arch::count_parameters(config).total();
  summary.file_bytes = checkpoint.file_bytes();
  for (const arch::TensorId& id : arch::tensor_ids(config)) {
    const arch::TensorSpec& spec = *arch::find_tensor(*config.arch, id.role);
    TensorSummary tensor;
    tensor.name = arch::gguf_name(spec, id.layer);
    tensor.shape = arch::shape_of(config, spec);
    tensor.matrix = spec.linear;
    if (const auto dense = checkpoint.dense(id.role, id.layer)) {
      tensor.type = formats::info(dense->view.dtype).name;
      tensor.bytes = dense->view.data.size();
    } else if (const auto codes = checkpoint.codes(id.role, id.layer)) {
      ONEBIT_CHECK(packed.has_value());
      tensor.type = fmt::format("{}-bit codes", codes->codes.bits);
      tensor.bytes = static_cast<std::uint64_t>(codes->codes.rows * codes->codes.row_bytes()) +
                     scale_bytes(*packed, tensor.name);
    } else if (const auto factors = checkpoint.low_rank(id.role, id.layer)) {
      tensor.type = fmt::format("low rank {}", formats::info(factors->in_factor.dtype).name);
      tensor.bytes = factors->out_factor.data.size() + factors->in_factor.data.size();
    } else {
      ONEBIT_CHECK(packed.has_value());
      tensor.type = "sign1";
      tensor.bytes =
          static_cast<std::uint64_t>(tensor.shape[0] * formats::sign1_row_bytes(tensor.shape[1])) +
          scale_bytes(*packed, tensor.name);
    }
    if (spec.linear) {
      ++summary.matrices;
      summary.matrix_weights += tensor.shape[0] * tensor.shape[1];
      summary.matrix_bytes += tensor.bytes;
    }
    ++summary.types[tensor.type];
    summary.tensors.push_back(std::move(tensor));
  }
  return summary;
}

}  // namespace onebit::cli
