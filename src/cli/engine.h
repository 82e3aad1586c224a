// Whatever runs a model that is measured: the one place where a command gets its Scorer.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "arch/checkpoint.h"
#include "cli/command.h"
#include "cli/flags.h"
#include "eval/scorer.h"

namespace onebit::cli {

class Engine {
 public:
  virtual ~Engine() = default;

  virtual eval::Scorer& scorer() = 0;
  virtual const arch::Checkpoint& checkpoint() const = 0;

  /// What of it decides the scores, up to the last bit: {"engine", "activations", "kv_type",
  /// "kernels"}.
  virtual nlohmann::ordered_json record() const = 0;
  virtual int threads() const = 0;
};

/// The packed runtime. Throws as load_model().
std::unique_ptr<Engine> make_engine(const Context& context, const RuntimeFlags& flags);

}  // namespace onebit::cli
