#include "report/comparison.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fmt/format.h>
#include <set>

#include "base/check.h"
#include "base/error.h"
#include "report/markup.h"

namespace onebit::report {
namespace {

[[noreturn]] void fail(const std::string& message) {
  throw Error(ErrorCode::kInvalidArgument, message);
}

std::string model_words(const ModelInfo& info) {
  std::string name = info.name.empty() ? info.path : info.name;
  if (info.sha256.empty()) return name;
  return fmt::format("{} (sha256 {})", name, short_hash(info.sha256));
}

bool same_score(const Score& a, const Score& b) { return a.value == b.value && a.error == b.error; }

bool same_task(const TaskScore& a, const TaskScore& b) {
  return a.settings == b.settings && std::equal(a.scores.begin(), a.scores.end(), b.scores.begin(),
                                                b.scores.end(), [](const auto& x, const auto& y) {
                                                  return x.first == y.first &&
                                                         same_score(x.second, y.second);
                                                });
}

/// Takes over what `to` lacks; two files that say different things of one model are an error.
void merge_info(const ModelInfo& from, const std::string& from_file, ModelInfo& to,
                const std::string& to_file) {
  const auto text = [](const std::string& f, std::string& t) {
    if (t.empty()) t = f;
  };
  const auto number = [&](const char* what, const auto& f, auto& t) {
    if (!t) t = f;
    if (f && *f != *t) {
      fail(fmt::format("{} and {}: found {} and {} {} of the model {}, expected one number",
                       to_file, from_file, *t, *f, what, model_words(to)));
    }
  };
  text(from.name, to.name);
  text(from.path, to.path);
  text(from.sha256, to.sha256);
  text(from.architecture, to.architecture);
  text(from.method, to.method);
  text(from.form, to.form);
  text(from.source_name, to.source_name);
  if (!to.group_size) to.group_size = from.group_size;
  if (!to.file_bits) to.file_bits = from.file_bits;
  if (!to.matrix_bits) to.matrix_bits = from.matrix_bits;
  number("parameters", from.parameters, to.parameters);
  number("bytes", from.file_bytes, to.file_bytes);
}

/// Whether two records may be of one model.
bool same_model(const ModelInfo& a, const ModelInfo& b) {
  if (!a.sha256.empty() && !b.sha256.empty()) return a.sha256 == b.sha256;
  if (!a.path.empty() && !b.path.empty()) return a.path == b.path;
  return a.name == b.name;
}

}  // namespace

std::string file_name(const std::string& path) {
  const std::filesystem::path p = std::filesystem::path(path).lexically_normal();
  return (p.has_filename() ? p : p.parent_path()).filename().string();
}

std::string short_hash(const std::string& sha256) {
  constexpr std::size_t kDigits = 12;
  return sha256.substr(0, kDigits);
}

std::vector<std::string> run_names(const std::vector<std::string>& folders) {
  std::vector<std::string> names;
  for (const std::string& folder : folders) {
    const auto same = [&](const std::string& other) {
      return file_name(other) == file_name(folder);
    };
    const bool unique = std::count_if(folders.begin(), folders.end(), same) == 1;
    names.push_back(unique ? file_name(folder) : folder);
  }
  return names;
}

const TaskEntry* ModelEntry::find_task(const std::string& task) const {
  for (const TaskEntry& entry : tasks) {
    if (entry.score->task == task) return &entry;
  }
  return nullptr;
}

const PerplexityRecord* ModelEntry::find_text(const std::string& text_name) const {
  for (const PerplexityRecord* record : perplexities) {
    if (record->text == text_name || file_name(record->text) == text_name) return record;
  }
  return nullptr;
}

/// Fills a comparison from its records.
class Comparison::Joiner {
 public:
  Joiner(Comparison& comparison, const std::vector<Label>& labels)
      : c_(comparison), labels_(labels), row_of_(comparison.records_.size()) {}

