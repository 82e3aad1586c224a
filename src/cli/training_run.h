// What `onebit distill` and `onebit train` share: the flags of a run and the run itself.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <torch/types.h>
#include <vector>

#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/pack_flags.h"
#include "cli/recipe_flags.h"
#include "distill/recipe.h"

namespace onebit::cli {

/// What the command line says of a run. What is left unset is the recipe's.
struct RunFlags {
  std::string out;
  std::vector<std::string> data;
  bool resume = false;
  RecipeFlags settings;
  std::optional<double> epochs;
  bool gradient_checkpointing = false;
  std::int64_t save_every = 500;
  std::int64_t eval_every = 500;
  std::int64_t keep = 0;
  double held_out = 0.005;
  std::string eval_file;
  std::int64_t eval_sequences = 64;
  std::string device = "cpu";
  int threads = 0;
  std::int64_t timeout = 600;
  std::int64_t seed = 0;
  PackFlags pack;
  CLI::App* app = nullptr;  ///< which flags the command line names

  bool given(const char* flag) const { return app->count(flag) > 0; }
};

/// All of them. `about_data`: the help of --data; `from_scratch`: as of a plan. Outlives `app`.
void define_run(CLI::App& app, RunFlags& flags, const char* about_data, bool from_scratch);

/// What the two commands do differently.
struct RunPlan {
  std::string teacher;              ///< the model that the student is made of
  std::string start;                ///< a packed student to begin with; empty for none
  std::string tokenizer;            ///< a model that is read beside these; empty for none
  bool from_scratch = false;        ///< the teacher has nothing to teach
  bool rate_follows_steps = false;  ///< our method's is best_learning_rate() where none is said
  /// The recipe before the command line's settings; for a resumed run, of its folder.
  std::function<distill::Recipe(torch::Device device, const std::filesystem::path& folder)> recipe;
  /// Called by the first process before the teacher is opened; empty for nothing.
  std::function<void(const std::filesystem::path& folder)> prepare;
};

/// Runs it, tells people and writes the run's folder. Throws UsageError, and Error as
/// distill::train().
void run_training(Context& context, RunFlags& flags, const RunPlan& plan);

}  // namespace onebit::cli
