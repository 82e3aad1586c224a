#include "eval/document_scorer.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>

#include "base/check.h"
#include "base/error.h"
#include "eval/log_softmax.h"

namespace onebit::eval {
namespace {

// Rows that are reduced together: enough for every thread, 32 · 4 bytes · vocabulary of memory.
constexpr std::size_t kRows = 32;

/// The reads of one position.
std::span<const DocumentPlan::Read> reads_at(const DocumentPlan::Run& run, std::int64_t position) {
  const auto [begin, end] =
      std::equal_range(run.reads.begin(), run.reads.end(), DocumentPlan::Read{.position = position},
                       [](const DocumentPlan::Read& a, const DocumentPlan::Read& b) {
                         return a.position < b.position;
                       });
  return {begin, end};
}

}  // namespace

DocumentScorer::DocumentScorer(Scorer& scorer, ThreadPool& pool)
    : scorer_(scorer), pool_(pool), vocab_(static_cast<std::size_t>(scorer.vocab_size())) {
  logits_.resize(kRows * vocab_);
  rows_.reserve(kRows);
}

std::vector<std::vector<ChoiceScore>> DocumentScorer::score(std::span<const DocumentPlan> plans,
                                                            std::int64_t first,
                                                            const std::stop_token& stop) {
  first_ = first;
  runs_.clear();
  rows_.clear();
  log_probabilities_.assign(plans.size(), {});
  likeliest_.assign(plans.size(), {});
  std::vector<Sequence> sequences;
  for (std::size_t document = 0; document < plans.size(); ++document) {
    for (const std::int64_t length : plans[document].lengths) {
      log_probabilities_[document].emplace_back(length);
      likeliest_[document].emplace_back(length);
    }
    for (const DocumentPlan::Run& run : plans[document].runs) {
      runs_.push_back({document, &run});
      sequences.push_back(run.sequence());
    }
  }
  scorer_.score_batch(sequences,
                      [&](std::size_t run, std::int64_t position, std::span<const float> logits) {
                        if (stop.stop_requested())
                          throw Error(ErrorCode::kInterrupted, "scoring was interrupted");
                        accept(run, position, logits);
                      });
  flush();

  std::vector<std::vector<ChoiceScore>> scores(plans.size());
  for (std::size_t document = 0; document < plans.size(); ++document) {
    for (std::size_t choice = 0; choice < plans[document].lengths.size(); ++choice) {
      const std::vector<double>& tokens = log_probabilities_[document][choice];
      const std::vector<char>& likeliest = likeliest_[document][choice];
      scores[document].push_back(
          {.loglikelihood = std::accumulate(tokens.begin(), tokens.end(), 0.0),
           .tokens = plans[document].lengths[choice],
           .greedy =
               std::all_of(likeliest.begin(), likeliest.end(), [](char c) { return c != 0; })});
    }
  }
  return scores;
}

void DocumentScorer::accept(std::size_t run, std::int64_t position, std::span<const float> logits) {
  ONEBIT_CHECK(run < runs_.size() && logits.size() == vocab_);
  const auto reads = reads_at(*runs_[run].run, position);
  if (reads.empty()) return;
  std::copy(logits.begin(), logits.end(),
            logits_.begin() + static_cast<std::ptrdiff_t>(rows_.size() * vocab_));
  rows_.push_back({run, reads, true});
  if (rows_.size() == kRows) flush();
}

void DocumentScorer::flush() {
  pool_.parallel_tasks(static_cast<std::int64_t>(rows_.size()), [&](std::int64_t task, int) {
    LogitRow& row = rows_[static_cast<std::size_t>(task)];
    const std::span<const float> logits(logits_.data() + static_cast<std::size_t>(task) * vocab_,
                                        vocab_);
    const LogSumExp sums = log_sum_exp(logits);
    row.finite = sums.finite;
    const std::size_t document = runs_[row.run].document;
    for (const DocumentPlan::Read& read : row.reads) {
      const auto token = static_cast<std::size_t>(read.token);
      log_probabilities_[document][read.choice][read.index] = logits[token] - sums.value;
      likeliest_[document][read.choice][read.index] = sums.top == token ? 1 : 0;
    }
  });
  for (const LogitRow& row : rows_) {
    if (row.finite) continue;
    throw Error(ErrorCode::kNumeric,
                fmt::format("document {}: found logits of NaN or infinity at position {}, expected "
                            "finite numbers",
                            first_ + static_cast<std::int64_t>(runs_[row.run].document),
                            row.reads.front().position));
  }
  rows_.clear();
}

}  // namespace onebit::eval
