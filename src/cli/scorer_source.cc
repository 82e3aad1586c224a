#include "cli/scorer_source.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <string>

#include "base/check.h"
#include "cli/runtime_scorer.h"

namespace onebit::cli {
namespace {

class RuntimeSource final : public ScorerSource {
 public:
  RuntimeSource(const Context& context, const RuntimeFlags& flags)
      : activations_(flags.activations), model_(load_model(context, flags)), scorer_(model_) {}

  eval::Scorer& scorer() override { return scorer_; }
  const arch::Checkpoint& checkpoint() const override { return model_.checkpoint(); }

  nlohmann::ordered_json settings() const override {
    return {{"engine", word_of(Engine::kRuntime)},
            {"activations", word_of(activations_)},
            {"kv_type", word_of(model_.kv_type())},
            {"threads", model_.threads()},
            {"kernels", model_.kernels().name}};
  }

 private:
  runtime::Activations activations_;
  runtime::Model model_;
  RuntimeScorer scorer_;
};

/// libtorch rounds nothing, and a flag that would say otherwise is a mistake.
void require_exact(const CLI::Option* option) {
  if (option == nullptr || option->count() == 0 || option->as<std::string>() == "f32") return;
  throw UsageError(fmt::format("--{} {}: found it with --engine torch, expected f32",
                               option->get_lnames().front(), option->as<std::string>()));
}

}  // namespace

void define_scorer(CLI::App& app, ScorerFlags& flags) {
  define_runtime(app, flags.runtime);
  flags.activations = app.get_option("--activations");
  flags.kv_type = app.get_option("--kv-type");
  define_choice(app, "--engine", flags.engine,
                "what runs the model, the packed runtime or libtorch in f32");
}

std::unique_ptr<ScorerSource> open_scorer(const Context& context, const ScorerFlags& flags) {
  if (flags.engine == Engine::kRuntime) {
    return std::make_unique<RuntimeSource>(context, flags.runtime);
  }
  require_exact(flags.activations);
  require_exact(flags.kv_type);
  require_cpu(flags.runtime.device);
  ONEBIT_CHECK(context.open_torch != nullptr);
  return context.open_torch(context, flags);
}

}  // namespace onebit::cli
