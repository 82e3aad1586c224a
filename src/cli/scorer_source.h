// A model opened for scoring by either engine, so that a command which measures knows only
// eval::Scorer. The runtime is here; libtorch is in the toolkit, which carries such a command on
// (Command::needs_torch).
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "arch/checkpoint.h"
#include "base/words.h"
#include "cli/flags.h"
#include "eval/scorer.h"

namespace onebit::cli {

enum class Engine : std::uint8_t {
  kRuntime,  ///< as `onebit run` runs it
  kTorch,    ///< libtorch in f32, as training runs it
};

/// What a command that scores with a model needs.
struct ScorerFlags {
  RuntimeFlags runtime;
  Engine engine = Engine::kRuntime;
  CLI::Option* activations = nullptr;  ///< define_scorer's
  CLI::Option* kv_type = nullptr;
};

/// --engine and what define_runtime() defines.
void define_scorer(CLI::App& app, ScorerFlags& flags);

class ScorerSource {
 public:
  virtual ~ScorerSource() = default;

  virtual eval::Scorer& scorer() = 0;
  virtual const arch::Checkpoint& checkpoint() const = 0;

  /// What numbers depend on beside the model, for files of results: {"engine", "activations",
  /// "kv_type", "threads", "kernels"}.
  virtual nlohmann::ordered_json settings() const = 0;
};

/// Throws as load_model(), UsageError for flags that the engine does not have. An engine of the
/// toolkit is there only in commands whose needs_torch() has said so.
std::unique_ptr<ScorerSource> open_scorer(const Context& context, const ScorerFlags& flags);

/// That of the toolkit, by which its program answers Context::open_torch.
std::unique_ptr<ScorerSource> open_torch_scorer(const Context& context, const ScorerFlags& flags);

}  // namespace onebit::cli

namespace onebit {

template <>
struct Words<cli::Engine> {
  static constexpr Word<cli::Engine> kAll[] = {{cli::Engine::kRuntime, "runtime"},
                                               {cli::Engine::kTorch, "torch"}};
};

}  // namespace onebit
