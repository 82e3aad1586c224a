// `onebit distill`: a 1-bit student of a full-precision teacher, trained by knowledge distillation.
#include <optional>

#include "base/error.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/pack_flags.h"

namespace onebit::cli {
namespace {

/// What the command line says of a run. A recipe gives every number that is left unset.
struct DistillFlags {
  std::string teacher;
  std::string out;
  std::vector<std::string> data;
  bool resume = false;
  std::string recipe = "best";
  std::optional<double> alpha;
  std::optional<double> beta;
  std::optional<double> gamma;
  std::optional<double> lr;
  std::optional<std::int64_t> warmup;
  std::optional<std::int64_t> steps;
  std::optional<double> epochs;
  std::optional<std::int64_t> batch;
  std::optional<std::int64_t> accumulate;
  std::optional<std::int64_t> length;
  std::optional<std::int64_t> block_steps;
  std::string dtype = "bf16";
  std::int64_t save_every = 500;
  std::int64_t eval_every = 500;
  std::string eval_file;
  std::string device = "cpu";
  int threads = 0;
  std::int64_t seed = 0;
  OneBitFlags one_bit;
  PackFlags pack;
};

template <class Number>
CLI::Option* define_optional(CLI::App& app, const char* flags, std::optional<Number>& value,
                             const char* description, Number low, Number high) {
  return app.add_option(flags, value, description)
      ->check(CLI::Range(low, high).description(""))
      ->type_name("N");
}

class Distill final : public Command {
 public:
  void define(CLI::App& app) override {
    constexpr std::int64_t kOne = 1;
    DistillFlags& f = flags_;
    define_model(app, f.teacher, "TEACHER");
    define_path(app, "-o,--output", f.out, "the run's folder: checkpoints, metrics, model.gguf")
        ->required();
    app.add_option("--data", f.data, "JSONL or text to train on (repeatable); see synth")
        ->type_name("PATH")
        ->expected(1)
        ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
    app.add_flag("--resume", f.resume, "go on from the folder's last checkpoint");
    define_choice(app, "--recipe", f.recipe,
                  "what the numbers below are where they are not given: the paper's, or our best",
                  {"best", "paper"});
    define_optional(app, "--alpha", f.alpha, "weight of the teacher's logits against the labels",
                    0.0, 1.0);
    define_optional(app, "--beta", f.beta, "weight of the hidden-state term", 0.0, 1e6);
    define_optional(app, "--gamma", f.gamma, "weight of the attention term", 0.0, 1e6);
    define_optional(app, "--lr", f.lr, "peak learning rate", 0.0, 1.0);
    define_optional(app, "--warmup", f.warmup, "steps of linear warm-up", std::int64_t{0},
                    kMaxCount);
    CLI::Option* steps =
        define_optional(app, "--steps", f.steps, "optimiser steps of the run", kOne, kMaxCount);
    define_optional(app, "--epochs", f.epochs, "passes over the data, in place of --steps", 0.0,
                    1e6)
        ->excludes(steps);
    define_optional(app, "--batch", f.batch, "sequences of a micro-batch", kOne, kMaxCount);
    define_optional(app, "--accumulate", f.accumulate, "micro-batches of a step", kOne, kMaxCount);
    define_optional(app, "--length", f.length, "tokens of a sequence", kOne + 1, kMaxCount);
    define_optional(app, "--block-steps", f.block_steps,
                    "steps that each block trains alone before the whole does; 0: none",
                    std::int64_t{0}, kMaxCount);
    define_choice(app, "--dtype", f.dtype, "what activations are computed in", {"bf16", "f32"});
    define_number(app, "--save-every", f.save_every, "steps between checkpoints", kOne, kMaxCount);
    define_number(app, "--eval-every", f.eval_every, "steps between evaluations; 0: none",
                  std::int64_t{0}, kMaxCount);
    define_path(app, "--eval-file", f.eval_file, "the text of the evaluations");
    define_choice(app, "--device", f.device, "where to run", {"cpu", "cuda"});
    define_one_bit(app, f.one_bit);
    define_pack(app, f.pack);
    define_threads(app, f.threads);
    define_seed(app, f.seed);
  }

  void run(Context&) override {
    throw Error(ErrorCode::kUnsupported, "distill: this build has no trainer");
  }

 private:
  DistillFlags flags_;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(distill, onebit::cli::Distill);
