// `onebit distill`: a student of a full-precision teacher, trained by knowledge distillation.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/error.h"
#include "cli/budget_plan.h"
#include "cli/training_run.h"
#include "distill/student_method.h"
#include "distill/train_state.h"

namespace onebit::cli {
namespace {

using distill::StudentMethod;

class Distill final : public Command {
 public:
  void define(CLI::App& app) override {
    define_model(app, teacher_, "TEACHER");
    define_run(
        app, flags_,
        "JSONL or text to train on, also compressed (repeatable); none: the teacher writes a "
        "text for each sequence of --steps",
        /*from_scratch=*/false);
    define_choice(
        app, "--recipe", recipe_,
        "what holds where nothing is said: our best, which is the default, or the paper's",
        {"best", "paper"});
    define_path(
        app, "--start", start_,
        "a packed student of the same teacher to begin with, in its form; Adam begins anew");
    define_number(app, "--budget", budget_,
                  "bytes of model.gguf: each matrix by one of the settings of --sensitivity, that "
                  "all together diverge the least; 1-bit ones (of llm-qat those of rtn, at their "
                  "bits) are trained, as by --override",
                  std::int64_t{1}, kMaxCount);
    define_path(app, "--sensitivity", sensitivity_,
                "the file of `onebit sensitivity -o` for --budget");
    app.footer("Defaults are those of --recipe best and --method onebit.\n");
  }

  void run(Context& context) override {
    if (!flags_.resume && flags_.data.empty() && !flags_.settings.has("steps")) {
      throw UsageError("found neither --data nor --steps, expected text, or steps to write it for");
    }
    require_budget_flags();
    if (budget_ > 0 && !flags_.resume) {
      choose_by_budget(flags_.settings.method().value_or(StudentMethod::kOneBit));
    }
    RunPlan plan;
    plan.teacher = teacher_;
    plan.start = start_;
    plan.rate_follows_steps = rate_follows_steps();
    plan.recipe = [this](torch::Device device, const std::filesystem::path& folder) {
      if (budget_ > 0 && flags_.resume) require_same_choice(folder);
      return base_recipe(device, folder);
    };
    run_training(context, flags_, plan);
  }

 private:
  void require_budget_flags() const {
    if (budget_ == 0 && sensitivity_.empty()) return;
    if (budget_ == 0) throw UsageError("--sensitivity: expected --budget BYTES beside it");
    if (sensitivity_.empty()) throw UsageError("--budget: expected --sensitivity FILE beside it");
    if (flags_.settings.has("override")) {
      throw UsageError("--override: found --budget beside it, expected one of them");
    }
  }

  /// Of a resumed run, which has its matrices: that they are those of this budget, as in the
  /// command that began it.
  void require_same_choice(const std::filesystem::path& folder) {
    const distill::Recipe saved = distill::saved_recipe(folder);
    if (choose_by_budget(saved.method) == saved.mixture) return;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: the saved run has other matrices than --budget {} and "
                            "--sensitivity {} choose now; resume with the same, or with neither",
                            folder.string(), budget_, sensitivity_));
  }

  /// Sets the matrices that a budget leaves out of training, and the bits of the others; gives
  /// them.
  std::string choose_by_budget(StudentMethod method) {
    const arch::Checkpoint teacher = arch::Checkpoint::open(teacher_);
    quant::QuantizeOptions options;
    options.method = &quant::find_method("onebit");
    options.embedding = formats::parse_dtype(flags_.pack.embedding);
    options.head = formats::parse_dtype(flags_.pack.head);
    options.method_options.scales = formats::parse_dtype(flags_.pack.scales);
    const Measurements measured =
        read_measurements(sensitivity_, teacher, options.method_options.scales);
    const HybridPlan plan =
        plan_hybrid({static_cast<std::uint64_t>(budget_),
                     std::filesystem::temp_directory_path() / "onebit-budget.gguf"},
                    measured, word_of(method), teacher, options);
    if (plan.form) {
      const std::string form(word_of(*plan.form));
      if (flags_.settings.has("form") && flags_.settings.text("form") != form) {
        throw UsageError(fmt::format("--form: found {}, expected {}, which --sensitivity has",
                                     flags_.settings.text("form"), form));
      }
      flags_.settings.set("form", form);
    }
    std::string mixture = fmt::format("{}", fmt::join(plan.mixture, ","));
    if (!mixture.empty()) flags_.settings.set("override", mixture);
    return mixture;
  }

  /// What holds where the command line says nothing: the named recipe's, or the resumed run's.
  distill::Recipe base_recipe(torch::Device device, const std::filesystem::path& folder) const {
    const auto named = [&](StudentMethod method) {
      distill::Recipe recipe = distill::recipe_by_name(recipe_.empty() ? "best" : recipe_);
      distill::choose_method(recipe, method);
      return recipe;
    };
    if (!flags_.resume) {
      distill::Recipe recipe = named(flags_.settings.method().value_or(StudentMethod::kOneBit));
      recipe.compute = distill::fastest_compute(device);
      recipe.seed = actual_seed(flags_.seed);
      return recipe;
    }
    distill::Recipe saved = distill::saved_recipe(folder);
    if (recipe_.empty()) return saved;
    distill::Recipe recipe = named(saved.method);
    recipe.steps = saved.steps;
    recipe.compute = saved.compute;
    recipe.seed = saved.seed;
    return recipe;
  }

  /// Where our recipe of our method is asked for, and no rate. A resumed run has one already.
  bool rate_follows_steps() const {
    const bool ours = recipe_.empty() ? !flags_.resume : recipe_ == "best";
    return ours && !flags_.settings.has("lr");
  }

  std::string teacher_;
  std::string recipe_;
  std::string start_;
  std::int64_t budget_ = 0;
  std::string sensitivity_;
  RunFlags flags_;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(distill, onebit::cli::Distill);
