#include "distill/memory.h"

#include <algorithm>

#include "distill/losses.h"
#include "distill/student_method.h"
#include "nn/fused.h"
#include "quant/low_rank_solver.h"

namespace onebit::distill {
namespace {

constexpr double kMaster = 4;  // bytes of an f32

/// A model's numbers, as doubles.
struct Sizes {
  double dim, query, kv, ffn, vocab_rows, layers;
  double weights = 0;   ///< of a block's matrices
  double trained = 0;   ///< in a block
  double products = 0;  ///< numbers of a block's matrices as they are multiplied, beside these
  double ends = 0;      ///< of embedding and head, where they are trained
  bool keeps_outputs;   ///< of matrices: they go through more than the product

  Sizes(const arch::ModelConfig& config, const Recipe& recipe)
      : dim(static_cast<double>(config.dim)),
        query(static_cast<double>(config.query_dim())),
        kv(static_cast<double>(config.kv_dim())),
        ffn(static_cast<double>(config.ffn)),
        vocab_rows(static_cast<double>(config.vocab) * dim),
        layers(static_cast<double>(config.layers)),
        keeps_outputs(recipe.method == StudentMethod::kOneBit && recipe.group_size == 0) {
    const bool factors = recipe.method == StudentMethod::kLowRank;
    // As much in the place of outputs: the normed inputs of each matrix.
    if (activation_rule(recipe).norm != arch::InputNorm::kNone) keeps_outputs = true;
    if (recipe.train_ends) ends = vocab_rows * (config.tied_head ? 1 : 2);
    for (const arch::TensorSpec& spec : config.arch->tensors) {
      if (!spec.linear) continue;
      const formats::Shape shape = arch::shape_of(config, spec);
      const auto size = static_cast<double>(shape[0] * shape[1]);
      weights += size;
      if (factors) {
        const std::int64_t rank =
            quant::rank_for(static_cast<int>(recipe.bits), shape[0], shape[1]);
        trained += static_cast<double>(rank * (shape[0] + shape[1]));
        continue;
      }
      trained += size;
      products += size;
      if (recipe.method != StudentMethod::kOneBit) continue;
      trained +=
          static_cast<double>(shape[0] * arch::group_count(shape[1], recipe.group_size) + shape[1]);
    }
    if (factors && recipe.compute != torch::kFloat32) products = trained;
  }
};

double bytes_of(torch::ScalarType type) { return static_cast<double>(c10::elementSize(type)); }

/// Of what is multiplied: signs and heads.
double product_bytes(const Recipe& recipe, torch::Device device) {
  return bytes_of(nn::product_type(recipe.compute, device));
}

double frozen_bytes(const arch::ModelConfig& config, const Sizes& n, double product,
                    double copies) {
  const double matrices = config.tied_head ? 1 : 2;
  const double heads = product == kMaster ? 0 : copies * product;  // beside the frozen one
  return (kMaster * matrices + heads) * n.vocab_rows + kMaster * n.dim * (2 * n.layers + 1);
}

/// What autograd holds of one block for each token: the inputs of the norms (f32), and in the
/// compute type the normed rows (2 D), q, k and v rotated and repeated for each head (3 Q), the
/// mixture twice (2 Q), the parts of SwiGLU (4 F), and what leaves the matrices before h (Q + 2 K +
/// 2 D + 2 F), which neither layers with groups nor other methods' need.
double block_bytes_per_token(const Sizes& n, double compute) {
  const double outputs = n.keeps_outputs ? n.query + 2 * n.kv + 2 * n.dim + 2 * n.ffn : 0;
  return kMaster * 2 * n.dim + compute * (2 * n.dim + 5 * n.query + 4 * n.ffn + outputs);
}

/// The widest f32 intermediate, of which three are alive at a time.
double passing_bytes_per_token(const Sizes& n) {
  return 3 * kMaster * std::max({n.dim, n.query, n.ffn});
}

double chunk_bytes(const arch::ModelConfig& config, const Recipe& recipe, double product,
                   torch::Device device) {
  const double tokens =
      static_cast<double>(std::min(logit_chunk(device), recipe.batch * recipe.length));
  return tokens * static_cast<double>(config.vocab) * (2 * product + 3 * kMaster);
}

}  // namespace

MemoryEstimate estimate_memory(const arch::ModelConfig& config, const Recipe& recipe, int processes,
                               bool gradient_checkpointing, torch::Device device) {
  const Sizes n(config, recipe);
  const double compute = bytes_of(recipe.compute);
  const double product = product_bytes(recipe, device);
  const double trained = kMaster * (n.layers * n.trained + n.ends);
  const bool has_teacher = recipe.loss.uses_teacher();
  const double tokens = static_cast<double>(recipe.batch * recipe.length);
  const double kept = gradient_checkpointing ? 1 : n.layers;  // blocks
  MemoryEstimate m;
  m.frozen = frozen_bytes(config, n, product, /*copies=*/recipe.train_ends ? 1 : 2);
  m.teacher = has_teacher ? compute * n.layers * n.weights : 0;
  m.masters = trained;
  m.signs = product * kept * n.products;
  m.gradients = trained;
  m.moments = 2 * trained / processes;
  const double stream = kMaster * n.dim * tokens;
  // Every block's input is the student's state there; without checkpointing block_bytes_per_token()
  // has them.
  m.states = stream *
             ((gradient_checkpointing ? n.layers : 0) + (recipe.loss.beta != 0 ? n.layers + 1 : 1));
  m.block = tokens * (kept * block_bytes_per_token(n, compute) + passing_bytes_per_token(n));
  m.logits = chunk_bytes(config, recipe, product, device);
  return m;
}

MemoryEstimate estimate_block_memory(const arch::ModelConfig& config, const Recipe& recipe,
                                     int processes, std::int64_t held_out, torch::Device device) {
  const Sizes n(config, recipe);
  const double compute = bytes_of(recipe.compute);
  const double product = product_bytes(recipe, device);
  const double trained = kMaster * n.trained;
  const auto length = static_cast<double>(recipe.length);
  MemoryEstimate m;
  m.frozen = frozen_bytes(config, n, product, /*copies=*/1);
  m.teacher = compute * n.weights;
  m.masters = 2 * trained;  // and the block's start, for a second try
  m.signs = product * n.products;
  m.gradients = trained;
  m.moments = 2 * trained / processes;
  const double segments = static_cast<double>(recipe.block.segments) / processes;
  const double followers = static_cast<double>(held_out) / processes * (recipe.steps == 0 ? 3 : 2);
  // On a CPU they are in files.
  m.states = device.is_cpu() ? 0 : kMaster * n.dim * length * (2 * segments + followers);
  m.block = static_cast<double>(recipe.block.batch) * length *
            (block_bytes_per_token(n, compute) + passing_bytes_per_token(n));
  m.logits = chunk_bytes(config, recipe, product, device);
  return m;
}

}  // namespace onebit::distill
