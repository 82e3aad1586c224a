// `onebit perplexity`: how well a model predicts a text, and how far it is from a teacher.
#include <filesystem>
#include <fmt/format.h>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <type_traits>

#include "arch/packed_writer.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/kl_teacher.h"
#include "cli/model_record.h"
#include "cli/number_text.h"
#include "cli/scorer_source.h"
#include "eval/perplexity.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNotes =
    "Protocols. paper: the whole text is tokenised, one BOS at its beginning if the\n"
    "tokenizer adds one, cut into windows of -c tokens that do not overlap; a partial last\n"
    "window is dropped; all tokens of a window but its first are predicted. llama.cpp: the\n"
    "same windows, BOS in place of the first token of each if the tokenizer adds one; only\n"
    "the second half of a window is predicted.\n"
    "\n"
    "--stride N, of the protocol paper, slides the window, as in Hugging Face's 'Perplexity\n"
    "of fixed-length models': window k holds tokens kN to kN + c - 1, the last one what is\n"
    "left of the text. Its tokens that no window before it held are predicted, the first of\n"
    "a window never. With N < c every token but the text's first is so scored once, after\n"
    "c - N others or more once there are as many. It is not llama.cpp's --ppl-stride, whose\n"
    "windows are longer than -c, score their last N tokens alone, those of the text's\n"
    "beginning never, and leave out what does not fill one.\n"
    "\n"
    "Rows are joined with two newlines. wikitext: every line with its newline is a row, a\n"
    "blank one an empty row, and the empty string after the final newline is none. jsonl:\n"
    "every line is an object whose \"text\" is a row. whole: the file is one row. auto: by\n"
    "the ending, .jsonl, or .raw for wikitext, else whole; with --protocol llama.cpp .raw is\n"
    "whole too, and a whole file is read without a final newline, as by llama.cpp.\n"
    "\n"
    "--kl-base FILE keeps a teacher's log-probabilities in 16 bits each: with --kl-teacher\n"
    "they are written, 2 bytes times the vocabulary a prediction (WikiText-2 at 49,152\n"
    "tokens: 30 GB), or read if FILE is there and has them of the same text, windows and\n"
    "teacher, which is then not loaded. Without, FILE is read, whoever its teacher is; of\n"
    "more windows than --max-windows the first are. With --protocol llama.cpp it is the file\n"
    "of llama-perplexity's --kl-divergence-base, for both programs to read and to write.\n"
    "Figures are those of the rounded log-probabilities, also while FILE is written, and\n"
    "leave out tokens below e^-16: mean KL moves by some 1e-5.\n"
    "\n"
    "The last line is 'Final estimate: PPL = 24.1512 +/- 0.1834', the standard error being\n"
    "that of the mean over predicted tokens. --json and -o: ppl, ppl_stderr, tokens,\n"
    "windows, scored, mean_nll, and how they were made: protocol, window, stride, rows,\n"
    "engine, activations, kv_type, threads, kernels; with a teacher kl_mean, kl_stderr, kl_median, "
    "kl_p99,\n"
    "kl_p999, kl_max (nats), same_top, same_top_stderr (a share), of the probability of the\n"
    "token that follows, the model's less the teacher's, delta_p_mean, delta_p_stderr,\n"
    "delta_p_rms, delta_p_rms_stderr, and teacher_ppl, log_ppl_ratio, log_ppl_ratio_stderr.\n";

class Perplexity final : public Command {
 public:
  Perplexity() { make_exact(runtime_); }

  bool needs_torch() const override { return scorer_.engine == Engine::kTorch; }

