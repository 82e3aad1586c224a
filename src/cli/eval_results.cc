#include "cli/eval_results.h"

#include <algorithm>
#include <array>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>
#include <string_view>

#include "base/words.h"

namespace onebit::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kFilter =
    "none";  // lm-eval can filter a model's answers; these have none

std::string key(std::string_view metric) { return fmt::format("{},{}", metric, kFilter); }

void add_metric(const eval::MetricValue& metric, ordered_json& object) {
  const std::string_view name = word_of(metric.metric);
  object[key(name)] = metric.value;
  ordered_json& error = object[key(fmt::format("{}_stderr", name))];
  if (metric.error) {
    error = *metric.error;
  } else {
    error = "N/A";
  }
}

ordered_json config(const TaskReport& report) {
  const eval::Task& task = *report.result.task;
  ordered_json metrics = ordered_json::array();
  for (const eval::Metric metric : task.metrics) {
    metrics.push_back({{"metric", word_of(metric)},
                       {"aggregation", metric == eval::Metric::kPerplexity ? "perplexity" : "mean"},
                       {"higher_is_better", eval::higher_is_better(metric)}});
  }
  const bool one = task.output == eval::Output::kContinuation;
  ordered_json object = {{"task", task.name},
                         {"task_alias", task.alias},
                         {"dataset_path", task.set},
                         {"dataset_name", task.subset},
                         {"file", report.file},
                         {"split", report.split},
                         {"output_type", one ? "loglikelihood" : "multiple_choice"},
                         {"description", task.description},
                         {"target_delimiter", eval::kTargetDelimiter},
                         {"fewshot_delimiter", eval::kExampleDelimiter},
                         {"num_fewshot", report.shots},
                         {"metric_list", std::move(metrics)},
                         {"metadata", {{"version", task.version}}}};
  if (report.shots > 0) {
    object["fewshot_split"] = task.examples.name;
    object["fewshot_sampler"] = task.sampler == eval::Sampler::kFirst ? "first_n" : "default";
  }
  return object;
}

/// Its value where all of `members` that have one agree.
void add_common(const std::vector<std::string>& members, const std::string& group,
                ordered_json& values) {
  std::set<ordered_json> found;
  for (const std::string& member : members) {
    if (values.contains(member)) found.insert(values[member]);
  }
  if (found.size() == 1) values[group] = *found.begin();
}

/// The columns of the table; the unnamed ones hold an arrow and a ±.
enum Column : std::size_t {
  kName,
  kVersion,
  kFilterColumn,
  kShots,
  kMetric,
  kBetter,
  kValue,
  kSign,
  kError,
  kColumns
};
using Cells = std::array<std::string, kColumns>;

bool is_number(std::size_t column) {
  return column == kVersion || column == kShots || column == kValue || column == kError;
}

std::size_t width(std::string_view text) {
  return static_cast<std::size_t>(std::count_if(text.begin(), text.end(), [](char c) {
    return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U;
  }));
}

std::string padded(std::string_view text, std::size_t columns, char align) {
  const std::size_t free = columns - width(text);
  const std::size_t left = align == '>' ? free : align == '^' ? free / 2 : 0;
  return fmt::format("{:{}}{}{:{}}", "", left, text, "", free - left);
}

std::string markdown(const std::vector<Cells>& rows) {
  std::array<std::size_t, kColumns> widths = {};
  widths.fill(3);  // "---"
  for (const Cells& row : rows) {
    for (std::size_t c = 0; c < kColumns; ++c) widths[c] = std::max(widths[c], width(row[c]));
  }
  std::string text;
  for (std::size_t r = 0; r < rows.size(); ++r) {
    for (std::size_t c = 0; c < kColumns; ++c) {
      text += '|' + padded(rows[r][c], widths[c], r == 0 ? '^' : is_number(c) ? '>' : '<');
    }
    text += "|\n";
    if (r > 0) continue;
    for (std::size_t c = 0; c < kColumns; ++c) {
      text +=
          '|' + std::string(widths[c] - (is_number(c) ? 1 : 0), '-') + (is_number(c) ? ":" : "");
    }
    text += "|\n";
  }
  return text;
}

