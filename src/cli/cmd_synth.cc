// `onebit synth`: the teacher writes text for its student's distillation.
#include <chrono>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/number_text.h"
#include "cli/sampling_flags.h"
#include "cli/synth_file.h"

namespace onebit::cli {
namespace {

class Synth final : public Command {
 public:
  Synth() { sampling_.options = options_.sampling; }

  void define(CLI::App& app) override {
    define_model(app, runtime_.model, "TEACHER");
    define_path(app, "-o,--output", out_, "JSONL to write, a row {\"text\", \"tokens\"} a sample")
        ->required();
    define_number(app, "--samples", options_.samples, "texts to generate", std::int64_t{1},
                  std::int64_t{1} << 31);
    define_number(app, "--length", options_.length,
                  "tokens of a text at most; it ends earlier where the teacher ends it",
                  std::int64_t{2}, kMaxCount);
    define_number(
        app, "--batch", options_.batch,
        "texts under way together; 0: 96, or what 2 GiB of keys and values allow. Changes "
        "speed and memory, not the texts",
        std::int64_t{0}, std::int64_t{4096});
    define_sampling(app, sampling_);
    app.add_flag("--restart", restart_, "write anew what FILE.part has of an earlier run");
    define_runtime(app, runtime_);
  }

  void run(Context& context) override {
    require_other_file(runtime_.model, out_);
    runtime::Model model = load_model(context, runtime_);
    if (options_.length > model.config().context) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: --length: found {}, expected 2 to {}, its context",
                              runtime_.model, options_.length, model.config().context));
    }
    options_.sampling = sampling_.drawn();
    const auto begin = std::chrono::steady_clock::now();
    const runtime::SynthTotals totals = write_samples(
        context, model, options_, out_, {.restart = restart_, .any_seed = sampling_.seed < 0});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    const double per_second = static_cast<double>(totals.generated) / seconds.count();
    context.console.print(
        fmt::format("wrote {}: {} texts, {} tokens in {:.1f} s, {:.1f} tokens/s\n", out_,
                    grouped(totals.samples), grouped(totals.tokens), seconds.count(), per_second));
    context.console.print_json({{"model", runtime_.model},
                                {"output", out_},
                                {"seed", options_.sampling.seed},
                                {"samples", totals.samples},
                                {"tokens", totals.tokens},
                                {"generated_tokens", totals.generated},
                                {"seconds", seconds.count()},
                                {"generated_tokens_per_second", per_second}});
  }

 private:
  RuntimeFlags runtime_;
  SamplingFlags sampling_;
  runtime::SynthOptions options_;
  std::string out_;
  bool restart_ = false;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(synth, onebit::cli::Synth);
