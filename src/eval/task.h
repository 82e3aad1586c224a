// What a zero-shot task is, as data: where its set's rows come from, how a row becomes a document,
// what is counted. The definitions are lm-eval's (EleutherAI's lm-evaluation-harness, 0.4.13), so
// that figures can be laid beside those of others: docs/evaluation.md. One file a task or a family
// of tasks, and one line in task_list.inc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/words.h"
#include "eval/row.h"

namespace onebit::eval {

/// How a document's parts become prompts (requests.h).
enum class Output : std::uint8_t {
  kChoices,       ///< one context, and choices that follow it
  kContexts,      ///< choices that are contexts, and one text that follows each
  kContinuation,  ///< one context and what follows it
};

enum class Metric : std::uint8_t {
  kAcc,      ///< the choice of highest log-likelihood is right; of kContinuation: greedy finds it
  kAccNorm,  ///< the same of log-likelihood / characters of the choice
  kPerplexity,  ///< e^(-mean log-likelihood of the continuation)
};

constexpr bool higher_is_better(Metric metric) { return metric != Metric::kPerplexity; }

/// Between a context and its choice, and after a few-shot example.
inline constexpr std::string_view kTargetDelimiter = " ";
inline constexpr std::string_view kExampleDelimiter = "\n\n";

struct Document {
  std::string context = {};  ///< the question; empty where the choices are contexts
  std::vector<std::string> choices =
      {};                         ///< of kContinuation one, which brings its own first space
  std::size_t target = 0;         ///< the right one
  std::string continuation = {};  ///< what follows each of kContexts; else empty
};

/// A part of a set: a file in JSON lines, by one of the names under which it is known, the first
/// that is there.
struct Split {
  std::string_view name;                ///< "validation"
  std::vector<std::string_view> files;  ///< below the data folder
};

/// How few-shot examples are chosen.
enum class Sampler : std::uint8_t {
  kFirst,         ///< the first ones, for every document the same
  kRandom,        ///< drawn anew for every document
  kRandomOthers,  ///< the same, one more being drawn, so that the document itself can be left out
};

struct Task {
  std::string name = {};   ///< as lm-eval's --tasks has it
  std::string alias = {};  ///< as tables show it
  double version = 1;
  std::string_view set = {};       ///< the set's name on the Hugging Face hub
  std::string_view subset = {};    ///< its configuration there; may be empty
  std::vector<Split> splits = {};  ///< what is scored: the first whose file is there
  Split examples = {};             ///< what few-shot examples are drawn from
  Sampler sampler = Sampler::kRandom;
  int shots = 0;                 ///< where nobody asks for another number
  std::string subject = {};      ///< only rows with this "subject"; empty: all
  std::string description = {};  ///< begins every prompt
  Output output = Output::kChoices;
  std::vector<Metric> metrics = {};
  /// Throws Error{kCorrupt} (row.h) for a row that is none of this set.
  Document (*document)(const Row& row) = nullptr;

  bool has(Metric metric) const;
};

/// Several tasks under one name.
struct Group {
  std::string name;
  std::string alias;
  std::vector<std::string> members = {};  ///< tasks and groups
  /// Whether results hold the members' mean accuracy, weighted by their documents; else the name
  /// only stands for them.
  bool mean = true;
  int version = 1;
};

/// What one file defines.
struct TaskSet {
  std::vector<Task> tasks = {};
  std::vector<Group> groups = {};
};

/// Of all files, in the list's order; groups after their members.
std::span<const Task> all_tasks();
std::span<const Group> all_groups();

/// Null where there is none.
const Task* find_task(std::string_view name);
const Group* find_group(std::string_view name);

/// The names that stand for tasks: "all", groups, tasks.
std::vector<std::string_view> task_names();

/// Tasks to score, each once, in the order in which they were named, and the groups with a mean
/// among what was named.
struct Selection {
  std::vector<const Task*> tasks;
  std::vector<const Group*> groups;  ///< in all_groups()'s order

  /// False where `name` is none of task_names().
  bool add(std::string_view name);
};

}  // namespace onebit::eval

namespace onebit {

template <>
struct Words<eval::Metric> {
  static constexpr Word<eval::Metric> kAll[] = {{eval::Metric::kAcc, "acc"},
                                                {eval::Metric::kAccNorm, "acc_norm"},
                                                {eval::Metric::kPerplexity, "perplexity"}};
};

}  // namespace onebit