std::string number(const ordered_json& value) {
  return value.is_number() ? fmt::format("{:.4f}", value.get<double>()) : "N/A";
}

class Table {
 public:
  /// `names` is the member of `results` that holds what the table shows.
  Table(const ordered_json& results, const char* title, const char* names)
      : results_(results), names_(results[names]) {
    rows_.push_back({title, "Version", "Filter", "n-shot", "Metric", "", "Value", "", "Stderr"});
  }

  /// What is shown of a task or group, and of its members below it.
  void add_tree(const std::string& name, std::size_t depth) {
    if (names_.contains(name)) add(name, depth);
    if (!results_["group_subtasks"].contains(name)) return;
    for (const auto& member : results_["group_subtasks"][name]) {
      add_tree(member.get<std::string>(), depth + 1);
    }
  }

  std::string text() const { return markdown(rows_); }

 private:
  void add(const std::string& name, std::size_t depth) {
    const ordered_json& values = results_["results"][name];
    auto first = values["alias"].get<std::string>();
    if (depth > 0) first = std::string(depth, ' ') + "- " + first;
    std::string version = fmt::format("{:g}", results_["versions"][name].get<double>());
    for (const auto& [metric, better] : results_["higher_is_better"][name].items()) {
      const ordered_json& error = values[key(metric + "_stderr")];
      rows_.push_back({first, version, std::string(kFilter),
                       results_["n-shot"].contains(name) ? results_["n-shot"][name].dump() : "",
                       metric, better ? "↑" : "↓", number(values[key(metric)]), "±",
                       number(error)});
      first.clear();
      version.clear();
    }
  }

  const ordered_json& results_;
  const ordered_json& names_;
  std::vector<Cells> rows_;
};

}  // namespace

ordered_json results_json(std::span<const TaskReport> tasks,
                          std::span<const eval::GroupResult> groups) {
  ordered_json json;
  for (const char* member : {"results", "groups", "group_subtasks", "configs", "versions", "n-shot",
                             "higher_is_better", "n-samples"}) {
    json[member] = ordered_json::object();
  }
  if (groups.empty()) json.erase("groups");
  for (const TaskReport& report : tasks) {
    const eval::Task& task = *report.result.task;
    ordered_json& result = json["results"][task.name] = {
        {"name", task.name}, {"alias", task.alias}, {"sample_len", report.result.documents}};
    for (const eval::MetricValue& metric : report.result.metrics) {
      add_metric(metric, result);
      json["higher_is_better"][task.name][std::string(word_of(metric.metric))] =
          eval::higher_is_better(metric.metric);
    }
    json["configs"][task.name] = config(report);
    json["versions"][task.name] = task.version;
    json["n-shot"][task.name] = report.shots;
    json["n-samples"][task.name] = {{"original", report.available},
                                    {"effective", report.result.documents}};
  }
  for (const eval::GroupResult& result : groups) {  // members come before the groups that hold them
    const eval::Group& group = *result.group;
    ordered_json& values = json["results"][group.name] = {
        {"name", group.name}, {"alias", group.alias}, {"sample_len", result.documents}};
    add_metric(result.acc, values);
    json["groups"][group.name] = values;
    json["group_subtasks"][group.name] = group.members;
    json["versions"][group.name] = group.version;
    json["higher_is_better"][group.name] = {{word_of(result.acc.metric), true}};
    add_common(group.members, group.name, json["n-shot"]);
  }
  return json;
}

std::string results_table(const ordered_json& results) {
  std::set<std::string> members;
  for (const auto& [group, names] : results["group_subtasks"].items()) {
    for (const auto& name : names) members.insert(name.get<std::string>());
  }
  const auto table = [&](const char* title, const char* names) {
    Table made(results, title, names);
    for (const auto& [name, values] : results[names].items()) {
      if (!members.contains(name)) made.add_tree(name, 0);
    }
    return made.text();
  };
  std::string text = table("Tasks", "results");
  if (results.contains("groups")) text += "\n" + table("Groups", "groups");
  return text;
}

}  // namespace onebit::cli
