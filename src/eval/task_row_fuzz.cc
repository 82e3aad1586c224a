// Fuzzes the rows of tasks: any text gives documents whose prompts can be made, or an Error.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "eval/requests.h"
#include "eval/task_data.h"
#include "text/unicode.h"

namespace onebit::eval {
namespace {

void exercise(const Task& task, const std::vector<Row>& rows) {
  TaskData data;
  data.task = &task;
  data.documents = make_documents(task, rows, "data.jsonl");
  data.examples = data.documents;
  data.rows = data.example_rows = rows;
  data.shots = data.documents.size() > 1 && task.sampler == Sampler::kFirst ? 1 : 0;
  Examples examples(data, 0);
  for (std::size_t i = 0; i < data.documents.size(); ++i) {
    const Document& document = data.documents[i];
    ONEBIT_CHECK(document.target < document.choices.size());
    const auto prompts = make_prompts(task, document, examples.before(i));
    ONEBIT_CHECK(prompts.size() == document.choices.size());
    for (const Prompt& prompt : prompts) {
      ONEBIT_CHECK(text::is_utf8(prompt.context) && text::is_utf8(prompt.continuation));
      ONEBIT_CHECK(!prompt.continuation.empty());
    }
  }
}

}  // namespace
}  // namespace onebit::eval

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  using namespace onebit::eval;
  if (size == 0) return 0;
  // MMLU's subjects are one reader: two of them, and every other task.
  static const std::vector<const Task*> kTasks = [] {
    std::vector<const Task*> tasks = {find_task("mmlu_anatomy"), find_task("mmlu_virology")};
    for (const Task& task : all_tasks()) {
      if (task.subject.empty()) tasks.push_back(&task);
    }
    return tasks;
  }();
  const Task& task = *kTasks[data[0] % kTasks.size()];
  try {
    exercise(task, read_rows("data.jsonl", {reinterpret_cast<const char*>(data + 1), size - 1}));
  } catch (const Error&) {
  }
  return 0;
}
