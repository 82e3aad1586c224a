// Perplexity, and divergence from a teacher, over windows of a text.
#pragma once

#include <cstdint>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/progress.h"
#include "base/words.h"
#include "eval/scorer.h"
#include "eval/teacher_rows.h"
#include "eval/windows.h"

namespace onebit::eval {

/// How a file's text becomes rows; `onebit perplexity --help` and docs/cli.md say it to users.
enum class Rows : std::uint8_t { kAuto, kWikitext, kWhole, kJsonl };

/// What `rows` means for a file of this name. kAuto: kWikitext for ".raw", kJsonl for ".jsonl",
/// else kWhole; of the protocol kLlamaCpp a ".raw" is kWhole too. Else `rows`.
Rows rows_of(std::string_view file_name, Rows rows, Protocol protocol = Protocol::kPaper);

/// The text to tokenise: rows joined with two newlines (kWikitext: every line with its newline is a
/// row, a blank line " \n" is an empty row; kJsonl: each object's "text"; kWhole: the text itself;
/// kAuto as rows_of()). Of the protocol kLlamaCpp kWhole is without its last character if that is a
/// newline: so llama.cpp reads files. Error{kCorrupt} naming the line.
std::string join_rows(std::string_view file_name, std::string_view content, Rows rows,
                      Protocol protocol = Protocol::kPaper);

struct PerplexityResult {
  double ppl = 0;
  double ppl_stderr = 0;  ///< ppl · standard error of the mean NLL over predicted tokens
  double mean_nll = 0;
  std::int64_t tokens = 0;   ///< of the whole text, BOS included
  std::int64_t windows = 0;  ///< scored
  std::int64_t scored = 0;   ///< predicted tokens
  bool has_teacher = false;

  // With one: KL(teacher ‖ model) of every predicted position, nats; quantiles are linear between
  // order statistics.
  double kl_mean = 0;
  double kl_stderr = 0;
  double kl_median = 0;
  double kl_p99 = 0;   ///< 99th percentile
  double kl_p999 = 0;  ///< 99.9th
  double kl_max = 0;
  double same_top = 0;  ///< share of positions where both rank the same token first, ties to the
                        ///< lower id
  double same_top_stderr = 0;  ///< of a binomial share: sqrt(s (1 - s) / (n - 1))
  // Δp = q - p, the model's and the teacher's probability of the token that follows.
  double delta_p_mean = 0;
  double delta_p_stderr = 0;
  double delta_p_rms = 0;         ///< sqrt(mean Δp²)
  double delta_p_rms_stderr = 0;  ///< that of the mean square, divided by 2 rms
  double teacher_ppl = 0;
  double log_ppl_ratio = 0;         ///< ln(ppl / teacher_ppl)
  double log_ppl_ratio_stderr = 0;  ///< of the paired differences
};

/// The models' NLL, and with a teacher divergence.h's score, of every prediction of `text`, which
/// scored_text() made with `options`. Results do not depend on `threads`. Memory: a few dozen rows
/// of logits a model, whatever the window.
///
/// `teacher` may be null. Throws Error{kInvalidArgument} when the window exceeds the model's
/// context; Error{kNumeric} for non-finite logits, naming the position; Error{kInterrupted} when
/// stopped; and what the engine and `teacher` throw.
PerplexityResult perplexity(Scorer& model, TeacherRows* teacher, const ScoredText& text,
                            const PerplexityOptions& options, Progress& progress,
                            const std::stop_token& stop);

/// The same from a text as it is, with a live teacher or none. Throws as scored_text too, and
/// Error{kInvalidArgument} when the vocabularies differ.
PerplexityResult perplexity(Scorer& model, Scorer* teacher, const text::Tokenizer& tokenizer,
                            std::string_view text, const PerplexityOptions& options,
                            Progress& progress, const std::stop_token& stop);

}  // namespace onebit::eval

namespace onebit {

template <>
struct Words<eval::Rows> {
  static constexpr Word<eval::Rows> kAll[] = {{eval::Rows::kAuto, "auto"},
                                              {eval::Rows::kWikitext, "wikitext"},
                                              {eval::Rows::kWhole, "whole"},
                                              {eval::Rows::kJsonl, "jsonl"}};
};

}  // namespace onebit
