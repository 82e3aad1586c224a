// `onebit distill`: a student of a full-precision teacher, trained by knowledge distillation.
#include <fmt/format.h>

#include "base/error.h"
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
    app.footer("Defaults are those of --recipe best and --method onebit.\n");
  }

  void run(Context& context) override {
    if (!flags_.resume && flags_.data.empty() && !flags_.settings.has("steps")) {
      throw UsageError("found neither --data nor --steps, expected text, or steps to write it for");
    }
    RunPlan plan;
    plan.teacher = teacher_;
    plan.start = start_;
    plan.rate_follows_steps = rate_follows_steps();
    plan.recipe = [this](torch::Device device, const std::filesystem::path& folder) {
      return base_recipe(device, folder);
    };
    run_training(context, flags_, plan);
  }

 private:
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
    const distill::Recipe saved = distill::saved_recipe(folder);
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
  RunFlags flags_;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(distill, onebit::cli::Distill);
