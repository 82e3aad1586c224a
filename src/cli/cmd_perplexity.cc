// `onebit perplexity`: how well a model predicts a text, and how far it is from a teacher.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/model_record.h"
#include "cli/number_text.h"
#include "cli/runtime_scorer.h"
#include "eval/perplexity.h"

namespace onebit::cli {
namespace {

constexpr const char* kNotes =
    "Protocols. paper: the whole text is tokenised, one BOS at its beginning if the\n"
    "tokenizer adds one, cut into windows of -c tokens that do not overlap; a partial last\n"
    "window is dropped; all tokens of a window but its first are predicted. llama.cpp: the\n"
    "same windows, BOS in place of the first token of each if the tokenizer adds one; only\n"
    "the second half of a window is predicted.\n"
    "\n"
    "Rows are joined with two newlines. wikitext: every line with its newline is a row, a\n"
    "blank one an empty row, and the empty string after the final newline is none. jsonl:\n"
    "every line is an object whose \"text\" is a row. whole: the file is one row.\n"
    "\n"
    "The last line is 'Final estimate: PPL = 24.1512 +/- 0.1834', the standard error being\n"
    "that of the mean over predicted tokens. --json: ppl, ppl_stderr, tokens, windows,\n"
    "scored, mean_nll; with a teacher kl_mean, kl_stderr, kl_p99 (nats), same_top (a share).\n";

class Perplexity final : public Command {
 public:
  Perplexity() { make_exact(runtime_); }

  void define(CLI::App& app) override {
    define_model(app, runtime_.model);
    define_path(app, "-f,--file", file_, "the text to predict")->required();
    define_number(app, "-c,--ctx-size", options_.window, "tokens of a window", std::int64_t{2},
                  kMaxCount);
    define_choice(app, "--protocol", options_.protocol, "how windows are made and scored");
    define_choice(app, "--rows", rows_,
                  "what a row of the file is (auto: by the ending .raw or .jsonl, else the whole)");
    define_path(app, "--kl-teacher", teacher_,
                "compare with this model: mean KL divergence, its 99th percentile, same top token")
        ->type_name("MODEL");
    define_number(app, "--max-windows", options_.max_windows, "stop after so many; 0: all",
                  std::int64_t{0}, kMaxCount);
    define_runtime(app, runtime_);
    app.footer(kNotes);
  }

  void run(Context& context) override {
    options_.threads = runtime_.threads;
    if (options_.protocol == eval::Protocol::kLlamaCpp && options_.window < 3) {
      throw UsageError("--ctx-size: found 2, expected at least 3 with --protocol llama.cpp");
    }
    const std::string text = eval::join_rows(file_, read_file(file_), rows_);
    runtime::Model model = load_model(context, runtime_);
    RuntimeScorer scorer(model);
    std::optional<runtime::Model> teacher;
    std::optional<RuntimeScorer> teacher_scorer;
    if (!teacher_.empty()) {
      RuntimeFlags flags = runtime_;
      flags.model = teacher_;
      make_exact(flags);
      teacher.emplace(load_model(context, flags));
      require_same_tokens(model.checkpoint().tokenizer(), teacher->checkpoint().tokenizer(), text);
      teacher_scorer.emplace(*teacher);
    }
    const auto progress = context.console.progress("perplexity", "tokens");
    print(context.console,
          measure(scorer, teacher_scorer ? &*teacher_scorer : nullptr,
                  model.checkpoint().tokenizer(), text, *progress, context.interrupts.token()),
          model.checkpoint());
  }

 private:
  /// A divergence compares what two models say of the same tokens.
  void require_same_tokens(const text::Tokenizer& model, const text::Tokenizer& teacher,
                           std::string_view text) const {
    constexpr std::size_t kSample = std::size_t{1} << 18;
    const std::string_view sample = text.substr(0, kSample);
    if (model.vocab_size() == teacher.vocab_size() &&
        model.encode(sample, {}) == teacher.encode(sample, {})) {
      return;
    }
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--kl-teacher {}: found other tokens ({} of them), expected those of "
                            "{} ({})",
                            teacher_, teacher.vocab_size(), runtime_.model, model.vocab_size()));
  }

  /// eval knows neither files nor flags: its errors get them here.
  eval::PerplexityResult measure(eval::Scorer& scorer, eval::Scorer* teacher,
                                 const text::Tokenizer& tokenizer, std::string_view text,
                                 Progress& progress, const std::stop_token& stop) const {
    try {
      return eval::perplexity(scorer, teacher, tokenizer, text, options_, progress, stop);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::kInterrupted) throw;
      const std::string_view hint =
          error.code() == ErrorCode::kInvalidArgument ? " (-c gives a window's tokens)" : "";
      throw Error(error.code(),
                  fmt::format("{} on {}: {}{}", runtime_.model, file_, error.what(), hint));
    }
  }

  void print(Console& console, const eval::PerplexityResult& result,
             const arch::Checkpoint& checkpoint) const {
    console.print(fmt::format("{} tokens, {} windows of {}, {} predictions scored\n",
                              grouped(result.tokens), result.windows, options_.window,
                              grouped(result.scored)));
    nlohmann::ordered_json object = {
        {"ppl", result.ppl},         {"ppl_stderr", result.ppl_stderr},
        {"tokens", result.tokens},   {"windows", result.windows},
        {"scored", result.scored},   {"mean_nll", result.mean_nll},
        {"window", options_.window}, {"protocol", word_of(options_.protocol)},
        {"model", runtime_.model},   {"file", file_}};
    if (result.has_teacher) {
      console.print(fmt::format("Mean KL = {:.6f} +/- {:.6f}\n", result.kl_mean, result.kl_stderr));
      console.print(fmt::format("KL p99 = {:.6f}\n", result.kl_p99));
      console.print(fmt::format("Same top = {:.3f} %\n", 100 * result.same_top));
      object["kl_mean"] = result.kl_mean;
      object["kl_stderr"] = result.kl_stderr;
      object["kl_p99"] = result.kl_p99;
      object["same_top"] = result.same_top;
      object["teacher"] = teacher_;
    }
    console.print(
        fmt::format("Final estimate: PPL = {:.4f} +/- {:.4f}\n", result.ppl, result.ppl_stderr));
    if (console.json()) object["model_info"] = model_record(runtime_.model, checkpoint);
    object["program"] = program_text();
    console.print_json(object);
  }

  RuntimeFlags runtime_;
  std::string file_;
  std::string teacher_;
  eval::Rows rows_ = eval::Rows::kAuto;
  eval::PerplexityOptions options_;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(perplexity, onebit::cli::Perplexity);
