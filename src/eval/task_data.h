// A task's documents, and the few-shot examples that precede them, out of a folder of sets.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "eval/python_random.h"
#include "eval/task.h"

namespace onebit::eval {

/// The rows of `rows` that are the task's, as documents, in their order. Throws Error{kCorrupt} for
/// a row that is none of the set, and where the task's subject has no row; `file` is what errors
/// call it.
std::vector<Document> make_documents(const Task& task, std::span<const Row> rows,
                                     std::string_view file);

struct TaskData {
  const Task* task = nullptr;
  std::string split;                ///< which of the task's splits was found
  std::filesystem::path file;       ///< and where
  std::int64_t available = 0;       ///< documents of the file
  std::vector<Document> documents;  ///< the first of them
  int shots = 0;
  std::vector<Document> examples;  ///< what shots are drawn from; empty without shots
  std::vector<Row> rows;           ///< of both, where Sampler::kRandomOthers must tell them apart
  std::vector<Row> example_rows;
};

struct DataOptions {
  std::int64_t limit = 0;         ///< documents of a task; 0: all
  std::optional<int> shots = {};  ///< of every task; none: the task's own
};

/// The files of a folder, each read once for all the tasks that it serves.
class DataFolder {
 public:
  explicit DataFolder(std::filesystem::path folder);

  /// Throws Error{kNotFound} that says which file was looked for and where the set is to be had,
  /// Error{kCorrupt} as make_documents, Error{kInvalidArgument} for more shots than examples.
  TaskData load(const Task& task, const DataOptions& options);

  /// SHA-256 of every file that was read, by its path below the folder.
  const std::map<std::string, std::string>& hashes() const { return hashes_; }

 private:
  struct Found {
    std::string split;
    std::string file;  ///< below the folder
  };

  Found find(const Task& task, std::span<const Split> splits) const;
  const std::vector<Row>& rows(const std::string& file);

  std::filesystem::path folder_;
  std::map<std::string, std::vector<Row>> rows_;
  std::map<std::string, std::string> hashes_;
};

/// What precedes each document: the task's description, and its examples with their answers.
class Examples {
 public:
  /// `data` must outlive the object. `seed` is lm-eval's fewshot_seed.
  Examples(const TaskData& data, std::uint64_t seed);

  /// Of documents 0, 1, 2, …, in this order: the draws follow one another. Valid until the next
  /// call.
  const std::string& before(std::size_t document);

 private:
  std::vector<std::size_t> draw(std::size_t document);

  const TaskData& data_;
  PythonRandom random_;
  std::string text_;
};

}  // namespace onebit::eval
