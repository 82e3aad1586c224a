#include "distill/memory.h"

#include <algorithm>
#include <map>
#include <set>

#include "distill/losses.h"
#include "distill/student_method.h"
#include "nn/fused.h"
#include "quant/low_rank_solver.h"

namespace onebit::distill {
namespace {

constexpr double kMaster = 4;  // bytes of an f32

/// Numbers of matrices.
struct Matrices {
  double weights = 0;   ///< of the teacher
  double kept = 0;      ///< of these those that the student does not train
  double trained = 0;   ///< in the place of the others
  double products = 0;  ///< as they are multiplied, beside these
  double rows = 0;      ///< of each token, what their backward pass needs: inputs and outputs

  /// Adds one of shape `shape` that is trained.
  void add_trained(const formats::Shape& shape, const Recipe& recipe) {
    const auto size = static_cast<double>(shape[0] * shape[1]);
    // What leaves a matrix goes through more than the product: h, or in the place of that the
    // inputs went through a norm.
    const bool grouped = recipe.group_size > 0;
    if ((recipe.method == StudentMethod::kOneBit && !grouped) ||
        activation_rule(recipe).norm != arch::InputNorm::kNone) {
      rows += static_cast<double>(shape[0]);
    }
    if (recipe.method == StudentMethod::kLowRank) {
      const std::int64_t rank = quant::rank_for(static_cast<int>(recipe.bits), shape[0], shape[1]);
      const auto factors = static_cast<double>(rank * (shape[0] + shape[1]));
      trained += factors;
      if (recipe.compute != torch::kFloat32) products += factors;
      return;
    }
    trained += size;
    products += size;
    if (recipe.method != StudentMethod::kOneBit) return;
    trained +=
        static_cast<double>(shape[0] * arch::group_count(shape[1], recipe.group_size) + shape[1]);
  }

  void add(const Matrices& other) {
    weights += other.weights;
    kept += other.kept;
    trained += other.trained;
    products += other.products;
    rows += other.rows;
  }
};

Matrices block_matrices(const arch::ModelConfig& config, const Recipe& recipe,
                        const Mixture* mixture, std::int64_t layer) {
  using arch::Role;
  Matrices n;
  std::set<Role> inputs;  // of trained matrices, by one that reads them
  const std::map<Role, Role> shared = {
      {Role::kAttnK, Role::kAttnQ}, {Role::kAttnV, Role::kAttnQ}, {Role::kFfnUp, Role::kFfnGate}};
  for (const arch::TensorSpec& spec : config.arch->tensors) {
    if (!spec.linear) continue;
    const formats::Shape shape = arch::shape_of(config, spec);
    const auto size = static_cast<double>(shape[0] * shape[1]);
    n.weights += size;
    const arch::TensorId id{spec.role, layer};
    if (mixture != nullptr && mixture->keeps(id)) {
      n.kept += size;
      continue;
    }
    n.add_trained(shape, mixture == nullptr ? recipe : mixture->recipe_of(id));
    const auto same = shared.find(spec.role);
    if (inputs.insert(same == shared.end() ? spec.role : same->second).second) {
      n.rows += static_cast<double>(shape[1]);
    }
  }
  return n;
}

/// A model's numbers, as doubles.
struct Sizes {
  double dim, query, kv, ffn, vocab_rows, layers;
  Matrices all;
  Matrices block;   ///< of the block that trains most
  double ends = 0;  ///< of embedding and head, where they are trained

