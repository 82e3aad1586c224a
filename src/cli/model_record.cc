#include "cli/model_record.h"

#include <nlohmann/json.hpp>

#include "cli/model_summary.h"

namespace onebit::cli {

nlohmann::ordered_json model_record(const std::string& path, const arch::Checkpoint& checkpoint) {
  const ModelSummary summary = summarize(checkpoint);
  nlohmann::ordered_json record = {{"name", checkpoint.name()},
                                   {"path", path},
                                   {"sha256", checkpoint.sha256()},
                                   {"architecture", checkpoint.config().arch->name},
                                   {"parameters", summary.parameters},
                                   {"file_bytes", summary.file_bytes},
                                   {"file_bits_per_weight", summary.file_bits_per_weight()},
                                   {"matrix_bits_per_weight", summary.matrix_bits_per_weight()},
                                   {"types", summary.types},
                                   {"method", "full precision"}};
  if (const auto& made = checkpoint.provenance()) {
    record["method"] = made->method;
    if (summary.types.contains("sign1")) {
      record["form"] = word_of(made->form);
      record["group_size"] = made->group_size;
    }
    record["source_name"] = made->source_name;
    record["source_sha256"] = made->source_sha256;
  }
  return record;
}

}  // namespace onebit::cli
