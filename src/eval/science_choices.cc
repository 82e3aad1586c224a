#include "eval/science_choices.h"

#include <algorithm>
#include <fmt/format.h>

#include "eval/python_text.h"
#include "text/quote.h"

namespace onebit::eval {

Document science_question(const Row& row, const char* question) {
  Document made;
  std::vector<std::string> labels;
  if (row.is_object("question")) {
    const Row inner = row.object("question");
    made.context = inner.text("stem");
    for (const Row& choice : inner.objects("choices")) {
      made.choices.push_back(choice.text("text"));
      labels.push_back(choice.text("label"));
    }
  } else {
    made.context = row.text(question);
    const Row choices = row.object("choices");
    made.choices = choices.texts("text");
    labels = choices.texts("label");
  }
  if (made.choices.empty() || labels.size() != made.choices.size()) {
    row.fail("choices", fmt::format("{} texts and {} labels", made.choices.size(), labels.size()),
             "a label for every text");
  }
  // OpenBookQA's keys once had spaces.
  const std::string key = row.text("answerKey");
  const std::string_view answer = strip(key);
  const auto right = std::find(labels.begin(), labels.end(), answer);
  if (right == labels.end()) {
    row.fail("answerKey", text::in_quotes(key),
             fmt::format("one of the labels {}", fmt::join(labels, ", ")));
  }
  made.target = static_cast<std::size_t>(right - labels.begin());
  return made;
}

}  // namespace onebit::eval
