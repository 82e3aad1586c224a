// BoolQ: questions about a passage whose answer is yes or no (arXiv 1905.10044).
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

/// SuperGLUE calls the answer "label".
Document document(const Row& row) {
  return {.context = row.text("passage") + "\nQuestion: " + row.text("question") + "?\nAnswer:",
          .choices = {"no", "yes"},
          .target = row.truth(row.has("label") ? "label" : "answer") ? std::size_t{1} : 0};
}

}  // namespace

TaskSet make_boolq() {
  return {.tasks = {{.name = "boolq",
                     .alias = "boolq",
                     .version = 2,
                     .set = "aps/super_glue",
                     .subset = "boolq",
                     .splits = {{"validation",
                                 {"boolq.validation.jsonl", "boolq/validation.jsonl",
                                  "boolq/dev.jsonl", "BoolQ/val.jsonl"}}},
                     .examples = {"train",
                                  {"boolq.train.jsonl", "boolq/train.jsonl", "BoolQ/train.jsonl"}},
                     .sampler = Sampler::kRandomOthers,
                     .metrics = {Metric::kAcc},
                     .document = document}}};
}

}  // namespace onebit::eval