  void join() {
    // Rows with labels first: what has none joins them.
    for (const bool labelled : {true, false}) {
      for (std::size_t i = 0; i < c_.records_.size(); ++i) {
        if (model_of(c_.records_[i]) != nullptr && labelled == (label_of(i) != nullptr)) {
          row_of_[i] = row_for(i);
        }
      }
    }
    order_rows();
    for (std::size_t i = 0; i < c_.records_.size(); ++i) {
      if (model_of(c_.records_[i]) != nullptr) add(i, rows_[row_of_[i]].entry);
    }
    for (Row& row : rows_) c_.models_.push_back(std::move(row.entry));
    name_models();
    name_runs();
    name_texts();
    for (std::size_t i = 0; i < c_.records_.size(); ++i) {
      std::string name;
      if (const auto* run = std::get_if<TrainingRun>(&c_.records_[i])) {
        for (const RunEntry& entry : c_.runs_) {
          if (entry.run == run) name = entry.name;
        }
      } else {
        name = c_.models_[row_of_[i]].name;
      }
      c_.sources_.push_back({&c_.records_[i], name});
    }
    check_documents();
  }

 private:
  struct Row {
    ModelEntry entry = {};
    std::string label = {};
    std::size_t first = 0;  ///< record
  };

  const std::string* label_of(std::size_t i) const {
    for (const Label& label : labels_) {
      if (label.file == file_of(i)) return &label.name;
    }
    return nullptr;
  }

  const std::string& file_of(std::size_t i) const { return origin_of(c_.records_[i]).file; }

  std::size_t row_for(std::size_t i) {
    const ModelInfo& info = *model_of(c_.records_[i]);
    const std::string* label = label_of(i);
    std::vector<std::size_t> found;
    for (std::size_t r = 0; r < rows_.size(); ++r) {
      if (label != nullptr ? rows_[r].label == *label : same_model(rows_[r].entry.info, info)) {
        found.push_back(r);
      }
    }
    if (found.empty()) {
      rows_.push_back({.label = label == nullptr ? "" : *label, .first = i});
      rows_.back().entry.info = info;
      return rows_.size() - 1;
    }
    if (found.size() > 1) {
      fail(fmt::format(
          "{}: found two rows of its model {}, '{}' and '{}'; expected --label {}=NAME "
          "to say which one it belongs to",
          file_of(i), model_words(info), row_words(found[0]), row_words(found[1]), file_of(i)));
    }
    Row& row = rows_[found.front()];
    const ModelInfo& there = row.entry.info;
    if (!there.sha256.empty() && !info.sha256.empty() && there.sha256 != info.sha256) {
      fail(fmt::format(
          "--label {}: found two models, of sha256 {} in {} and {} in {}, expected one", row.label,
          short_hash(there.sha256), file_of(row.first), short_hash(info.sha256), file_of(i)));
    }
    merge_info(info, file_of(i), row.entry.info, file_of(row.first));
    row.first = std::min(row.first, i);
    return found.front();
  }

  std::string row_words(std::size_t r) const {
    return rows_[r].label.empty() ? rows_[r].entry.info.name : rows_[r].label;
  }

