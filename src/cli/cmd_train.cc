// `onebit train`: a model of BitNet's layers from nothing but text.
#include <fmt/format.h>

#include "arch/new_model.h"
#include "base/error.h"
#include "cli/training_run.h"
#include "distill/student_method.h"
#include "distill/train_state.h"

namespace onebit::cli {
namespace {

using distill::StudentMethod;

/// Where a run's folder has the model that it begins with.
constexpr std::string_view kStartFile = "start.gguf";

class Train final : public Command {
 public:
  void define(CLI::App& app) override {
    define_choice(app, "--arch", arch_, "architecture", {"llama"});
    define_path(app, "--tokenizer", tokenizer_,
                "a model, GGUF or folder, whose tokenizer and vocabulary the new one has");
    const auto size = [&](const char* flag, std::int64_t& value, const char* about) {
      define_number(app, flag, value, about, std::int64_t{1}, kMaxCount);
    };
    size("--dim", config_.dim, "features of the residual stream");
    size("--layers", config_.layers, "blocks");
    size("--heads", config_.heads, "query heads");
    define_number(app, "--kv-heads", config_.kv_heads, "key/value heads; 0: as many as query heads",
                  std::int64_t{0}, kMaxCount);
    size("--ffn", config_.ffn, "features of the feed-forward layer");
    size("--context", config_.context, "longest sequence");
    app.add_flag("--tied-head,!--no-tied-head", config_.tied_head,
                 "the output matrix is the embedding");
    define_run(app, flags_, "JSONL or text to train on, also compressed (repeatable)",
               /*from_scratch=*/true);
    app.footer("Defaults are those of --method bitnet158.\n");
    app_ = &app;
  }

  void run(Context& context) override {
    require_no_teacher();
    if (!flags_.resume) {
      if (flags_.data.empty()) throw UsageError("--data: found none, expected text to train on");
      if (tokenizer_.empty()) {
        throw UsageError("--tokenizer: found none, expected a model with the tokenizer to use");
      }
    }
    seed_ = actual_seed(flags_.seed);
    const StudentMethod method = flags_.settings.method().value_or(StudentMethod::kBitNet158);
    RunPlan plan;
    plan.teacher = (std::filesystem::path(flags_.out) / kStartFile).string();
    plan.from_scratch = true;
    plan.tokenizer = tokenizer_;
    plan.recipe = [&](torch::Device device, const std::filesystem::path& folder) {
      if (flags_.resume) return distill::saved_recipe(folder);
      distill::Recipe recipe = distill::scratch_recipe(method);
      recipe.compute = distill::fastest_compute(device);
      recipe.seed = seed_;
      return recipe;
    };
    if (flags_.resume) {
      run_training(context, flags_, plan);
      return;
    }
    plan.prepare = [&](const std::filesystem::path& folder) { write_start(folder); };
    try {
      run_training(context, flags_, plan);
    } catch (...) {
      // A start without a run would be of no use.
      std::error_code ignored;
      if (begun_ && !distill::holds_run(flags_.out)) {
        std::filesystem::remove(plan.teacher, ignored);
      }
      throw;
    }
  }

 private:
  /// Settings of what there is not, and sizes of a model that there is.
  void require_no_teacher() const {
    flags_.settings.require_no_teacher();
    if (!flags_.resume) return;
    for (const char* flag : {"--arch", "--tokenizer", "--dim", "--layers", "--heads", "--kv-heads",
                             "--ffn", "--context", "--tied-head"}) {
      if (app_->count(flag) == 0) continue;
      throw UsageError(fmt::format("{}: found with --resume, whose model is there already", flag));
    }
  }

  void write_start(const std::filesystem::path& folder) {
    const arch::Checkpoint source = arch::Checkpoint::open(tokenizer_);
    arch::ModelConfig config = config_;
    config.arch = &arch::arch_by_gguf_name(arch_);
    config.vocab = source.config().vocab;
    if (config.kv_heads == 0) config.kv_heads = config.heads;
    if (config.heads < 1 || config.dim % config.heads != 0) {
      throw UsageError(fmt::format("--heads: found {}, expected a divisor of --dim {}",
                                   config.heads, config.dim));
    }
    config.head_dim = config.dim / config.heads;
    config.block_norms = false;  // every layer has its own
    try {
      arch::validate(config, "--dim, --heads, --kv-heads, --layers, --ffn, --context");
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
      throw Error(ErrorCode::kIo, fmt::format("{}: {}", folder.string(), error.message()));
    }
    begun_ = true;
    arch::write_new_model(folder / kStartFile, config, source,
                          std::filesystem::weakly_canonical(folder).filename().string(), seed_);
  }

  std::string arch_ = "llama";
  std::string tokenizer_;
  arch::ModelConfig config_ = default_sizes();
  CLI::App* app_ = nullptr;
  std::uint64_t seed_ = 0;
  bool begun_ = false;  ///< the start is this process's
  RunFlags flags_;

  static arch::ModelConfig default_sizes() {
    arch::ModelConfig config;
    config.dim = 256;
    config.layers = 6;
    config.heads = 8;
    config.kv_heads = 0;
    config.ffn = 688;
    config.context = 512;
    config.tied_head = true;
    return config;
  }
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(train, onebit::cli::Train);
