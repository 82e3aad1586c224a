#include "eval/perplexity.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>

#include "base/check.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "eval/statistics.h"

namespace onebit::eval {
namespace {

/// Gathers rows of one window into batches and reduces every batch on all threads.
class Reducer {
 public:
  Reducer(std::int64_t vocab, int threads, TeacherRows* teacher)
      : vocab_(static_cast<std::size_t>(vocab)), pool_(threads), teacher_(teacher) {
    rows_.resize(kBatchRows * vocab_);
    batch_.resize(kBatchRows);
  }

  /// targets[i] is what follows position first + i of window `window`, whose model's input is
  /// `context`.
  void begin_window(std::int64_t window, std::span<const text::TokenId> context, std::int64_t first,
                    std::span<const text::TokenId> targets) {
    window_ = window;
    position_ = first;
    targets_ = targets;
    if (teacher_ != nullptr) teacher_->begin_window(context, first);
  }

  void add(std::span<const float> logits) {
    ONEBIT_CHECK(logits.size() == vocab_ && filled_ < targets_.size());
    std::copy(logits.begin(), logits.end(),
              rows_.begin() + static_cast<std::ptrdiff_t>(filled_ * vocab_));
    ++filled_;
    if (filled_ == kBatchRows || filled_ == targets_.size()) flush();
  }

  bool window_done() const { return targets_.empty(); }

  std::vector<PositionScore> scores;

 private:
  PositionScore score(std::size_t i) {
    const std::span<const float> row(rows_.data() + i * vocab_, vocab_);
    return teacher_ == nullptr ? score_position(row, targets_[i])
                               : teacher_->score(i, row, targets_[i]);
  }

  void flush() {
    if (teacher_ != nullptr) teacher_->next(filled_);
    pool_.parallel_for(
        static_cast<std::int64_t>(filled_), 1, [&](std::int64_t begin, std::int64_t end, int) {
          for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
            batch_[i] = score(i);
          }
        });
    for (std::size_t i = 0; i < filled_; ++i) {
      const PositionScore& found = batch_[i];
      if (!std::isfinite(found.nll) || !std::isfinite(found.kl)) {
        throw Error(ErrorCode::kNumeric,
                    fmt::format("logits of {} at position {} of window {}: found NaN or infinity, "
                                "expected finite numbers",
                                std::isfinite(found.nll) ? "the teacher" : "the model",
                                position_ + static_cast<std::int64_t>(i), window_));
      }
      scores.push_back(found);
    }
    if (teacher_ != nullptr) teacher_->done();
    position_ += static_cast<std::int64_t>(filled_);
    targets_ = targets_.subspan(filled_);
    filled_ = 0;
  }

  std::size_t vocab_;
  ThreadPool pool_;
  TeacherRows* teacher_;
  std::vector<float> rows_;  ///< [kBatchRows, vocab]
  std::vector<PositionScore> batch_;
  std::size_t filled_ = 0;
  std::int64_t window_ = 0;
  std::int64_t position_ = 0;               ///< of rows_'s first row
  std::span<const text::TokenId> targets_;  ///< of rows_'s first row on
};

/// One figure of every position.
template <class Figure>
std::vector<double> figures(std::span<const PositionScore> scores, const Figure& figure) {
  std::vector<double> values;
  values.reserve(scores.size());
  for (const PositionScore& score : scores) values.push_back(figure(score));
  return values;
}

void compare(std::span<const PositionScore> scores, PerplexityResult& result) {
  result.has_teacher = true;
  const auto kl = figures(scores, [](const PositionScore& s) { return s.kl; });
  const MeanError mean_kl = mean_error(kl);
  result.kl_mean = mean_kl.mean;
  result.kl_stderr = mean_kl.error;
  result.kl_median = quantile(kl, 0.5);
  result.kl_p99 = quantile(kl, 0.99);
  result.kl_p999 = quantile(kl, 0.999);
  result.kl_max = quantile(kl, 1);

  const auto count = static_cast<double>(scores.size());
  const auto same = std::count_if(scores.begin(), scores.end(),
                                  [](const PositionScore& s) { return s.same_top; });
  const double share = static_cast<double>(same) / count;
  result.same_top = share;
  result.same_top_stderr = count > 1 ? std::sqrt(share * (1 - share) / (count - 1)) : 0;

  auto delta_p = figures(
      scores, [](const PositionScore& s) { return std::exp(-s.nll) - std::exp(-s.teacher_nll); });
  const MeanError mean_delta = mean_error(delta_p);
  result.delta_p_mean = mean_delta.mean;
  result.delta_p_stderr = mean_delta.error;
  for (double& delta : delta_p) delta *= delta;
  const MeanError square = mean_error(delta_p);
  result.delta_p_rms = std::sqrt(square.mean);
  if (square.mean > 0) result.delta_p_rms_stderr = square.error / (2 * result.delta_p_rms);

  result.teacher_ppl = std::exp(
      mean_error(figures(scores, [](const PositionScore& s) { return s.teacher_nll; })).mean);
  const MeanError ratio =
      mean_error(figures(scores, [](const PositionScore& s) { return s.nll - s.teacher_nll; }));
  result.log_ppl_ratio = ratio.mean;
  result.log_ppl_ratio_stderr = ratio.error;
}

}  // namespace

