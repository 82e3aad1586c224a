#include "cli/engine.h"

#include <nlohmann/json.hpp>

#include "cli/runtime_scorer.h"

namespace onebit::cli {
namespace {

class RuntimeEngine final : public Engine {
 public:
  RuntimeEngine(const Context& context, const RuntimeFlags& flags)
      : activations_(flags.activations), model_(load_model(context, flags)), scorer_(model_) {}

  eval::Scorer& scorer() override { return scorer_; }
  const arch::Checkpoint& checkpoint() const override { return model_.checkpoint(); }
  nlohmann::ordered_json record() const override {
    return {{"engine", "runtime"},
            {"activations", word_of(activations_)},
            {"kv_type", word_of(model_.kv_type())},
            {"kernels", model_.kernels().name}};
  }
  int threads() const override { return model_.threads(); }

 private:
  runtime::Activations activations_;
  runtime::Model model_;
  RuntimeScorer scorer_;
};

}  // namespace

std::unique_ptr<Engine> make_engine(const Context& context, const RuntimeFlags& flags) {
  return std::make_unique<RuntimeEngine>(context, flags);
}

}  // namespace onebit::cli
