// Results of tasks in lm-eval's shape: `onebit eval`'s, which have an object "onebit" more, and
// lm-eval's own of versions 0.3 and 0.4.
#include <algorithm>
#include <fmt/format.h>
#include <set>

#include "base/error.h"
#include "report/input.h"

namespace onebit::report {
namespace {

/// "acc,none" as {"acc", ""}, "exact_match,strict-match" with its filter.
std::pair<std::string, std::string> split_key(const std::string& key) {
  const std::size_t comma = key.find(',');
  if (comma == std::string::npos) return {key, ""};
  std::string filter = key.substr(comma + 1);
  if (filter == "none") filter.clear();
  return {key.substr(0, comma), filter};
}

/// Members that are numbers, with their errors. Since version 0.4 metrics have a filter behind a
/// comma, and numbers without one ("sample_len") are none.
TaskScore parse_task(const std::string& name, const Fields& fields) {
  constexpr std::string_view kError = "_stderr";
  TaskScore task{.task = name};
  bool commas = false;
  for (const auto& member : fields.json().items()) {
    commas = commas || member.key().find(',') != std::string::npos;
  }
  for (const auto& member : fields.json().items()) {
    const auto [metric, filter] = split_key(member.key());
    const bool is_metric = commas == (member.key().find(',') != std::string::npos);
    if (!is_metric || !member.value().is_number() || metric.ends_with(kError)) continue;
    Score score{member.value().get<double>(), std::nullopt};
    const auto error =
        fields.json().find(metric + std::string(kError) + member.key().substr(metric.size()));
    if (error != fields.json().end() && error->is_number()) score.error = error->get<double>();
    task.scores.emplace_back(filter.empty() ? metric : fmt::format("{} ({})", metric, filter),
                             score);
  }
  return task;
}

/// "pretrained" of "pretrained=a/b,dtype=float", else all of it.
std::string model_of_args(const std::string& args) {
  constexpr std::string_view kKey = "pretrained=";
  std::size_t begin = args.starts_with(kKey) ? 0 : args.find("," + std::string(kKey));
  if (begin == std::string::npos) return args;
  begin = args.find('=', begin) + 1;
  return args.substr(begin, args.find(',', begin) - begin);
}

/// What lm-eval scores: the test split where a task has one.
std::string split_of(const Fields& config) {
  for (const char* key : {"test_split", "validation_split"}) {
    if (const Json* split = config.find(key); split != nullptr && split->is_string()) {
      return split->get<std::string>();
    }
  }
  return {};
}

/// The tables of a results file that are keyed by task.
struct ByTask {
  std::optional<Fields> shots;
  std::optional<Fields> samples;
  std::optional<Fields> configs;
  std::optional<Fields> versions;
  std::optional<Fields> splits;
  std::optional<Fields> truncated;
};

void set_documents(std::optional<std::int64_t> scored, std::optional<std::int64_t> all,
                   TaskScore& task) {
  task.documents = scored;
  task.all_documents = all;
  if (!scored || !all) return;
  task.settings["documents"] =
      *scored == *all ? fmt::format("{}", *all) : fmt::format("{} of {}", *scored, *all);
}

void add_leaf_settings(const ByTask& tables, TaskScore& task) {
  const char* name = task.task.c_str();
  if (tables.shots) add_setting(*tables.shots, name, "shots", task.settings);
  if (tables.versions) add_setting(*tables.versions, name, "version", task.settings);
  if (const auto n = tables.samples ? tables.samples->maybe_object(name) : std::nullopt) {
    set_documents(n->maybe_count("effective"), n->maybe_count("original"), task);
  }
  if (tables.splits && tables.splits->find(name) != nullptr) {
    task.settings["split"] = tables.splits->text(name);
  } else if (const auto config =
                 tables.configs ? tables.configs->maybe_object(name) : std::nullopt) {
    if (const std::string split = split_of(*config); !split.empty()) task.settings["split"] = split;
  }
  if (tables.truncated) task.truncated = tables.truncated->maybe_count(name).value_or(0);
}

/// A group's settings are those that all of its tasks share; its documents are theirs.
class Groups {
 public:
  explicit Groups(std::vector<TaskScore>& tasks) : tasks_(tasks) {
    for (std::size_t i = 0; i < tasks.size(); ++i) by_name_[tasks[i].task] = i;
  }

