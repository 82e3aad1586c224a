#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <optional>

#include "base/check.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "eval/logits_stream.h"
#include "eval/statistics.h"
#include "eval/windows.h"

namespace onebit::eval {
namespace {

// Rows that are reduced together: enough for every thread, 32 · 4 bytes · vocabulary of memory.
constexpr std::int64_t kBatchRows = 32;

/// logsumexp of one row, and what else one pass over it tells.
struct RowSums {
  double log_sum = 0;  ///< NaN when a logit is not finite
  std::size_t top = 0;
};

RowSums reduce(std::span<const float> logits) {
  RowSums sums;
  bool finite = true;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    finite = finite && std::isfinite(logits[i]);
    if (logits[i] > logits[sums.top]) sums.top = i;
  }
  if (!finite) return {std::nan(""), 0};
  const double max = logits[sums.top];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - max);
  sums.log_sum = max + std::log(sum);
  return sums;
}

struct PositionScore {
  double nll = 0;
  double kl = 0;
  bool same_top = false;
};

PositionScore score_position(std::span<const float> model, std::span<const float> teacher,
                             text::TokenId target) {
  PositionScore score;
  const RowSums own = reduce(model);
  score.nll = own.log_sum - model[static_cast<std::size_t>(target)];
  if (teacher.empty()) return score;
  const RowSums other = reduce(teacher);
  score.same_top = own.top == other.top;
  // E_p[z_t - z_m] with p ∝ e^(z_t - max): equal logits give exactly 0.
  const double max = teacher[other.top];
  double sum = 0;
  double weight = 0;
  for (std::size_t i = 0; i < teacher.size(); ++i) {
    const double p = std::exp(static_cast<double>(teacher[i]) - max);
    weight += p;
    sum += p * (static_cast<double>(teacher[i]) - static_cast<double>(model[i]));
  }
  const double kl = sum / weight - other.log_sum + own.log_sum;
  score.kl = kl < 0 ? 0 : kl;  // below zero by rounding only; NaN stays
  return score;
}

/// Gathers rows of one window into batches and reduces every batch on all threads.
class Reducer {
 public:
  Reducer(std::int64_t vocab, const PerplexityOptions& options)
      : vocab_(static_cast<std::size_t>(vocab)), pool_(options.threads) {
    rows_.resize(static_cast<std::size_t>(kBatchRows) * vocab_);
    scores_.resize(static_cast<std::size_t>(kBatchRows));
  }

  /// targets[i] is what follows position first + i of window `window`.
  void begin_window(std::int64_t window, std::int64_t first, std::span<const text::TokenId> targets,
                    LogitsStream* teacher) {
    window_ = window;
    position_ = first;
    targets_ = targets;
    teacher_ = teacher;
  }

  void add(std::span<const float> logits) {
    ONEBIT_CHECK(logits.size() == vocab_ && filled_ < targets_.size());
    std::copy(logits.begin(), logits.end(),
              rows_.begin() + static_cast<std::ptrdiff_t>(filled_ * vocab_));
    ++filled_;
    if (filled_ == static_cast<std::size_t>(kBatchRows) || filled_ == targets_.size()) flush();
  }

  bool window_done() const { return targets_.empty(); }

  std::vector<double> nll;
  std::vector<double> kl;
  std::int64_t same_top = 0;

 private:
  void flush() {
    std::span<const float> teacher;
    if (teacher_ != nullptr) {
      teacher = teacher_->next();
      ONEBIT_CHECK(teacher.size() == filled_ * vocab_);
    }
    pool_.parallel_for(
        static_cast<std::int64_t>(filled_), 1, [&](std::int64_t begin, std::int64_t end, int) {
          for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            const std::span<const float> row(rows_.data() + i * vocab_, vocab_);
            scores_[i] = score_position(
                row, teacher.empty() ? teacher : teacher.subspan(i * vocab_, vocab_), targets_[i]);
          }
        });
    for (std::size_t i = 0; i < filled_; ++i) {
      const PositionScore& score = scores_[i];
      if (!std::isfinite(score.nll) || !std::isfinite(score.kl)) {
        throw Error(ErrorCode::kNumeric,
                    fmt::format("logits of {} at position {} of window {}: found NaN or infinity, "
                                "expected finite numbers",
                                std::isfinite(score.nll) ? "the teacher" : "the model",
                                position_ + static_cast<std::int64_t>(i), window_));
      }
      nll.push_back(score.nll);
      if (teacher_ != nullptr) kl.push_back(score.kl);
      same_top += score.same_top ? 1 : 0;
    }
    position_ += static_cast<std::int64_t>(filled_);
    targets_ = targets_.subspan(filled_);
    filled_ = 0;
  }

  std::size_t vocab_;
  ThreadPool pool_;
  std::vector<float> rows_;  ///< [kBatchRows, vocab]
  std::vector<PositionScore> scores_;
  std::size_t filled_ = 0;
  std::int64_t window_ = 0;
  std::int64_t position_ = 0;               ///< of rows_'s first row
  std::span<const text::TokenId> targets_;  ///< of rows_'s first row on
  LogitsStream* teacher_ = nullptr;
};

