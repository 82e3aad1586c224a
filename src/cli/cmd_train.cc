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
    size("--kv-heads", config_.kv_heads, "key/value heads");
    size("--ffn", config_.ffn, "features of the feed-forward layer");
    size("--context", config_.context, "longest sequence");
    app.add_flag("--tied-head,!--no-tied-head", config_.tied_head,
                 "the output matrix is the embedding");
    define_run(app, flags_, "JSONL or text to train on, also compressed (repeatable)");
  }

  void run(Context& context) override {
    if (!flags_.resume) {
      if (flags_.data.empty()) throw UsageError("--data: found none, expected text to train on");
      if (tokenizer_.empty()) {
        throw UsageError("--tokenizer: found none, expected a model with the tokenizer to use");
      }
    }
    const StudentMethod method = flags_.settings.method().value_or(StudentMethod::kBitNet158);
    if (method != StudentMethod::kBitNet && method != StudentMethod::kBitNet158) {
      throw UsageError(
          fmt::format("--method: found {}, expected bitnet or bitnet158: others begin "
                      "with a trained model (onebit distill)",
                      word_of(method)));
    }
    RunPlan plan;
    plan.teacher = (std::filesystem::path(flags_.out) / kStartFile).string();
    plan.from_scratch = true;
    plan.recipe = [&](torch::Device device, const std::filesystem::path& folder) {
      if (flags_.resume) return distill::saved_recipe(folder);
      distill::Recipe recipe = distill::scratch_recipe(method);
      recipe.compute = distill::fastest_compute(device);
      recipe.seed = actual_seed(flags_.seed);
      return recipe;
    };
    if (!flags_.resume) {
      plan.prepare = [&](const std::filesystem::path& folder) { write_start(folder); };
    }
    run_training(context, flags_, plan);
  }

 private:
  void write_start(const std::filesystem::path& folder) const {
    const arch::Checkpoint source = arch::Checkpoint::open(tokenizer_);
    arch::ModelConfig config = config_;
    config.arch = &arch::arch_by_gguf_name(arch_);
    config.vocab = source.config().vocab;
    if (config.heads < 1 || config.dim % config.heads != 0) {
      throw UsageError(fmt::format("--heads: found {}, expected a divisor of --dim {}",
                                   config.heads, config.dim));
    }
    config.head_dim = config.dim / config.heads;
    config.block_norms = false;  // every layer has its own
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) {
      throw Error(ErrorCode::kIo, fmt::format("{}: {}", folder.string(), error.message()));
    }
    arch::write_new_model(folder / kStartFile, config, source, folder.filename().string(),
                          flags_.seed < 0 ? 0 : static_cast<std::uint64_t>(flags_.seed));
  }

  std::string arch_ = "llama";
  std::string tokenizer_;
  arch::ModelConfig config_ = default_sizes();
  RunFlags flags_;

  static arch::ModelConfig default_sizes() {
    arch::ModelConfig config;
    config.dim = 256;
    config.layers = 6;
    config.heads = 8;
    config.kv_heads = 8;
    config.ffn = 688;
    config.context = 512;
    config.tied_head = true;
    return config;
  }
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(train, onebit::cli::Train);