  void complete() {
    for (TaskScore& task : tasks_) {
      if (task.subtasks.empty()) continue;
      std::set<std::string> visited;
      std::vector<const TaskScore*> leaves;
      collect(task, visited, leaves);
      join(leaves, task);
    }
  }

 private:
  void collect(const TaskScore& task, std::set<std::string>& visited,
               std::vector<const TaskScore*>& leaves) const {
    if (!visited.insert(task.task).second) return;
    if (task.subtasks.empty()) leaves.push_back(&task);
    for (const std::string& name : task.subtasks) {
      const auto found = by_name_.find(name);
      if (found != by_name_.end()) collect(tasks_[found->second], visited, leaves);
    }
  }

  static void join(const std::vector<const TaskScore*>& leaves, TaskScore& group) {
    std::int64_t scored = 0;
    std::int64_t all = 0;
    for (const TaskScore* leaf : leaves) {
      if (!leaf->documents || !leaf->all_documents) return;
      scored += *leaf->documents;
      all += *leaf->all_documents;
      group.truncated += leaf->truncated;
    }
    if (leaves.empty()) return;
    set_documents(scored, all, group);
    for (const char* name : {"shots", "split"}) {
      std::set<std::string> values;
      for (const TaskScore* leaf : leaves) {
        const auto found = leaf->settings.find(name);
        if (found != leaf->settings.end()) values.insert(found->second);
      }
      if (values.size() == 1) group.settings[name] = *values.begin();
      if (values.size() > 1) group.settings[name] = "several";
    }
  }

  std::vector<TaskScore>& tasks_;
  std::map<std::string, std::size_t> by_name_;
};

std::vector<std::string> strings(const Json& list) {
  std::vector<std::string> result;
  if (!list.is_array()) return result;
  for (const Json& item : list) {
    if (item.is_string()) result.push_back(item.get<std::string>());
  }
  return result;
}

}  // namespace

EvalRecord parse_eval(const Fields& fields, const Origin& origin) {
  EvalRecord record{.origin = origin};
  const auto ours = fields.maybe_object("onebit");
  const auto config = fields.maybe_object("config");
  ByTask tables{.shots = fields.maybe_object("n-shot"),
                .samples = fields.maybe_object("n-samples"),
                .configs = fields.maybe_object("configs"),
                .versions = fields.maybe_object("versions"),
                .splits = ours ? ours->maybe_object("split") : std::nullopt,
                .truncated = ours ? ours->maybe_object("truncated") : std::nullopt};
  const auto groups = fields.maybe_object("group_subtasks");
  const Fields results = fields.object("results");
  if (results.json().empty()) fields.fail("results", &results.json(), "at least one task");
  Settings engine;  // which changes scores
  if (ours) {
    for (const char* key : {"activations", "kv_type"}) add_setting(*ours, key, key, engine);
  }
  for (const auto& member : results.json().items()) {
    TaskScore task = parse_task(member.key(), results.object(member.key().c_str()));
    if (groups && groups->find(task.task.c_str()) != nullptr) {
      task.subtasks = strings(*groups->find(task.task.c_str()));
    }
    task.settings = engine;
    if (task.subtasks.empty()) add_leaf_settings(tables, task);
    record.tasks.push_back(std::move(task));
  }
  Groups(record.tasks).complete();

  if (ours) {
    record.origin.program = ours->text_or("program", "onebit");
    record.origin.command = ours->text_or("command", "");
    record.model = parse_model(*ours);
    record.samples_file = ours->text_or("samples", "");
    for (const char* key : {"engine", "activations", "kv_type", "threads", "kernels"}) {
      add_setting(*ours, key, key, record.settings);
    }
  } else {
    record.origin.program = "lm-eval " + fields.text_or("lm_eval_version", "");
  }
  if (config) {
    const std::string args = config->text_or("model_args", "");
    if (record.model.name.empty()) {
      record.model.name = model_of_args(args);
      if (record.model.path.empty()) record.model.path = record.model.name;
    }
    if (!ours) record.settings["model_args"] = args;
    for (const char* key : {"limit", "batch_size", "random_seed", "fewshot_seed"}) {
      add_setting(*config, key, key, record.settings);
    }
  }
  if (record.model.name.empty()) fields.fail("config.model_args", nullptr, "the model's name");
  return record;
}

}  // namespace onebit::report
