// What `eval` says: the results object in lm-eval's shape, and its table.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "eval/task_data.h"
#include "eval/task_result.h"

namespace onebit::cli {

/// A task's figures, and where its documents were from.
struct TaskReport {
  eval::TaskResult result;
  std::string split;
  std::string file;
  std::int64_t available = 0;  ///< documents of the file
  int shots = 0;
};

/// lm-eval's members "results", "groups", "group_subtasks", "configs", "versions", "n-shot",
/// "higher_is_better" and "n-samples". A group has an entry where its mean was asked for.
nlohmann::ordered_json results_json(std::span<const TaskReport> tasks,
                                    std::span<const eval::GroupResult> groups);

/// lm-eval's Markdown table of results_json()'s result: groups with their members below them, then
/// the other tasks, in the order of "results"; a second table of the groups alone.
std::string results_table(const nlohmann::ordered_json& results);

}  // namespace onebit::cli
