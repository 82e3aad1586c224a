// ARC: questions of school examinations, easy ones and those that simple methods fail at (arXiv
// 1803.05457).
#include "eval/science_choices.h"
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

Document document(const Row& row) {
  Document made = science_question(row, "question");
  made.context = "Question: " + made.context + "\nAnswer:";
  return made;
}

}  // namespace

TaskSet make_arc() {
  Task task = {
      .set = "allenai/ai2_arc", .metrics = {Metric::kAcc, Metric::kAccNorm}, .document = document};
  TaskSet set;
  task.name = task.alias = "arc_easy";
  task.subset = "ARC-Easy";
  task.splits = {
      {"test", {"arc_easy.test.jsonl", "arc_easy/test.jsonl", "ARC-Easy/ARC-Easy-Test.jsonl"}},
      {"validation",
       {"arc_easy.validation.jsonl", "arc_easy/validation.jsonl", "ARC-Easy/ARC-Easy-Dev.jsonl"}}};
  task.examples = {
      "train", {"arc_easy.train.jsonl", "arc_easy/train.jsonl", "ARC-Easy/ARC-Easy-Train.jsonl"}};
  set.tasks.push_back(task);
  task.name = task.alias = "arc_challenge";
  task.subset = "ARC-Challenge";
  task.splits = {{"test",
                  {"arc_challenge.test.jsonl", "arc_challenge/test.jsonl",
                   "ARC-Challenge/ARC-Challenge-Test.jsonl"}},
                 {"validation",
                  {"arc_challenge.validation.jsonl", "arc_challenge/validation.jsonl",
                   "ARC-Challenge/ARC-Challenge-Dev.jsonl"}}};
  task.examples = {"train",
                   {"arc_challenge.train.jsonl", "arc_challenge/train.jsonl",
                    "ARC-Challenge/ARC-Challenge-Train.jsonl"}};
  set.tasks.push_back(task);
  return set;
}

}  // namespace onebit::eval