  void define(CLI::App& app) override {
    define_model(app, runtime_.model);
    define_path(app, "-f,--file", file_, "the text to predict")->required();
    define_number(app, "-c,--ctx-size", options_.window, "tokens of a window", std::int64_t{2},
                  kMaxCount);
    define_choice(app, "--protocol", options_.protocol, "how windows are made and scored");
    define_number(app, "--stride", options_.stride,
                  "windows begin every N tokens and overlap, each predicts what is new to it; 0: "
                  "they do not",
                  std::int64_t{0}, kMaxCount);
    define_choice(app, "--rows", rows_, "what a row of the file is (auto: by its name)");
    define_path(app, "--kl-teacher", teacher_,
                "compare with this model: KL divergence, same top token, probabilities")
        ->type_name("MODEL");
    define_path(app, "--kl-base", base_,
                "the teacher's log-probabilities: written with --kl-teacher, or read in its place");
    define_number(app, "--max-windows", options_.max_windows, "stop after so many; 0: all",
                  std::int64_t{0}, kMaxCount);
    define_path(app, "-o,--output", out_, "JSON to write: the object of --json");
    define_scorer(app, scorer_);
    app.footer(kNotes);
  }

  void run(Context& context) override {
    options_.threads = runtime_.threads;
    check_usage();
    require_inputs_stay();
    const std::string raw_text = eval::join_rows(file_, read_file(file_), rows_, options_.protocol);
    const std::unique_ptr<ScorerSource> model = open_scorer(context, scorer_);
    eval::Scorer& scorer = model->scorer();
    const text::Tokenizer& tokenizer = model->checkpoint().tokenizer();
    const eval::ScoredText text = with_names([&] {
      eval::require_context(options_.window, scorer.context(), "the model");
      return eval::scored_text(tokenizer, raw_text, options_);
    });
    // Before the hours, not after them: a place that cannot be written to.
    std::optional<AtomicFile> out;
    if (!out_.empty()) out.emplace(out_);
    std::optional<KlTeacher> teacher;
    if (!teacher_.empty() || !base_.empty()) {
      teacher.emplace(context, teacher_, base_,
                      KlTask{runtime_, tokenizer, scorer.vocab_size(), raw_text, text, options_});
    }
    const eval::PerplexityResult result = with_names([&] {
      const auto progress = context.console.progress("perplexity", "tokens");
      return eval::perplexity(scorer, teacher ? &teacher->rows() : nullptr, text, options_,
                              *progress, context.interrupts.token());
    });
    Json object;
    if (context.console.json() || out) {
      object = record(result, *model, teacher ? &*teacher : nullptr);
    }
    if (out) {
      out->write(object.dump(2, ' ', false, Json::error_handler_t::replace) + '\n');
      out->commit();
    }
    print(context.console, result);
    context.console.print_json(object);
  }

 private:
  void check_usage() const {
    const bool llama_cpp = options_.protocol == eval::Protocol::kLlamaCpp;
    if (llama_cpp && options_.window < 3) {
      throw UsageError("--ctx-size: found 2, expected at least 3 with --protocol llama.cpp");
    }
    if (llama_cpp && options_.stride > 0) {
      throw UsageError(fmt::format("--stride: found {}, expected none with --protocol llama.cpp",
                                   options_.stride));
    }
    if (options_.stride > options_.window) {
      throw UsageError(
          fmt::format("--stride: found {}, expected at most {}, the tokens of a window",
                      options_.stride, options_.window));
    }
  }

  /// No output takes an input's place.
  void require_inputs_stay() const {
    const std::string inputs[] = {file_, base_};
    if (!base_.empty()) {
      require_other_models(base_);
      require_other_files(std::span(inputs).first(1), base_);
    }
    if (!out_.empty()) {
      require_other_models(out_);
      require_other_files(inputs, out_);
    }
  }

  void require_other_models(const std::string& output) const {
    require_other_file(runtime_.model, output);
    if (!teacher_.empty()) require_other_file(teacher_, output);
  }

