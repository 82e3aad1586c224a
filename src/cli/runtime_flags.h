// The flags of every command that runs a model on the runtime, and the loading that they describe.
#pragma once

#include <string>

#include "cli/command.h"
#include "runtime/model.h"

namespace onebit::cli {

struct RuntimeFlags {
  std::string model;
  int threads = 0;
  std::string device = "cpu";
  std::string activations;  ///< "f32" or "i8"; define_runtime's caller sets the default
};

/// MODEL, --threads, --device and --activations.
void define_runtime(CLI::App& app, RuntimeFlags& flags);

/// One of them alone, for commands that need no more.
void define_model(CLI::App& app, std::string& model, const char* name = "MODEL");
void define_threads(CLI::App& app, int& threads);

/// Loads the model. Throws as Model::load; Error{kUnsupported} for a device that is not the CPU.
runtime::Model load_model(const Context& context, const RuntimeFlags& flags);

/// The same for a second model, with the flags of the first.
runtime::Model load_model(const Context& context, const RuntimeFlags& flags,
                          const std::string& path);

}  // namespace onebit::cli
