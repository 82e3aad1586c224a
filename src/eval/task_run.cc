#include "eval/task_run.h"

#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <string>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "eval/python_text.h"

namespace onebit::eval {
namespace {

// Documents whose prompts are held as text at a time.
constexpr std::size_t kTextDocuments = 256;

[[noreturn]] void rethrow_of(const Task& task, std::size_t document,
                             const std::exception_ptr& failure) {
  try {
    std::rethrow_exception(failure);
  } catch (const Error& error) {
    throw Error(error.code(),
                fmt::format("{}, document {}: {}", task.name, document, error.what()));
  }
}

}  // namespace

std::uint64_t TaskPlan::tokens(std::size_t begin, std::size_t end) const {
  std::uint64_t sum = 0;
  for (std::size_t i = begin; i < end; ++i) {
    for (const DocumentPlan::Run& run : documents[i].runs) sum += run.tokens.size();
  }
  return sum;
}

TaskPlan plan_task(TaskData data, const text::Tokenizer& tokenizer, const PlanOptions& options,
                   ThreadPool& pool, Progress& progress, const std::stop_token& stop) {
  TaskPlan plan = {.data = std::move(data)};
  const Task& task = *plan.data.task;
  const std::size_t total = plan.data.documents.size();
  plan.documents.resize(total);
  Examples examples(plan.data, options.seed);
  for (std::size_t begin = 0; begin < total; begin += kTextDocuments) {
    if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "tokenising was interrupted");
    const std::size_t count = std::min(kTextDocuments, total - begin);
    std::vector<std::vector<Prompt>> prompts(count);
    for (std::size_t i = 0; i < count; ++i) {
      prompts[i] = make_prompts(task, plan.data.documents[begin + i], examples.before(begin + i));
    }
    std::vector<std::exception_ptr> failures(count);
    pool.parallel_tasks(static_cast<std::int64_t>(count), [&](std::int64_t index, int) {
      const auto i = static_cast<std::size_t>(index);
      try {
        plan.documents[begin + i] = make_plan(encode(prompts[i], tokenizer), options.context);
      } catch (...) {
        failures[i] = std::current_exception();
      }
    });
    for (std::size_t i = 0; i < count; ++i) {
      if (failures[i]) rethrow_of(task, begin + i, failures[i]);
    }
    progress.update(begin + count, total, task.name);
  }
  return plan;
}

void score_task(const TaskPlan& plan, std::size_t begin, DocumentScorer& scorer,
                const SampleSink& take, const std::stop_token& stop) {
  const Task& task = *plan.data.task;
  constexpr auto kBatch = static_cast<std::size_t>(kBatchDocuments);
  const std::span<const DocumentPlan> plans = plan.documents;
  ONEBIT_CHECK(begin % kBatch == 0 || begin == plans.size());
  for (std::size_t first = begin; first < plans.size(); first += kBatch) {
    const std::size_t count = std::min(kBatch, plans.size() - first);
    std::vector<std::vector<ChoiceScore>> scores;
    try {
      scores = scorer.score(plans.subspan(first, count), static_cast<std::int64_t>(first), stop);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted) throw;
      throw Error(error.code(), fmt::format("{}: {}", task.name, error.what()));
    }
    std::vector<Sample> samples;
    samples.reserve(count);
    for (std::size_t i = 0; i < count; ++i) {
      const Document& document = plan.data.documents[first + i];
      for (std::size_t choice = 0; choice < scores[i].size(); ++choice) {
        scores[i][choice].characters = characters(document.choices[choice]);
      }
      samples.push_back(judge(task, static_cast<std::int64_t>(first + i), document.target,
                              std::move(scores[i]), plans[first + i].truncated));
    }
    take(std::move(samples));
  }
}

}  // namespace onebit::eval
