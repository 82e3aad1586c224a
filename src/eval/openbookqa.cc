// OpenBookQA: elementary science, without the book (arXiv 1809.02789).
#include "eval/science_choices.h"
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

Document document(const Row& row) { return science_question(row, "question_stem"); }

}  // namespace

TaskSet make_openbookqa() {
  return {.tasks = {{.name = "openbookqa",
                     .alias = "openbookqa",
                     .set = "allenai/openbookqa",
                     .subset = "main",
                     .splits = {{"test", {"openbookqa.test.jsonl", "openbookqa/test.jsonl"}},
                                {"validation",
                                 {"openbookqa.validation.jsonl", "openbookqa/validation.jsonl"}}},
                     .examples = {"train", {"openbookqa.train.jsonl", "openbookqa/train.jsonl"}},
                     .metrics = {Metric::kAcc, Metric::kAccNorm},
                     .document = document}}};
}

}  // namespace onebit::eval
