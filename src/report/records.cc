#include "report/records.h"

#include <type_traits>

namespace onebit::report {

const Score* TaskScore::find(const std::string& metric) const {
  for (const auto& [name, score] : scores) {
    if (name == metric) return &score;
  }
  return nullptr;
}

const Origin& origin_of(const Record& record) {
  return std::visit([](const auto& r) -> const Origin& { return r.origin; }, record);
}

const ModelInfo* model_of(const Record& record) {
  return std::visit(
      [](const auto& r) -> const ModelInfo* {
        if constexpr (std::is_same_v<std::decay_t<decltype(r)>, TrainingRun>) {
          return nullptr;
        } else {
          return &r.model;
        }
      },
      record);
}

const char* kind_of(const Record& record) {
  constexpr const char* kKinds[] = {"tasks",       "perplexity",   "speed",
                                    "sensitivity", "quantisation", "training run"};
  static_assert(std::variant_size_v<Record> == std::size(kKinds));
  return kKinds[record.index()];
}

}  // namespace onebit::report