/// The first position of a window whose successor is scored.
std::int64_t first_scored(const PerplexityOptions& options) {
  return options.protocol == Protocol::kLlamaCpp ? options.window / 2 : 0;
}

}  // namespace

PerplexityResult perplexity(Scorer& model, Scorer* teacher, const text::Tokenizer& tokenizer,
                            std::string_view text, const PerplexityOptions& options,
                            Progress& progress, const std::stop_token& stop) {
  const std::int64_t first = first_scored(options);
  const std::int64_t scored = options.window - 1 - first;  // a window; its last token is a target
  if (scored < 1) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("window: found {} tokens, expected at least {}", options.window,
                            options.protocol == Protocol::kLlamaCpp ? 3 : 2));
  }
  require_context(options.window, model.context(), "the model");
  if (teacher != nullptr) {
    require_context(options.window, teacher->context(), "the teacher");
    if (teacher->vocab_size() != model.vocab_size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("teacher's vocabulary: found {} tokens, expected the model's {}",
                              teacher->vocab_size(), model.vocab_size()));
    }
  }

  const std::vector<text::TokenId> tokens = text_tokens(tokenizer, text);
  const auto total = static_cast<std::int64_t>(tokens.size());
  const std::int64_t windows = whole_windows(total, options.window, options.max_windows);

  const auto planned = static_cast<std::uint64_t>(windows * scored);
  Reducer reducer(model.vocab_size(), options);
  reducer.nll.reserve(planned);
  double sum = 0;
  std::size_t counted = 0;
  auto tell = [&] {
    if (counted == reducer.nll.size()) return;
    for (; counted < reducer.nll.size(); ++counted) sum += reducer.nll[counted];
    progress.update(counted, planned,
                    fmt::format("PPL {:.4f}", std::exp(sum / static_cast<double>(counted))));
  };
  for (std::int64_t w = 0; w < windows; ++w) {
    // The window without its last token, which is predicted but predicts nothing.
    std::vector<text::TokenId> window(tokens.begin() + w * options.window,
                                      tokens.begin() + (w + 1) * options.window - 1);
    if (options.protocol == Protocol::kLlamaCpp && tokenizer.adds_bos()) {
      window.front() = tokenizer.bos();
    }
    const std::span<const text::TokenId> targets(tokens.data() + w * options.window + first + 1,
                                                 static_cast<std::size_t>(scored));
    std::optional<LogitsStream> teacher_logits;
    if (teacher != nullptr) teacher_logits.emplace(*teacher, window, first, kBatchRows);
    reducer.begin_window(w, first, targets, teacher_logits ? &*teacher_logits : nullptr);
    model.score(window, first, [&](std::int64_t, std::span<const float> logits) {
      if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "perplexity was interrupted");
      reducer.add(logits);
      tell();
    });
    ONEBIT_CHECK(reducer.window_done());
  }

  PerplexityResult result;
  const MeanError nll = mean_error(reducer.nll);
  result.mean_nll = nll.mean;
  result.ppl = std::exp(nll.mean);
  result.ppl_stderr = result.ppl * nll.error;
  result.tokens = total;
  result.windows = windows;
  result.scored = static_cast<std::int64_t>(reducer.nll.size());
  if (teacher != nullptr) {
    const MeanError kl = mean_error(reducer.kl);
    result.has_teacher = true;
    result.kl_mean = kl.mean;
    result.kl_stderr = kl.error;
    result.kl_p99 = quantile(reducer.kl, 0.99);
    result.same_top = static_cast<double>(reducer.same_top) / static_cast<double>(result.scored);
  }
  return result;
}

}  // namespace onebit::eval
