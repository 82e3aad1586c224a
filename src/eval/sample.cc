#include "eval/sample.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/check.h"
#include "base/error.h"

namespace onebit::eval {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

/// The first of the greatest.
std::size_t best(const std::vector<double>& values) {
  return static_cast<std::size_t>(std::max_element(values.begin(), values.end()) - values.begin());
}

[[noreturn]] void fail(std::string_view field, std::string_view expected) {
  throw Error(ErrorCode::kCorrupt,
              fmt::format("\"{}\": found none or another, expected {}", field, expected));
}

const json& member(const json& object, const char* field, json::value_t type,
                   std::string_view expected) {
  const auto it = object.find(field);
  if (it == object.end() || it->type() != type) fail(field, expected);
  return *it;
}

std::int64_t count(const json& object, const char* field) {
  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  const char* const expected = "a number from 0 to 2^40";
  const auto value =
      member(object, field, json::value_t::number_unsigned, expected).get<std::uint64_t>();
  if (value > kMost) fail(field, expected);
  return static_cast<std::int64_t>(value);
}

bool flag(const json& object, const char* field) {
  return member(object, field, json::value_t::boolean, "true or false").get<bool>();
}

std::optional<double> accuracy(const json& object, const char* field) {
  if (!object.contains(field)) return std::nullopt;
  const char* const expected = "0.0 or 1.0";
  const double value = member(object, field, json::value_t::number_float, expected).get<double>();
  if (value != 0 && value != 1) fail(field, expected);
  return value;
}

ChoiceScore parse_choice(const json& object) {
  if (!object.is_object()) fail("choices", "an array of objects");
  ChoiceScore choice;
  choice.loglikelihood =
      member(object, "loglikelihood", json::value_t::number_float, "a number with a decimal point")
          .get<double>();
  choice.tokens = count(object, "tokens");
  choice.characters = count(object, "characters");
  choice.greedy = flag(object, "greedy");
  return choice;
}

}  // namespace

Sample judge(const Task& task, std::int64_t document, std::size_t target,
             std::vector<ChoiceScore> choices, bool truncated) {
  ONEBIT_CHECK(target < choices.size());
  Sample sample = {.task = task.name,
                   .document = document,
                   .target = target,
                   .choices = std::move(choices),
                   .truncated = truncated};
  if (task.output == Output::kContinuation) {
    sample.acc = sample.choices.front().greedy ? 1 : 0;
    return sample;
  }
  std::vector<double> plain;
  std::vector<double> normed;
  for (const ChoiceScore& choice : sample.choices) {
    plain.push_back(choice.loglikelihood);
    normed.push_back(choice.loglikelihood / static_cast<double>(choice.characters));
  }
  sample.acc = best(plain) == target ? 1 : 0;
  if (task.has(Metric::kAccNorm)) sample.acc_norm = best(normed) == target ? 1 : 0;
  return sample;
}

std::string to_line(const Sample& sample) {
  ordered_json choices = ordered_json::array();
  for (const ChoiceScore& choice : sample.choices) {
    choices.push_back({{"loglikelihood", choice.loglikelihood},
                       {"tokens", choice.tokens},
                       {"characters", choice.characters},
                       {"greedy", choice.greedy}});
  }
  ordered_json line = {{"task", sample.task},
                       {"doc_id", sample.document},
                       {"target", sample.target},
                       {"choices", std::move(choices)}};
  if (sample.acc) line["acc"] = *sample.acc;
  if (sample.acc_norm) line["acc_norm"] = *sample.acc_norm;
  line["truncated"] = sample.truncated;
  return line.dump();
}

Sample parse_line(std::string_view line) {
  const json object = json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!object.is_object()) {
    throw Error(ErrorCode::kCorrupt,
                "found text that is no JSON object, expected a document's "
                "scores");
  }
  Sample sample;
  sample.task = member(object, "task", json::value_t::string, "a string").get<std::string>();
  sample.document = count(object, "doc_id");
  sample.target = static_cast<std::size_t>(count(object, "target"));
  const json& choices = member(object, "choices", json::value_t::array, "an array of objects");
  for (const json& choice : choices) sample.choices.push_back(parse_choice(choice));
  if (sample.target >= sample.choices.size()) fail("target", "the number of a choice");
  sample.acc = accuracy(object, "acc");
  sample.acc_norm = accuracy(object, "acc_norm");
  sample.truncated = flag(object, "truncated");
  return sample;
}

}  // namespace onebit::eval
