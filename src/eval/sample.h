// What is kept of a scored document: a line of the samples file, from which every result can be
// computed again, and which an interrupted run goes on from.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/task.h"

namespace onebit::eval {

/// How likely a model finds one choice's continuation.
struct ChoiceScore {
  double loglikelihood = 0;     ///< Σ ln p(token), nats
  std::int64_t tokens = 0;      ///< of the continuation
  std::int64_t characters = 0;  ///< of the choice as the document has it, which acc_norm divides by
  bool greedy = false;          ///< every token was the likeliest

  bool operator==(const ChoiceScore&) const = default;
};

struct Sample {
  std::string task;
  std::int64_t document = 0;  ///< which of the task's rows
  std::size_t target = 0;
  std::vector<ChoiceScore> choices;
  std::optional<double> acc = {};       ///< 1 right, 0 wrong
  std::optional<double> acc_norm = {};  ///< where the task has it
  bool truncated = false;

  bool operator==(const Sample&) const = default;
};

/// The sample with its accuracies. Of choices that are equally likely the first wins.
Sample judge(const Task& task, std::int64_t document, std::size_t target,
             std::vector<ChoiceScore> choices, bool truncated);

/// {"task", "doc_id", "target", "choices": [{"loglikelihood", "tokens", "characters", "greedy"}],
/// "acc", "acc_norm", "truncated"}, without a newline. Numbers are such that reading gives the same
/// again.
std::string to_line(const Sample& sample);

/// Throws Error{kCorrupt} for anything but what to_line() writes: "found …, expected …".
Sample parse_line(std::string_view line);

}  // namespace onebit::eval
