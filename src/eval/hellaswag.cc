// HellaSwag: how a described scene goes on (arXiv 1905.07830).
#include "eval/python_text.h"
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

/// Without what stands in brackets, which wikiHow's markup has left; "[title]" ends a sentence.
/// Two spaces become one, but only once each: where brackets fall away at the beginning a space
/// stays.
std::string cleaned(std::string_view text) {
  std::string rest = replace_all(strip(text), " [title]", ". ");
  std::string result;
  for (std::size_t at = 0; at < rest.size();) {
    const std::size_t end = rest[at] == '[' ? rest.find_first_of("]\n", at) : std::string::npos;
    if (end != std::string::npos && rest[end] == ']') {
      at = end + 1;
    } else {
      result += rest[at++];
    }
  }
  return replace_all(result, "  ", " ");
}

Document document(const Row& row) {
  const std::string context = row.text("ctx_a") + " " + capitalize(row.text("ctx_b"));
  Document made = {.context = cleaned(row.text("activity_label") + ": " + context),
                   .choices = row.texts("endings")};
  if (made.choices.empty()) row.fail("endings", "none", "an array of strings");
  for (std::string& choice : made.choices) choice = cleaned(choice);
  made.target = row.label("label", made.choices.size());
  return made;
}

}  // namespace

TaskSet make_hellaswag() {
  return {.tasks = {{.name = "hellaswag",
                     .alias = "hellaswag",
                     .set = "Rowan/hellaswag",
                     .splits = {{"validation",
                                 {"hellaswag.validation.jsonl", "hellaswag/validation.jsonl",
                                  "hellaswag_val.jsonl"}}},
                     .examples = {"train",
                                  {"hellaswag.train.jsonl", "hellaswag/train.jsonl",
                                   "hellaswag_train.jsonl"}},
                     .sampler = Sampler::kRandomOthers,
                     .metrics = {Metric::kAcc, Metric::kAccNorm},
                     .document = document}}};
}

}  // namespace onebit::eval
