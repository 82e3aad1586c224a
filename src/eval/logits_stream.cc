#include "eval/logits_stream.h"

#include <algorithm>

#include "base/check.h"

namespace onebit::eval {
namespace {

/// Unwinds score() when the reader is gone; never leaves this file.
struct Cancelled {};

}  // namespace

LogitsStream::LogitsStream(Scorer& scorer, std::span<const text::TokenId> tokens,
                           std::int64_t first, std::int64_t capacity)
    : scorer_(scorer),
      vocab_(static_cast<std::size_t>(scorer.vocab_size())),
      capacity_(static_cast<std::size_t>(capacity)) {
  ONEBIT_CHECK(capacity > 0 && vocab_ > 0);
  rows_.resize(capacity_ * vocab_);
  thread_ = std::thread([this, tokens, first] { produce(tokens, first); });
}

LogitsStream::~LogitsStream() {
  {
    const std::lock_guard lock(mutex_);
    cancelled_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

std::span<const float> LogitsStream::next() {
  std::unique_lock lock(mutex_);
  if (taken_) {
    filled_ = 0;
    if (!finished_) {
      turn_ = Turn::kScorer;
      changed_.notify_all();
    }
  }
  changed_.wait(lock, [this] { return turn_ == Turn::kReader; });
  taken_ = true;
  if (filled_ == 0 && failure_) std::rethrow_exception(failure_);
  return {rows_.data(), filled_ * vocab_};
}

void LogitsStream::produce(std::span<const text::TokenId> tokens, std::int64_t first) {
  std::exception_ptr failure;
  try {
    scorer_.score(tokens, first,
                  [this](std::int64_t, std::span<const float> logits) { accept(logits); });
  } catch (const Cancelled&) {
    return;
  } catch (...) {
    failure = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  failure_ = failure;
  finished_ = true;
  turn_ = Turn::kReader;
  changed_.notify_all();
}

void LogitsStream::accept(std::span<const float> row) {
  ONEBIT_CHECK(row.size() == vocab_);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return turn_ == Turn::kScorer || cancelled_; });
  if (cancelled_) throw Cancelled{};
  std::copy(row.begin(), row.end(), rows_.begin() + static_cast<std::ptrdiff_t>(filled_ * vocab_));
  if (++filled_ == capacity_) {
    turn_ = Turn::kReader;
    changed_.notify_all();
  }
}

}  // namespace onebit::eval
