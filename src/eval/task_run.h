// A task at work: its documents as token ids, then scored batch by batch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <stop_token>
#include <vector>

#include "base/progress.h"
#include "base/thread_pool.h"
#include "eval/document_scorer.h"
#include "eval/requests.h"
#include "eval/sample.h"
#include "eval/task_data.h"
#include "text/tokenizer.h"

namespace onebit::eval {

/// Documents that go to the scorer together. A batch begins at a multiple of this, whoever begins
/// where, so that an engine whose rounding depends on the company still gives the same scores.
inline constexpr std::int64_t kBatchDocuments = 32;

struct TaskPlan {
  TaskData data;
  std::vector<DocumentPlan> documents = {};

  /// Of the runs of documents begin … end - 1.
  std::uint64_t tokens(std::size_t begin, std::size_t end) const;
};

struct PlanOptions {
  std::int64_t context = 0;   ///< tokens of a sequence at most
  std::uint64_t seed = 1234;  ///< lm-eval's fewshot_seed
};

/// Tokenises all documents, on all threads. Throws as encode() and make_plan(), naming task and
/// document; Error{kInterrupted} when stopped. Progress counts documents.
TaskPlan plan_task(TaskData data, const text::Tokenizer& tokenizer, const PlanOptions& options,
                   ThreadPool& pool, Progress& progress, const std::stop_token& stop);

/// The samples of one batch, documents in order.
using SampleSink = std::function<void(std::vector<Sample> samples)>;

/// Scores the documents from number `begin` on, a multiple of kBatchDocuments or the end. Throws as
/// DocumentScorer::score(), naming the task; batches that were handed over before stay valid.
void score_task(const TaskPlan& plan, std::size_t begin, DocumentScorer& scorer,
                const SampleSink& take, const std::stop_token& stop);

}  // namespace onebit::eval
