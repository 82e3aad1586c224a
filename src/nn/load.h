// From a model on disk to a DecoderModel: the full-precision teacher, a student about to be
// trained, or the student of a packed file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <torch/types.h>

#include "arch/checkpoint.h"
#include "arch/packed_writer.h"
#include "base/words.h"
#include "nn/decoder.h"

namespace onebit::nn {

/// The type of trainable and frozen tensors: f64 when `compute` is, else f32.
torch::ScalarType master_type(torch::ScalarType compute);

/// A dense tensor in canonical layout: [out, in] or [D], f32 unless `dtype` says otherwise. Its
/// pages of the file are released. Throws as Checkpoint::read_f32.
torch::Tensor read_dense(const arch::Checkpoint& checkpoint, arch::Role role, std::int64_t layer,
                         torch::ScalarType dtype = torch::kFloat32);

/// What a model computes in, and where its tensors are.
struct Placement {
  // NOLINTNEXTLINE(google-explicit-constructor): mostly a type is all there is to say
  Placement(torch::ScalarType compute_type, torch::Device where = torch::kCPU)
      : compute(compute_type), device(where) {}

  torch::ScalarType compute;
  torch::Device device;
};

/// The frozen tensors of a model, as f64 when `compute` is f64, else f32.
FrozenWeights read_frozen(const arch::Checkpoint& checkpoint, Placement placement);

/// The model with its matrices in full precision. Throws Error{kNotFound} for a packed one.
std::unique_ptr<DecoderModel> load_dense(const arch::Checkpoint& checkpoint, Placement placement);

/// Its block `layer` alone.
std::unique_ptr<DecoderModel> load_block(const arch::Checkpoint& checkpoint, Placement placement,
                                         std::int64_t layer);

/// It without blocks: for embed(), finish() and head().
std::unique_ptr<DecoderModel> load_ends(const arch::Checkpoint& checkpoint, Placement placement);

/// How latent weights start from a matrix W.
enum class LatentStart : std::uint8_t {
  kSign,    ///< scale · sign(W): every weight equally far from a flip, as the reference starts
  kLevels,  ///< scale · W / (h gᵀ): in units of the level a sign stands for; small ones flip first
};

/// Latent weights [out, in] in W's type; their signs are sign(W). `level` [out, in] is what the
/// sign of each weight stands for, h gᵀ, and not negative. Where it is zero the sign does not
/// matter: the weight is scale · sign(W).
torch::Tensor latent_start(const torch::Tensor& w, const torch::Tensor& level, LatentStart start,
                           double scale);

/// That level, of g and h as a layer is given them.
torch::Tensor levels(const torch::Tensor& g, const torch::Tensor& h, const torch::Tensor& tie,
                     std::int64_t in, std::int64_t group_size);

/// The reference implementation's scale of latent weights.
inline constexpr double kLatentScale = 0.01;

/// Gives the start of one matrix from its dense values: f32 [out, in] in canonical layout. The
/// tensors it returns are converted to the masters' type.
using StartOf = std::function<OneBitStart(const arch::TensorSpec& spec, std::int64_t layer,
                                          const torch::Tensor& w)>;

/// A student of a full-precision model, or of the blocks of `range`. `frozen` is shared with the
/// teacher and says where the tensors are. Masters are f32, or f64 when compute is. `others` gives
/// the layers that are not 1-bit, and null for those that are.
std::unique_ptr<DecoderModel> make_student(const arch::Checkpoint& source,
                                           const FrozenWeights& frozen, torch::ScalarType compute,
                                           OneBitOptions options, const StartOf& start);
std::unique_ptr<DecoderModel> make_student(const arch::Checkpoint& source,
                                           const FrozenWeights& frozen, torch::ScalarType compute,
                                           OneBitOptions options, const StartOf& start,
                                           LayerRange range, const LinearFactory& others = {});

/// The student that a packed file holds: latent = latent_scale · S, g and h as stored, the form
/// from the file. Throws Error{kInvalidArgument} when the file is not packed.
std::unique_ptr<DecoderModel> load_packed(const arch::Checkpoint& packed, torch::ScalarType compute,
                                          SignGradient gradient, double latent_scale);

/// One matrix of a packed file as a layer's start, in f32: latent = latent_scale · S, g (undefined
/// in the form kFoldable) and h. One that is not 1-bit is a programmer error (ONEBIT_CHECK).
OneBitStart packed_start(const arch::Checkpoint& packed, arch::Role role, std::int64_t layer,
                         double latent_scale);

/// Writes a student as a packed file. `source` is the teacher's checkpoint: sizes, tokenizer and
/// chat template come from it, the frozen weights from the student. Matrices that stay dense must
/// be listed in `options`. Throws as PackedWriter.
void save_packed(const DecoderModel& student, const arch::Checkpoint& source,
                 const std::filesystem::path& out, const arch::PackOptions& options);

/// The same for a student whose blocks are in memory one at a time: `block_of(layer)` is called for
/// each layer in turn; what it returns is used until the next call. `ends` has the rest.
void save_packed(const DecoderModel& ends,
                 const std::function<const DecoderModel&(std::int64_t layer)>& block_of,
                 const arch::Checkpoint& source, const std::filesystem::path& out,
                 const arch::PackOptions& options);

}  // namespace onebit::nn

namespace onebit {

template <>
struct Words<nn::LatentStart> {
  static constexpr Word<nn::LatentStart> kAll[] = {{nn::LatentStart::kSign, "sign"},
                                                   {nn::LatentStart::kLevels, "levels"}};
};

}  // namespace onebit
