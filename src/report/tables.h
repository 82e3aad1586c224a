// The tables of a comparison, one function and one file each. A table without rows is left out of
// the report: the inputs do not have what it shows.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/words.h"
#include "report/comparison.h"
#include "report/table.h"

namespace onebit::report {

/// Which accuracy of a task is shown where one number must do.
enum class Accuracy : std::uint8_t {
  kAccNorm,  ///< by likelihood per character where the task has it (HellaSwag, PIQA, ARC), as
             ///< OneBit and what it is compared with report
  kAcc,      ///< by likelihood
};

struct TableOptions {
  Accuracy accuracy = Accuracy::kAccNorm;
  std::size_t base = 0;  ///< of paired differences: a model's index
};

/// A task of the papers' tables.
struct KnownTask {
  const char* id;    ///< in results
  const char* name;  ///< in tables
};
/// The six of OneBit's table of results, in its order.
inline constexpr KnownTask kZeroShotTasks[] = {
    {"winogrande", "WinoGrande"}, {"hellaswag", "HellaSwag"}, {"piqa", "PIQA"},
    {"boolq", "BoolQ"},           {"arc_easy", "ARC-e"},      {"arc_challenge", "ARC-c"}};
inline constexpr KnownTask kMmluGroups[] = {{"mmlu_stem", "STEM"},
                                            {"mmlu_humanities", "humanities"},
                                            {"mmlu_social_sciences", "social sciences"},
                                            {"mmlu_other", "other"},
                                            {"mmlu", "average"}};

/// "PIQA" of "piqa"; what is not known is called what it is.
std::string task_name(const std::string& task);

/// The metric of a task by the option; empty where it has no accuracy.
std::string accuracy_metric(const TaskScore& task, Accuracy accuracy);

/// Whether a metric is a share of documents, shown in percent.
bool is_share(const std::string& metric);

/// One of MMLU's 57 subjects.
bool is_mmlu_subject(const TaskScore& task);

Table main_table(const Comparison& comparison, const TableOptions& options);
Table mmlu_table(const Comparison& comparison);
Table divergence_table(const Comparison& comparison);
Table size_table(const Comparison& comparison);
/// All metrics of all tasks but MMLU's subjects, or of those.
Table tasks_table(const Comparison& comparison, bool mmlu_subjects);
Table paired_table(const Comparison& comparison, const TableOptions& options);
Table speed_table(const Comparison& comparison);
Table runs_table(const Comparison& comparison);
Table matrices_table(const Comparison& comparison);
/// By the kind of matrix; by matrix.
std::vector<Table> sensitivity_tables(const Comparison& comparison);
Table sources_table(const Comparison& comparison);

}  // namespace onebit::report

namespace onebit {

template <>
struct Words<report::Accuracy> {
  static constexpr Word<report::Accuracy> kAll[] = {{report::Accuracy::kAccNorm, "acc_norm"},
                                                    {report::Accuracy::kAcc, "acc"}};
};

}  // namespace onebit
