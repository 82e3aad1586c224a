// A Scorer pushes logits; comparing two models position by position needs one of them to be pulled.
// The scorer runs on a thread of its own, held up while nobody asks, so that only a few rows exist
// at a time.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "eval/scorer.h"

namespace onebit::eval {

class LogitsStream {
 public:
  /// Begins scorer.score(tokens, first). `scorer` and `tokens` must outlive the object, and the
  /// scorer serves nobody else meanwhile. At most `capacity` rows are held.
  LogitsStream(Scorer& scorer, std::span<const text::TokenId> tokens, std::int64_t first,
               std::int64_t capacity);

  /// Stops the scorer at its next row and waits for it.
  ~LogitsStream();

  LogitsStream(const LogitsStream&) = delete;
  LogitsStream& operator=(const LogitsStream&) = delete;

  /// The next rows in order: f32 [n, vocab] with n = capacity, fewer only at the end; valid until
  /// the next call. Empty after the last. Rethrows what score() threw.
  std::span<const float> next();

 private:
  enum class Turn : std::uint8_t { kScorer, kReader };

  void produce(std::span<const text::TokenId> tokens, std::int64_t first);
  void accept(std::span<const float> row);

  Scorer& scorer_;
  std::size_t vocab_;
  std::size_t capacity_;
  std::vector<float> rows_;
  std::size_t filled_ = 0;  ///< rows in rows_

  std::mutex mutex_;
  std::condition_variable changed_;
  Turn turn_ = Turn::kScorer;  ///< who may touch rows_ and filled_
  bool finished_ = false;      ///< score() has returned or thrown
  bool cancelled_ = false;
  bool taken_ = false;  ///< the reader holds the rows of its last call
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace onebit::eval
