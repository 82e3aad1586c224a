// Log-likelihoods of many documents' choices, as few passes of the model as their plans allow.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "eval/requests.h"
#include "eval/sample.h"
#include "eval/scorer.h"

namespace onebit::eval {

class DocumentScorer {
 public:
  /// Both must outlive the object; the pool's threads reduce logits.
  DocumentScorer(Scorer& scorer, ThreadPool& pool);

  /// The scores of every plan's choices, but for their characters. All runs go to the scorer
  /// together, in order. The result does not depend on the number of threads. Throws what the
  /// scorer throws; Error{kNumeric} for logits that are not finite, in which "document N" is
  /// `first` plus the plan's index; Error{kInterrupted} when stopped.
  std::vector<std::vector<ChoiceScore>> score(std::span<const DocumentPlan> plans,
                                              std::int64_t first, const std::stop_token& stop);

 private:
  /// One run of one plan, and a row of logits that belongs to it.
  struct RunOfDocument {
    std::size_t document;
    const DocumentPlan::Run* run;
  };
  struct LogitRow {
    std::size_t run;
    std::span<const DocumentPlan::Read> reads;
    bool finite;
  };

  void accept(std::size_t run, std::int64_t position, std::span<const float> logits);
  void flush();

  Scorer& scorer_;
  ThreadPool& pool_;
  std::size_t vocab_;
  std::int64_t first_ = 0;
  std::vector<RunOfDocument> runs_;
  /// [document][choice][token of the continuation]
  std::vector<std::vector<std::vector<double>>> log_probabilities_;
  std::vector<std::vector<std::vector<char>>> likeliest_;
  std::vector<float> logits_;  ///< [kRows, vocab]: the rows of rows_
  std::vector<LogitRow> rows_;
};

}  // namespace onebit::eval
