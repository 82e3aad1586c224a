// onebit-logits ENGINE MODEL TOKENS OUT: the logits of given tokens, for comparisons with other
// software (tools/accept/logits.py and packed.py). Not installed; no command of the program.
//
//   ENGINE  runtime-f32, runtime-i8 (the runtime, by its activations), torch-f32, torch-f64
//   MODEL   as everywhere; torch runs a packed file as its student
//   TOKENS  little-endian int32 ids, one sequence
//   OUT     f32 [tokens, vocab]
#include <cstdio>
#include <cstring>
#include <exception>
#include <fmt/format.h>
#include <string>
#include <torch/utils.h>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "nn/load.h"
#include "runtime/model.h"

namespace onebit {
namespace {

using text::TokenId;

std::vector<TokenId> read_tokens(const char* path) {
  const std::string bytes = read_file(path);
  std::vector<TokenId> tokens(bytes.size() / sizeof(TokenId));
  std::memcpy(tokens.data(), bytes.data(), tokens.size() * sizeof(TokenId));
  return tokens;
}

void run_runtime(const char* path, runtime::Activations activations,
                 const std::vector<TokenId>& tokens, AtomicFile& out) {
  runtime::ModelOptions options;
  options.activations = activations;
  options.kv = runtime::KvType::kF32;
  runtime::Model model = runtime::Model::load(path, options);
  runtime::KvCache cache = model.make_cache(std::ssize(tokens));
  model.forward_each(tokens, cache, 0, [&](std::int64_t, std::span<const float> rows) {
    out.write(std::as_bytes(rows));
  });
}

void run_torch(const char* path, torch::ScalarType compute, const std::vector<TokenId>& tokens,
               AtomicFile& out) {
  const torch::NoGradGuard no_grad;
  const arch::Checkpoint checkpoint = arch::Checkpoint::open(path);
  const auto model =
      checkpoint.provenance()
          ? nn::load_packed(checkpoint, compute, nn::SignGradient::kTanh, nn::kLatentScale)
          : nn::load_dense(checkpoint, compute);
  const torch::Tensor hidden =
      model->forward(torch::tensor(tokens, torch::kInt64).unsqueeze(0), {}).hidden[0];
  for (std::int64_t t = 0; t < hidden.size(0); ++t) {
    const torch::Tensor row =
        torch::linear(hidden[t], model->head()).to(torch::kFloat32).contiguous();
    out.write(std::as_bytes(
        std::span(row.const_data_ptr<float>(), static_cast<std::size_t>(row.numel()))));
  }
}

void run(const std::string& engine, const char* model, const char* tokens_path, const char* out) {
  const std::vector<TokenId> tokens = read_tokens(tokens_path);
  AtomicFile file(out);
  if (engine == "runtime-f32") {
    run_runtime(model, runtime::Activations::kF32, tokens, file);
  } else if (engine == "runtime-i8") {
    run_runtime(model, runtime::Activations::kI8, tokens, file);
  } else if (engine == "torch-f32") {
    run_torch(model, torch::kFloat32, tokens, file);
  } else if (engine == "torch-f64") {
    run_torch(model, torch::kFloat64, tokens, file);
  } else {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("engine: found {}, expected runtime-f32, runtime-i8, torch-f32 or "
                            "torch-f64",
                            engine));
  }
  file.commit();
}

}  // namespace
}  // namespace onebit

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: onebit-logits ENGINE MODEL TOKENS OUT\n", stderr);
    return 2;
  }
  try {
    onebit::run(argv[1], argv[2], argv[3], argv[4]);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "onebit-logits: %s\n", error.what());
    return 1;
  }
  return 0;
}
