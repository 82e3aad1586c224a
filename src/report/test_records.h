// Result files for the tests, as short as their kinds allow.
#pragma once

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "report/comparison.h"
#include "report/input.h"

namespace onebit::report::testing {

/// The member "model_info" of a model that is told by one digit.
inline Json model_info(char digit, const std::string& name = "tiny",
                       const std::string& method = "onebit") {
  return {{"name", name},
          {"path", fmt::format("models/{}.gguf", digit)},
          {"sha256", std::string(64, digit)},
          {"architecture", "llama"},
          {"parameters", 1000000},
          {"file_bytes", 250000},
          {"file_bits_per_weight", 2.0},
          {"matrix_bits_per_weight", 1.05},
          {"method", method}};
}

inline Json perplexity_json(const Json& model, double ppl = 20,
                            const std::string& text = "a/wiki.raw") {
  return {{"ppl", ppl},    {"ppl_stderr", 0.5},   {"tokens", 1000},
          {"windows", 4},  {"scored", 996},       {"mean_nll", 3.0},
          {"window", 250}, {"protocol", "paper"}, {"model", "models/x.gguf"},
          {"file", text},  {"model_info", model}, {"program", "onebit 0.1.0"}};
}

inline Json task_json(double acc, double error = 0.01) {
  return {{"alias", "x"}, {"acc,none", acc}, {"acc_stderr,none", error}, {"sample_len", 100}};
}

/// Results of `onebit eval`: `tasks` is its member "results".
inline Json eval_json(const Json& model, const Json& tasks, int shots = 0, int documents = 100) {
  Json json = {
      {"results", tasks},
      {"config", {{"model", "onebit"}, {"model_args", "pretrained=x"}, {"limit", nullptr}}},
      {"date", 1740959572.26},
      {"onebit",
       {{"program", "onebit 0.1.0"}, {"command", "onebit eval x"}, {"model_info", model}}}};
  for (const auto& task : tasks.items()) {
    json["n-shot"][task.key()] = shots;
    json["n-samples"][task.key()] = {{"original", 100}, {"effective", documents}};
    json["onebit"]["split"][task.key()] = "validation";
  }
  return json;
}

inline Record record(const Json& json, const std::string& file = "file.json") {
  return parse_record(json.dump(), file);
}

/// Files named 1.json, 2.json, …
inline std::vector<Record> records(const std::vector<Json>& files) {
  std::vector<Record> result;
  result.reserve(files.size());
  for (const Json& json : files) {
    result.push_back(record(json, fmt::format("{}.json", result.size() + 1)));
  }
  return result;
}

/// The message of the Error that `work` throws; empty where it throws none.
template <class Work>
std::string message_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

}  // namespace onebit::report::testing
