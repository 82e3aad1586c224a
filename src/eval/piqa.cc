// PIQA: which of two ways to reach an everyday goal works (arXiv 1911.11641).
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

Document document(const Row& row) {
  return {.context = "Question: " + row.text("goal") + "\nAnswer:",
          .choices = {row.text("sol1"), row.text("sol2")},
          .target = row.label("label", 2)};
}

}  // namespace

TaskSet make_piqa() {
  return {.tasks = {{.name = "piqa",
                     .alias = "piqa",
                     .set = "baber/piqa",
                     .splits = {{"validation", {"piqa.validation.jsonl", "piqa/validation.jsonl"}}},
                     .examples = {"train", {"piqa.train.jsonl", "piqa/train.jsonl"}},
                     .sampler = Sampler::kRandomOthers,
                     .metrics = {Metric::kAcc, Metric::kAccNorm},
                     .document = document}}};
}

}  // namespace onebit::eval