  /// eval knows neither files nor flags: its errors get them here.
  template <class Work>
  std::invoke_result_t<Work> with_names(const Work& work) const {
    try {
      return work();
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInvalidArgument && error.code() != ErrorCode::kNumeric) throw;
      const std::string_view hint =
          error.code() == ErrorCode::kInvalidArgument ? " (-c gives a window's tokens)" : "";
      throw Error(error.code(),
                  fmt::format("{} on {}: {}{}", runtime_.model, file_, error.what(), hint));
    }
  }

  void print(Console& console, const eval::PerplexityResult& result) const {
    const std::string stride =
        options_.stride > 0 ? fmt::format(", {} apart", options_.stride) : std::string();
    console.print(fmt::format("{} tokens, {} windows of {}{}, {} predictions scored\n",
                              grouped(result.tokens), result.windows, options_.window, stride,
                              grouped(result.scored)));
    if (result.has_teacher) {
      console.print(fmt::format("Mean KL = {:.6f} +/- {:.6f}\n", result.kl_mean, result.kl_stderr));
      console.print(fmt::format("KL median = {:.6f}, p99 = {:.6f}, p99.9 = {:.6f}, max = {:.6f}\n",
                                result.kl_median, result.kl_p99, result.kl_p999, result.kl_max));
      console.print(fmt::format("Same top = {:.3f} +/- {:.3f} %\n", 100 * result.same_top,
                                100 * result.same_top_stderr));
      console.print(fmt::format("Mean Δp = {:.3f} +/- {:.3f} %, RMS Δp = {:.3f} +/- {:.3f} %\n",
                                100 * result.delta_p_mean, 100 * result.delta_p_stderr,
                                100 * result.delta_p_rms, 100 * result.delta_p_rms_stderr));
      console.print(fmt::format("Teacher's PPL = {:.4f}, ln(PPL / teacher's) = {:.6f} +/- {:.6f}\n",
                                result.teacher_ppl, result.log_ppl_ratio,
                                result.log_ppl_ratio_stderr));
    }
    console.print(
        fmt::format("Final estimate: PPL = {:.4f} +/- {:.4f}\n", result.ppl, result.ppl_stderr));
  }

  Json record(const eval::PerplexityResult& result, const ScorerSource& source,
              const KlTeacher* teacher) const {
    Json object = {{"ppl", result.ppl},         {"ppl_stderr", result.ppl_stderr},
                   {"tokens", result.tokens},   {"windows", result.windows},
                   {"scored", result.scored},   {"mean_nll", result.mean_nll},
                   {"window", options_.window}, {"protocol", word_of(options_.protocol)}};
    if (options_.stride > 0) object["stride"] = options_.stride;
    object["model"] = runtime_.model;
    object["file"] = file_;
    object["rows"] = word_of(eval::rows_of(file_, rows_, options_.protocol));
    object.update(source.settings());
    if (teacher != nullptr) {
      object.update({{"kl_mean", result.kl_mean},
                     {"kl_stderr", result.kl_stderr},
                     {"kl_median", result.kl_median},
                     {"kl_p99", result.kl_p99},
                     {"kl_p999", result.kl_p999},
                     {"kl_max", result.kl_max},
                     {"same_top", result.same_top},
                     {"same_top_stderr", result.same_top_stderr},
                     {"delta_p_mean", result.delta_p_mean},
                     {"delta_p_stderr", result.delta_p_stderr},
                     {"delta_p_rms", result.delta_p_rms},
                     {"delta_p_rms_stderr", result.delta_p_rms_stderr},
                     {"teacher_ppl", result.teacher_ppl},
                     {"log_ppl_ratio", result.log_ppl_ratio},
                     {"log_ppl_ratio_stderr", result.log_ppl_ratio_stderr},
                     {"teacher", teacher->name()}});
      if (const auto made = teacher->identity()) {
        object["teacher_info"] = {{"name", made->name}, {"sha256", made->sha256}};
      }
      if (!base_.empty()) object["kl_base"] = base_;
    }
    object["model_info"] = model_record(runtime_.model, source.checkpoint());
    object["program"] = arch::program_name();
    return object;
  }

  ScorerFlags scorer_;
  RuntimeFlags& runtime_ = scorer_.runtime;
  std::string file_;
  std::string teacher_;
  std::string base_;
  std::string out_;
  eval::Rows rows_ = eval::Rows::kAuto;
  eval::PerplexityOptions options_;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(perplexity, onebit::cli::Perplexity);
