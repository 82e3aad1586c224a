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

namespace onebit::eval {

enum class Protocol : std::uint8_t {
  /// The papers': one BOS at the very start if the tokenizer adds one, non-overlapping windows of c
  /// tokens, a partial last window dropped, mean NLL of the c-1 predicted tokens of every window.
  kPaper,
  /// llama.cpp's: the same windows, the first token of each replaced by BOS if the tokenizer adds
  /// one; only positions c/2 … c-2 are scored (each predicts its successor).
  kLlamaCpp,
};

/// How a file's text becomes rows; `onebit perplexity --help` and docs/cli.md say it to users.
enum class Rows : std::uint8_t { kAuto, kWikitext, kWhole, kJsonl };

/// The text to tokenise: rows joined with two newlines (kWikitext: every line with its newline is a
/// row, a blank line " \n" is an empty row; kJsonl: each object's "text"; kWhole: the text itself).
/// kAuto: kWikitext for ".raw", kJsonl for ".jsonl", else kWhole. Error{kCorrupt} naming the line.
std::string join_rows(std::string_view file_name, std::string_view content, Rows rows);

struct PerplexityOptions {
  std::int64_t window = 2048;  ///< c
  Protocol protocol = Protocol::kPaper;
  std::int64_t max_windows = 0;  ///< 0: all
  int threads = 0;  ///< of the reduction over the vocabulary; 0: one per hardware thread
};

struct PerplexityResult {
  double ppl = 0;
  double ppl_stderr = 0;  ///< ppl · standard error of the mean NLL over predicted tokens
  double mean_nll = 0;
  std::int64_t tokens = 0;   ///< of the whole text, BOS included
  std::int64_t windows = 0;  ///< scored
  std::int64_t scored = 0;   ///< predicted tokens
  bool has_teacher = false;
  double kl_mean = 0;  ///< mean over predicted positions of KL(teacher ‖ model), nats
  double kl_stderr = 0;
  double kl_p99 = 0;    ///< 99th percentile, linear between order statistics
  double same_top = 0;  ///< share of positions where both rank the same token first, ties to the
                        ///< lower id
};

/// NLL = logsumexp(z) - z[target] and KL = E_p[z_t - z_m] - logsumexp(z_t) + logsumexp(z_m) with
/// p = softmax(z_t), z_t the teacher's and z_m the model's logits; sums in double, in an order that
/// does not depend on `threads`. Memory: a few dozen rows of logits a model, whatever the window.
///
/// `teacher` may be null; with one, its score() runs on a thread of its own. Throws
/// Error{kInvalidArgument} when the text holds no whole window, the window exceeds a model's
/// context or has nothing to predict, or the vocabularies differ; Error{kNumeric} for non-finite
/// logits, naming the position; Error{kInterrupted} when stopped.
PerplexityResult perplexity(Scorer& model, Scorer* teacher, const text::Tokenizer& tokenizer,
                            std::string_view text, const PerplexityOptions& options,
                            Progress& progress, const std::stop_token& stop);

}  // namespace onebit::eval

namespace onebit {

template <>
struct Words<eval::Protocol> {
  static constexpr Word<eval::Protocol> kAll[] = {{eval::Protocol::kPaper, "paper"},
                                                  {eval::Protocol::kLlamaCpp, "llama.cpp"}};
};

template <>
struct Words<eval::Rows> {
  static constexpr Word<eval::Rows> kAll[] = {{eval::Rows::kAuto, "auto"},
                                              {eval::Rows::kWikitext, "wikitext"},
                                              {eval::Rows::kWhole, "whole"},
                                              {eval::Rows::kJsonl, "jsonl"}};
};

}  // namespace onebit
