// A model whose greedy continuation is known, for tests of what generates text. Only *_test.cc
// files include this.
#pragma once

#include <filesystem>
#include <map>

#include "arch/test_models.h"

namespace onebit::testing {

/// Of the tokens that may follow each token, the weights: logits grow with them, and are 0 for all
/// others.
using Chain = std::map<std::int32_t, std::map<std::int32_t, float>>;

/// Writes a GGUF with test_models::tiny_tokenizer() whose logits `chain` gives. The layers add
/// nothing: the embedding of t is the unit vector of dimension t, which column t of the head turns
/// into the weights.
inline void write_chain(const std::filesystem::path& path, const Chain& chain) {
  const arch::ModelConfig config = arch::test_models::tiny_config();
  arch::test_models::TinyModel model = arch::test_models::random_model(config, 1);
  for (auto& [id, values] : model.weights) {
    const bool outer = id.role == arch::Role::kTokenEmbedding || id.role == arch::Role::kOutput;
    const bool branch = id.role == arch::Role::kAttnOut || id.role == arch::Role::kFfnDown;
    if (outer || branch) std::fill(values.begin(), values.end(), 0.0F);
  }
  auto& embedding = model.weights.at({arch::Role::kTokenEmbedding, -1});
  for (std::int64_t t = 0; t < config.vocab; ++t) {
    embedding[static_cast<std::size_t>(t * config.dim + t)] = 1;
  }
  auto& head = model.weights.at({arch::Role::kOutput, -1});
  for (const auto& [from, weights] : chain) {
    for (const auto& [to, weight] : weights) {
      head[static_cast<std::size_t>(to * config.dim + from)] = weight;
    }
  }
  arch::test_models::write_gguf(model, path, formats::DType::kF32, /*tokenizer=*/true);
}

/// Copies a file of write_chain, these tokens of its tokenizer declared unused.
inline void mark_unused(const std::filesystem::path& from, const std::filesystem::path& to,
                        const std::vector<text::TokenId>& ids) {
  const auto gguf = file::GgufFile::open(from);
  file::GgufWriter writer(to);
  for (auto [key, value] : gguf.metadata()) {
    if (key == "tokenizer.ggml.token_type") {
      auto& types = std::get<std::vector<std::int32_t>>(std::get<file::GgufArray>(value.value));
      for (const text::TokenId id : ids) {
        types[static_cast<std::size_t>(id)] = static_cast<std::int32_t>(text::TokenType::kUnused);
      }
    }
    writer.set(key, value);
  }
  for (const file::GgufTensor& tensor : gguf.tensors()) {
    writer.declare(tensor.name, tensor.view.dtype, tensor.view.shape);
  }
  for (const file::GgufTensor& tensor : gguf.tensors()) {
    writer.write(tensor.name, tensor.view.data);
  }
  writer.finish();
}

}  // namespace onebit::testing
