// LAMBADA: the last word of a passage (arXiv 1606.06031), in the version that OpenAI made for
// GPT-2.
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

Document document(const Row& row) {
  const std::string text = row.text("text");
  const std::size_t space = text.rfind(' ');
  const bool one_word = space == std::string::npos;
  return {.context = one_word ? "" : text.substr(0, space),
          .choices = {" " + (one_word ? text : text.substr(space + 1))}};
}

}  // namespace

TaskSet make_lambada() {
  const Split test = {"test",
                      {"lambada_openai.test.jsonl", "lambada_openai/test.jsonl",
                       "lambada_test.jsonl", "lambada_test_en.jsonl"}};
  return {.tasks = {{.name = "lambada_openai",
                     .alias = "lambada_openai",
                     .set = "EleutherAI/lambada_openai",
                     .subset = "default",
                     .splits = {test},
                     .examples = test,
                     .output = Output::kContinuation,
                     .metrics = {Metric::kPerplexity, Metric::kAcc},
                     .document = document}}};
}

}  // namespace onebit::eval
