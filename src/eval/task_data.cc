#include "eval/task_data.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <span>
#include <utility>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sha256.h"

namespace onebit::eval {
namespace {

std::vector<Row> rows_of_subject(const Task& task, std::span<const Row> rows,
                                 std::string_view file) {
  std::vector<Row> own;
  for (const Row& row : rows) {
    if (task.subject.empty() || row.text("subject") == task.subject) own.push_back(row);
  }
  if (own.empty()) {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: found no row of subject \"{}\", expected one "
                                                 "at least",
                                                 file, task.subject));
  }
  return own;
}

std::vector<Document> documents_of(const Task& task, std::span<const Row> rows) {
  std::vector<Document> documents;
  documents.reserve(rows.size());
  for (const Row& row : rows) documents.push_back(task.document(row));
  return documents;
}

/// The question with its answer, as an example of others.
void append_example(const Task& task, const Document& document, std::string& text) {
  const std::string& choice = document.choices.at(document.target);
  if (task.output == Output::kContexts) {
    text += choice;
    text += kTargetDelimiter;
    text += document.continuation;
  } else {
    text += document.context;
    text += kTargetDelimiter;
    text += choice;
  }
  text += kExampleDelimiter;
}

}  // namespace

std::vector<Document> make_documents(const Task& task, std::span<const Row> rows,
                                     std::string_view file) {
  return documents_of(task, rows_of_subject(task, rows, file));
}

DataFolder::DataFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

DataFolder::Found DataFolder::find(const Task& task, std::span<const Split> splits) const {
  for (const Split& split : splits) {
    for (const std::string_view file : split.files) {
      std::error_code ignored;
      if (std::filesystem::exists(folder_ / file, ignored)) {
        return {std::string(split.name), std::string(file)};
      }
    }
  }
  std::string names;
  for (const Split& split : splits) {
    names += fmt::format("{}{}", names.empty() ? "" : " or ", split.files.front());
  }
  throw Error(
      ErrorCode::kNotFound,
      fmt::format("{}: found no {} in {}, expected rows of {}{}{} (a data set of the Hugging "
                  "Face hub) in JSON lines",
                  task.name, names, folder_.string(), task.set, task.subset.empty() ? "" : ", ",
                  task.subset));
}

const std::vector<Row>& DataFolder::rows(const std::string& file) {
  const auto known = rows_.find(file);
  if (known != rows_.end()) return known->second;
  const std::filesystem::path path = folder_ / file;
  const std::string content = read_file(path);
  Sha256 hash;
  hash.update(std::as_bytes(std::span(content)));
  hashes_[file] = hash.hex();
  return rows_[file] = read_rows(path.string(), content);
}

TaskData DataFolder::load(const Task& task, const DataOptions& options) {
  TaskData data;
  data.task = &task;
  const Found found = find(task, task.splits);
  data.split = found.split;
  data.file = folder_ / found.file;
  const std::vector<Row> own = rows_of_subject(task, rows(found.file), data.file.string());
  data.documents = documents_of(task, own);
  data.available = static_cast<std::int64_t>(data.documents.size());
  if (options.limit > 0 && options.limit < data.available) {
    data.documents.resize(static_cast<std::size_t>(options.limit));
  }
  data.shots = options.shots.value_or(task.shots);
  if (data.shots == 0) return data;

  const std::string examples_file = find(task, {&task.examples, 1}).file;
  const std::string examples_path = (folder_ / examples_file).string();
  const std::vector<Row> example_rows = rows_of_subject(task, rows(examples_file), examples_path);
  data.examples = documents_of(task, example_rows);
  const bool others = task.sampler == Sampler::kRandomOthers;
  const std::size_t needed = static_cast<std::size_t>(data.shots) + (others ? 1 : 0);
  if (data.examples.size() < needed) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: {}: found {} examples, expected {} for {} shots", task.name,
                            examples_path, data.examples.size(), needed, data.shots));
  }
  if (others) {
    data.rows = own;
    data.example_rows = example_rows;
  }
  return data;
}

Examples::Examples(const TaskData& data, std::uint64_t seed) : data_(data), random_(seed) {}

const std::string& Examples::before(std::size_t document) {
  const bool same = data_.shots == 0 || data_.task->sampler == Sampler::kFirst;
  if (same && document > 0) return text_;
  text_ = data_.task->description;
  for (const std::size_t i : draw(document)) {
    append_example(*data_.task, data_.examples[i], text_);
  }
  return text_;
}

std::vector<std::size_t> Examples::draw(std::size_t document) {
  const auto shots = static_cast<std::size_t>(data_.shots);
  const std::size_t population = data_.examples.size();
  if (shots == 0) return {};
  if (data_.task->sampler == Sampler::kFirst) {
    std::vector<std::size_t> first(shots);
    std::iota(first.begin(), first.end(), std::size_t{0});
    return first;
  }
  if (data_.task->sampler == Sampler::kRandom) return random_.sample(population, shots);
  const Row& own = data_.rows[document];
  const auto is_own = [&](std::size_t example) { return data_.example_rows[example] == own; };
  std::vector<std::size_t> drawn = random_.sample(population, shots + 1);
  std::erase_if(drawn, is_own);
  if (drawn.size() < shots) {  // the row is there several times: draw from the others alone
    std::vector<std::size_t> others(population);
    std::iota(others.begin(), others.end(), std::size_t{0});
    std::erase_if(others, is_own);
    if (others.size() < shots) {
      throw Error(
          ErrorCode::kInvalidArgument,
          fmt::format("{}: found {} examples other than document {}, expected {} for as many "
                      "shots",
                      data_.task->name, others.size(), document, shots));
    }
    drawn = random_.sample(others.size(), shots);
    for (std::size_t& i : drawn) i = others[i];
  }
  drawn.resize(shots);
  return drawn;
}

}  // namespace onebit::eval