  /// By first appearance on the command line.
  void order_rows() {
    std::vector<std::size_t> order(rows_.size());
    for (std::size_t r = 0; r < order.size(); ++r) order[r] = r;
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return rows_[a].first < rows_[b].first; });
    std::vector<Row> sorted;
    std::vector<std::size_t> place(rows_.size());
    for (const std::size_t r : order) {
      place[r] = sorted.size();
      sorted.push_back(std::move(rows_[r]));
    }
    rows_ = std::move(sorted);
    for (std::size_t i = 0; i < row_of_.size(); ++i) {
      if (model_of(c_.records_[i]) != nullptr) row_of_[i] = place[row_of_[i]];
    }
  }

  [[noreturn]] void fail_twice(const std::string& what, const std::string& one,
                               const std::string& other, const ModelEntry& entry) const {
    fail(
        fmt::format("{} and {}: found two results of {} for the model {}, expected one; --label "
                    "FILE=NAME gives a file a row of its own",
                    one, other, what, model_words(entry.info)));
  }

  void add(std::size_t i, ModelEntry& entry) {
    std::visit([&](const auto& record) { add_record(record, entry); }, c_.records_[i]);
  }

  void add_record(const PerplexityRecord& record, ModelEntry& entry) {
    for (const PerplexityRecord*& other : entry.perplexities) {
      if (other->text != record.text) continue;
      if (!same_score(other->ppl, record.ppl) || other->settings != record.settings) {
        fail_twice("the perplexity of " + record.text, other->origin.file, record.origin.file,
                   entry);
      }
      if (!other->kl) {
        other = &record;
      } else if (record.kl && (record.kl->teacher != other->kl->teacher ||
                               !same_score(record.kl->mean, other->kl->mean))) {
        fail_twice("the divergence on " + record.text, other->origin.file, record.origin.file,
                   entry);
      }
      return;
    }
    entry.perplexities.push_back(&record);
  }

  void add_record(const EvalRecord& record, ModelEntry& entry) {
    if (!record.samples_file.empty() && record.samples.empty()) {
      c_.warnings_.push_back(
          fmt::format("{}: its samples, {}, are not beside it: no paired differences",
                      record.origin.file, record.samples_file));
    }
    for (const TaskScore& task : record.tasks) {
      if (const TaskEntry* other = entry.find_task(task.task)) {
        if (!same_task(*other->score, task)) {
          fail_twice(task.task, other->record->origin.file, record.origin.file, entry);
        }
        continue;
      }
      const auto samples = record.samples.find(task.task);
      const TaskSamples* found = samples == record.samples.end() ? nullptr : &samples->second;
      if (found != nullptr) require_same_mean(task, *found, record);
      entry.tasks.push_back({&record, &task, found});
    }
  }

  void add_record(const BenchRecord& record, ModelEntry& entry) {
    entry.benches.push_back(&record);
  }
  void add_record(const SensitivityRecord& record, ModelEntry& entry) {
    entry.sensitivities.push_back(&record);
  }
  void add_record(const QuantizeRecord& record, ModelEntry& entry) {
    if (entry.quantize != nullptr && (entry.quantize->settings != record.settings ||
                                      entry.quantize->relative_error != record.relative_error)) {
      fail_twice("its matrices' errors", entry.quantize->origin.file, record.origin.file, entry);
    }
    entry.quantize = &record;
  }
  void add_record(const TrainingRun&, ModelEntry&) {}

  /// Samples of another run than the results' would make wrong differences.
  static void require_same_mean(const TaskScore& task, const TaskSamples& samples,
                                const EvalRecord& record) {
    for (const auto& [metric, score] : task.scores) {
      double sum = 0;
      std::size_t count = 0;
      for (const auto& [document, sample] : samples) {
        const auto found = sample.scores.find(metric);
        if (found == sample.scores.end()) continue;
        sum += found->second;
        ++count;
      }
      if (count == 0) continue;
      constexpr double kRounding = 1e-6;
      const double mean = sum / static_cast<double>(count);
      if (std::fabs(mean - score.value) > kRounding) {
        throw Error(
            ErrorCode::kCorrupt,
            fmt::format("{}: found {} {:.6f} of {} there and {:.6f} in {}, expected samples "
                        "of the same run",
                        record.origin.file, metric, score.value, task.task, mean,
                        record.samples_file));
      }
    }
  }

  /// The shortest of several ways to call a model that tells all apart; a label is one's own.
  void name_models() {
    std::vector<std::string> names(c_.models_.size());
    const auto clashes = [&](std::size_t m) {
      return names[m].empty() || std::count(names.begin(), names.end(), names[m]) > 1;
    };
    for (std::size_t m = 0; m < names.size(); ++m) {
      const ModelInfo& info = c_.models_[m].info;
      names[m] = !rows_label(m).empty() ? rows_label(m) : info.name;
    }
    using Namer = std::string (*)(const ModelInfo&);
    constexpr Namer kNamers[] = {
        [](const ModelInfo& info) {
          return info.method.empty() ? info.name : fmt::format("{}, {}", info.name, info.method);
        },
        [](const ModelInfo& info) { return std::filesystem::path(info.path).stem().string(); },
        [](const ModelInfo& info) { return info.path; },
        [](const ModelInfo& info) {
          return fmt::format("{} {}", info.path, short_hash(info.sha256));
        }};
    for (const Namer namer : kNamers) {
      std::vector<std::size_t> again;
      for (std::size_t m = 0; m < names.size(); ++m) {
        if (rows_label(m).empty() && clashes(m)) again.push_back(m);
      }
      for (const std::size_t m : again) names[m] = namer(c_.models_[m].info);
    }
    for (std::size_t m = 0; m < names.size(); ++m) {
      if (rows_label(m).empty() && clashes(m)) names[m] += fmt::format(" ({})", m + 1);
      c_.models_[m].name = names[m];
    }
  }

  const std::string& rows_label(std::size_t m) const { return rows_[m].label; }

  void name_runs() {
    std::vector<const TrainingRun*> runs;
    std::vector<std::string> folders;
    for (const Record& record : c_.records_) {
      if (const auto* run = std::get_if<TrainingRun>(&record)) {
        runs.push_back(run);
        folders.push_back(run->origin.file);
      }
    }
    const std::vector<std::string> names = run_names(folders);
    for (std::size_t i = 0; i < runs.size(); ++i) {
      std::string name = names[i];
      for (const Label& label : labels_) {
        if (label.file == folders[i]) name = label.name;
      }
      c_.runs_.push_back({name, runs[i]});
    }
  }

  void name_texts() {
    std::set<std::string> ambiguous;  // one model has two of that name
    for (const ModelEntry& entry : c_.models_) {
      std::set<std::string> seen;
      for (const PerplexityRecord* record : entry.perplexities) {
        if (!seen.insert(file_name(record->text)).second) ambiguous.insert(file_name(record->text));
      }
    }
    for (const ModelEntry& entry : c_.models_) {
      for (const PerplexityRecord* record : entry.perplexities) {
        std::string name = file_name(record->text);
        if (ambiguous.contains(name)) name = record->text;
        if (std::find(c_.texts_.begin(), c_.texts_.end(), name) == c_.texts_.end()) {
          c_.texts_.push_back(name);
        }
      }
    }
  }

  /// Models that answered one document must have been asked the same.
  void check_documents() const {
    for (std::size_t a = 0; a < c_.models_.size(); ++a) {
      for (std::size_t b = a + 1; b < c_.models_.size(); ++b) {
        for (const TaskEntry& task : c_.models_[a].tasks) {
          const TaskEntry* other = c_.models_[b].find_task(task.score->task);
          if (other == nullptr || task.samples == nullptr || other->samples == nullptr) continue;
          for (const auto& [document, sample] : *task.samples) {
            const auto found = other->samples->find(document);
            if (found == other->samples->end()) continue;
            if (sample.target != found->second.target || sample.choices != found->second.choices) {
              fail(
                  fmt::format("samples of {} and {}: found other answers to document {} of {}, "
                              "expected the same data",
                              c_.models_[a].name, c_.models_[b].name, document, task.score->task));
            }
          }
        }
      }
    }
  }

  Comparison& c_;
  const std::vector<Label>& labels_;
  std::vector<std::size_t> row_of_;  ///< by record
  std::vector<Row> rows_;
};

Comparison::Comparison(std::vector<Record> records, const std::vector<Label>& labels)
    : records_(std::move(records)) {
  Joiner(*this, labels).join();
}

std::size_t Comparison::model_named(std::string_view name) const {
  std::string names;
  for (std::size_t m = 0; m < models_.size(); ++m) {
    if (models_[m].name == name) return m;
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", models_[m].name);
  }
  fail(fmt::format("found no model '{}', expected one of {}", name, names));
}

}  // namespace onebit::report