  Sizes(const arch::ModelConfig& config, const Recipe& recipe, const Mixture* mixture)
      : dim(static_cast<double>(config.dim)),
        query(static_cast<double>(config.query_dim())),
        kv(static_cast<double>(config.kv_dim())),
        ffn(static_cast<double>(config.ffn)),
        vocab_rows(static_cast<double>(config.vocab) * dim),
        layers(static_cast<double>(config.layers)) {
    if (recipe.train_ends) ends = vocab_rows * (config.tied_head ? 1 : 2);
    for (std::int64_t layer = 0; layer < config.layers; ++layer) {
      const Matrices one = block_matrices(config, recipe, mixture, layer);
      all.add(one);
      if (layer == 0 || one.trained > block.trained) block = one;
    }
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

/// What autograd holds of `blocks` blocks, whose matrices are `matrices`, for each token: the
/// inputs of the norms (f32), and in the compute type q, k and v rotated and repeated for each head
/// (3 Q), the mixture (Q), the parts of SwiGLU (3 F) and the matrices' rows: of a block that trains
/// all the normed rows (2 D), the mixture and SwiGLU's result (Q + F), and what leaves the matrices
/// before h (Q + 2 K + 2 D + 2 F), which neither layers with groups nor other methods' need.
double block_bytes_per_token(const Sizes& n, double blocks, const Matrices& matrices,
                             double compute) {
  return blocks * (kMaster * 2 * n.dim + compute * (4 * n.query + 3 * n.ffn)) +
         compute * matrices.rows;
}

/// The widest f32 intermediate, of which three are alive at a time.
double passing_bytes_per_token(const Sizes& n) {
  return 3 * kMaster * std::max({n.dim, n.query, n.ffn});
}

/// What the backward pass holds of matrices that are not trained: what was multiplied, where that
/// is a copy.
double kept_copies(double kept, double product, double compute) {
  return product == compute ? 0 : product * kept;
}

/// Numbers of a block's attention maps.
double map_size(const arch::ModelConfig& config, const Recipe& recipe) {
  return static_cast<double>(recipe.batch * config.heads) * static_cast<double>(recipe.length) *
         static_cast<double>(recipe.length);
}

double chunk_bytes(const arch::ModelConfig& config, const Recipe& recipe, double product,
                   torch::Device device) {
  const double tokens =
      static_cast<double>(std::min(logit_chunk(device), recipe.batch * recipe.length));
  return tokens * static_cast<double>(config.vocab) * (2 * product + 3 * kMaster);
}

}  // namespace

MemoryEstimate estimate_memory(const arch::ModelConfig& config, const Recipe& recipe, int processes,
                               bool gradient_checkpointing, torch::Device device,
                               const Mixture* mixture) {
  const Sizes n(config, recipe, mixture);
  const double compute = bytes_of(recipe.compute);
  const double product = product_bytes(recipe, device);
  const double trained = kMaster * (n.all.trained + n.ends);
  const bool has_teacher = recipe.loss.uses_teacher();
  const double tokens = static_cast<double>(recipe.batch * recipe.length);
  const double blocks = gradient_checkpointing ? 1 : n.layers;  // at a time
  const Matrices& held = gradient_checkpointing ? n.block : n.all;
  MemoryEstimate m;
  m.frozen =
      frozen_bytes(config, n, product, /*copies=*/recipe.train_ends ? 1 : 2) + compute * n.all.kept;
  m.teacher = has_teacher ? compute * n.all.weights : 0;
  m.masters = trained;
  m.signs = product * held.products;
  m.gradients = trained;
  m.moments = 2 * trained / processes;
  const double stream = kMaster * n.dim * tokens;
  // Every block's input is the student's state there; without checkpointing block_bytes_per_token()
  // has them.
  m.states = stream *
             ((gradient_checkpointing ? n.layers : 0) + (recipe.loss.beta != 0 ? n.layers + 1 : 1));
  m.block =
      tokens * (block_bytes_per_token(n, blocks, held, compute) + passing_bytes_per_token(n)) +
      kept_copies(held.kept, product, compute);
  if (recipe.loss.gamma != 0) {
    const double map = map_size(config, recipe);
    m.states += n.layers * 3 * kMaster * map;  // the student's, the teacher's, their difference
    // On the way to a map three of its size; where it is rounded to be multiplied, that stays.
    m.block += (3 * kMaster + (recipe.compute == torch::kFloat32 ? 0 : blocks * compute)) * map;
  }
  m.logits = chunk_bytes(config, recipe, product, device);
  return m;
}

MemoryEstimate estimate_block_memory(const arch::ModelConfig& config, const Recipe& recipe,
                                     int processes, std::int64_t held_out, torch::Device device,
                                     const Mixture* mixture) {
  const Sizes n(config, recipe, mixture);
  const double compute = bytes_of(recipe.compute);
  const double product = product_bytes(recipe, device);
  const double trained = kMaster * n.block.trained;
  const auto length = static_cast<double>(recipe.length);
  MemoryEstimate m;
  m.frozen = frozen_bytes(config, n, product, /*copies=*/1) + compute * n.block.kept;
  m.teacher = compute * n.block.weights;
  m.masters = 2 * trained;  // and the block's start, for a second try
  m.signs = product * n.block.products;
  m.gradients = trained;
  m.moments = 2 * trained / processes;
  const double segments = static_cast<double>(recipe.block.segments) / processes;
  const double followers = static_cast<double>(held_out) / processes * (recipe.steps == 0 ? 3 : 2);
  // On a CPU they are in files.
  m.states = device.is_cpu() ? 0 : kMaster * n.dim * length * (2 * segments + followers);
  m.block = static_cast<double>(recipe.block.batch) * length *
                (block_bytes_per_token(n, 1, n.block, compute) + passing_bytes_per_token(n)) +
            kept_copies(n.block.kept, product, compute);
  m.logits = chunk_bytes(config, recipe, product, device);
  return m;
}

}  // namespace onebit::distill