PerplexityResult perplexity(Scorer& model, TeacherRows* teacher, const ScoredText& text,
                            const PerplexityOptions& options, Progress& progress,
                            const std::stop_token& stop) {
  require_context(options.window, model.context(), "the model");
  const auto planned = static_cast<std::uint64_t>(text.predictions);
  Reducer reducer(model.vocab_size(), options.threads, teacher);
  reducer.scores.reserve(planned);
  double sum = 0;
  std::size_t counted = 0;
  auto tell = [&] {
    if (counted == reducer.scores.size()) return;
    for (; counted < reducer.scores.size(); ++counted) sum += reducer.scores[counted].nll;
    progress.update(counted, planned,
                    fmt::format("PPL {:.4f}", std::exp(sum / static_cast<double>(counted))));
  };
  for (std::size_t w = 0; w < text.windows.size(); ++w) {
    const Window& window = text.windows[w];
    const std::vector<text::TokenId> context = text.context(window);
    reducer.begin_window(static_cast<std::int64_t>(w), context, window.first, text.targets(window));
    model.score(context, window.first, [&](std::int64_t, std::span<const float> logits) {
      if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "perplexity was interrupted");
      reducer.add(logits);
      tell();
    });
    ONEBIT_CHECK(reducer.window_done());
  }
  if (teacher != nullptr) teacher->finish();

  PerplexityResult result;
  const MeanError nll =
      mean_error(figures(reducer.scores, [](const PositionScore& s) { return s.nll; }));
  result.mean_nll = nll.mean;
  result.ppl = std::exp(nll.mean);
  result.ppl_stderr = result.ppl * nll.error;
  result.tokens = static_cast<std::int64_t>(text.tokens.size());
  result.windows = static_cast<std::int64_t>(text.windows.size());
  result.scored = static_cast<std::int64_t>(reducer.scores.size());
  if (teacher != nullptr) compare(reducer.scores, result);
  return result;
}

PerplexityResult perplexity(Scorer& model, Scorer* teacher, const text::Tokenizer& tokenizer,
                            std::string_view text, const PerplexityOptions& options,
                            Progress& progress, const std::stop_token& stop) {
  require_context(options.window, model.context(), "the model");
  std::unique_ptr<TeacherRows> rows;
  if (teacher != nullptr) {
    require_context(options.window, teacher->context(), "the teacher");
    if (teacher->vocab_size() != model.vocab_size()) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("teacher's vocabulary: found {} tokens, expected the model's {}",
                              teacher->vocab_size(), model.vocab_size()));
    }
    rows = live_teacher(*teacher);
  }
  return perplexity(model, rows.get(), scored_text(tokenizer, text, options), options, progress,
                    stop);
}

}  // namespace onebit::eval
