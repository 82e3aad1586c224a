// The samples of `onebit eval`, one document a line.
#include <fmt/format.h>

#include "base/error.h"
#include "report/input.h"

namespace onebit::report {

std::map<std::string, TaskSamples> parse_samples(std::string_view text, const std::string& file) {
  std::map<std::string, TaskSamples> tasks;
  for (std::int64_t number = 1; !text.empty(); ++number) {
    const std::size_t newline = text.find('\n');
    const std::string_view line = text.substr(0, newline);
    text.remove_prefix(newline == std::string_view::npos ? text.size() : newline + 1);
    if (line.empty()) continue;
    const std::string place = fmt::format("{}, line {}", file, number);
    const Json object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (object.is_discarded()) {
      throw Error(
          ErrorCode::kCorrupt,
          fmt::format("{}: found text that is not JSON, expected one object a line", place));
    }
    const Fields fields(object, place);
    if (number == 1 && fields.find("header") != nullptr) continue;
    Sample sample;
    if (const Json* target = fields.find("target")) {
      sample.target = target->dump(-1, ' ', false, Json::error_handler_t::replace);
    }
    if (const Json* choices = fields.find("choices"); choices != nullptr && choices->is_array()) {
      sample.choices = choices->size();
    }
    for (const char* metric : {"acc", "acc_norm"}) {
      if (const auto score = fields.maybe_number(metric)) sample.scores[metric] = *score;
    }
    const std::int64_t document = fields.count("doc_id");
    if (!tasks[fields.text("task")].emplace(document, std::move(sample)).second) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{}: found document {} again, expected it once", place, document));
    }
  }
  return tasks;
}

}  // namespace onebit::report
