// The model of a comparison: records joined to one entry a model, under names that tell them apart.
// Pure data, from which tables and figures are made.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "report/records.h"

namespace onebit::report {

/// A task of a model, in the record that has it.
struct TaskEntry {
  const EvalRecord* record = nullptr;
  const TaskScore* score = nullptr;
  const TaskSamples* samples = nullptr;  ///< null: none
};

/// What is known of one model. Pointers lead into the comparison's records.
struct ModelEntry {
  std::string name = {};  ///< differs from all other entries'
  ModelInfo info = {};
  std::vector<const PerplexityRecord*> perplexities = {};  ///< at most one a text
  std::vector<TaskEntry> tasks = {};                       ///< each task once
  std::vector<const BenchRecord*> benches = {};
  std::vector<const SensitivityRecord*> sensitivities = {};
  const QuantizeRecord* quantize = nullptr;

  const TaskEntry* find_task(const std::string& task) const;
  const PerplexityRecord* find_text(const std::string& text_name) const;
};

/// A source and the row that it belongs to.
struct Source {
  const Record* record = nullptr;
  std::string name = {};  ///< of the model or the run
};

struct RunEntry {
  std::string name = {};
  const TrainingRun* run = nullptr;
};

/// Input `file` belongs to the row `name`.
struct Label {
  std::string file = {};
  std::string name = {};
};

class Comparison {
 public:
  /// Joins records. Those of one sha256 are of one model; without it one path, then one name is one
  /// model. A label makes a row of its own of what it names, which records without one join if no
  /// other row is of their model. The first record of a model makes its place in the order.
  ///
  /// Throws Error{kInvalidArgument} naming both files where two inputs contradict each other: one
  /// measurement of a model with two results, one label for two models, one model of two sizes, one
  /// document with two right answers; or where a label is needed to say which row is meant.
  Comparison(std::vector<Record> records, const std::vector<Label>& labels);
  Comparison(const Comparison&) = delete;
  Comparison& operator=(const Comparison&) = delete;

  const std::vector<Source>& sources() const { return sources_; }
  const std::vector<ModelEntry>& models() const { return models_; }
  const std::vector<RunEntry>& runs() const { return runs_; }
  /// What people must know before they compare, one line each.
  const std::vector<std::string>& warnings() const { return warnings_; }

  /// Texts of perplexity in order of first appearance, each by its file's name; with its path where
  /// one model has two of a name.
  const std::vector<std::string>& texts() const { return texts_; }

  /// The index of the model of that name; Error{kInvalidArgument} listing the names.
  std::size_t model_named(std::string_view name) const;

 private:
  class Joiner;

  std::vector<Record> records_;
  std::vector<Source> sources_;
  std::vector<ModelEntry> models_;
  std::vector<RunEntry> runs_;
  std::vector<std::string> texts_;
  std::vector<std::string> warnings_;
};

/// The last part of a path.
std::string file_name(const std::string& path);

/// The short names of folders of runs: the folder's name, or its whole path where another's is the
/// same.
std::vector<std::string> run_names(const std::vector<std::string>& folders);

/// The first 12 digits of a hash.
std::string short_hash(const std::string& sha256);

}  // namespace onebit::report
