#include "cli/runtime_flags.h"

#include <chrono>
#include <fmt/format.h>

#include "base/error.h"
#include "base/log.h"

namespace onebit::cli {

void define_model(CLI::App& app, std::string& model, const char* name) {
  app.add_option(name, model, "a GGUF file or a Hugging Face folder")
      ->required()
      ->type_name("");  // the name says it
}

void define_threads(CLI::App& app, int& threads) {
  app.add_option("-t,--threads", threads, "threads; 0: one per hardware thread")
      ->check(CLI::Range(0, 1024).description(""))
      ->type_name("N")
      ->capture_default_str();
}

void define_runtime(CLI::App& app, RuntimeFlags& flags) {
  define_model(app, flags.model);
  define_threads(app, flags.threads);
  app.add_option("--device", flags.device, "cpu or cuda")
      ->check(CLI::IsMember({"cpu", "cuda"}).description(""))
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option("--activations", flags.activations,
                 "what 1-bit matrices multiply: f32 (exact) or i8 (rounded per token, faster)")
      ->check(CLI::IsMember({"f32", "i8"}).description(""))
      ->type_name("TYPE")
      ->capture_default_str();
}

runtime::Model load_model(const Context& context, const RuntimeFlags& flags) {
  return load_model(context, flags, flags.model);
}

runtime::Model load_model(const Context& context, const RuntimeFlags& flags,
                          const std::string& path) {
  if (flags.device != "cpu") {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("device: found {}, expected cpu (the runtime has no other)", flags.device));
  }
  const auto begin = std::chrono::steady_clock::now();
  runtime::ModelOptions options;
  options.threads = flags.threads;
  options.isa = context.isa;
  options.activations =
      flags.activations == "i8" ? runtime::Activations::kI8 : runtime::Activations::kF32;
  runtime::Model model = runtime::Model::load(path, options);
  log(LogLevel::kDebug,
      fmt::format("{}: {} layers, {} kernels, {} threads, loaded in {:.2f} s", path,
                  model.config().layers, model.kernels().name, model.threads(),
                  std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()));
  return model;
}

}  // namespace onebit::cli
