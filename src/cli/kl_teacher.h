// Where `onebit perplexity` gets the teacher's side of a divergence from: a model (--kl-teacher), a
// file of log-probabilities (--kl-base), or both.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/command.h"
#include "cli/flags.h"
#include "cli/runtime_scorer.h"
#include "eval/log_prob_file.h"
#include "eval/perplexity.h"

namespace onebit::cli {

/// What is compared, and with what flags.
struct KlTask {
  const RuntimeFlags& runtime;  ///< of the measured model; the teacher shares its threads
  const text::Tokenizer& tokenizer;
  std::int64_t vocab = 0;
  std::string_view raw_text;
  const eval::ScoredText& text;
  const eval::PerplexityOptions& options;
};

class KlTeacher {
 public:
  /// `model` and `file` are the two flags' values, not both empty. With both, the file is read if
  /// it exists, and the model not loaded; else it is written while the teacher runs, and appears at
  /// the end of rows()'s use. Throws what models and files throw, and Error{kInvalidArgument} that
  /// says what differs when the two models have other tokens, or the file's rows are of something
  /// else.
  KlTeacher(const Context& context, const std::string& model, const std::string& file,
            const KlTask& task);

  eval::TeacherRows& rows() { return *rows_; }

  /// The model as it was named, here or to the run that wrote the file; the file where llama.cpp
  /// did.
  const std::string& name() const { return name_; }

  /// Of the rows' teacher; none where the file does not say. Reads the weight file, for its hash.
  std::optional<eval::TeacherIdentity> identity() const;

 private:
  void load(const Context& context, const std::string& model, const KlTask& task);
  void read(const std::string& model, const std::string& file, const KlTask& task);
  void write(const std::string& file, const KlTask& task);

  std::string name_;
  std::optional<runtime::Model> model_;
  std::optional<RuntimeScorer> scorer_;
  std::optional<eval::LogProbFile> file_;
  std::optional<eval::LogProbWriter> writer_;
  std::unique_ptr<eval::TeacherRows> rows_;  // refers to those above
};

}  // namespace onebit::cli
