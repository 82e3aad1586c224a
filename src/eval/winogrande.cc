// WinoGrande: which of two names a blank stands for (arXiv 1907.10641), by partial evaluation
// (Trinh and Le, arXiv 1806.02847): each name is put into the blank, and what follows is scored.
#include "eval/python_text.h"
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

Document document(const Row& row) {
  const std::string sentence = row.text("sentence");
  const std::size_t blank = sentence.find('_');
  if (blank == std::string::npos) row.fail("sentence", "no '_' in it", "a sentence with a blank");
  const std::string before = sentence.substr(0, blank);
  const std::string_view after = strip(std::string_view(sentence).substr(blank + 1));
  if (after.empty()) row.fail("sentence", "nothing after its '_'", "words that can be scored");
  return {.choices = {before + row.text("option1"), before + row.text("option2")},
          .target = row.label("answer", 2, 1),
          .continuation = std::string(after)};
}

}  // namespace

TaskSet make_winogrande() {
  return {.tasks = {{.name = "winogrande",
                     .alias = "winogrande",
                     .set = "allenai/winogrande",
                     .subset = "winogrande_xl",
                     .splits = {{"validation",
                                 {"winogrande.validation.jsonl", "winogrande/validation.jsonl",
                                  "winogrande_1.1/dev.jsonl"}}},
                     .examples = {"train",
                                  {"winogrande.train.jsonl", "winogrande/train.jsonl",
                                   "winogrande_1.1/train_xl.jsonl"}},
                     .sampler = Sampler::kRandomOthers,
                     .output = Output::kContexts,
                     .metrics = {Metric::kAcc},
                     .document = document}}};
}

}  // namespace onebit::eval
