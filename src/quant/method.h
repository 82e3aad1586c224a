// A quantisation method: how one matrix of a model becomes a stored form. Methods, storage formats
// and kernels are separate axes: a method writes a format that exists and knows no kernel.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <torch/types.h>
#include <vector>

#include "arch/packed_writer.h"
#include "base/thread_pool.h"
#include "formats/tensor_view.h"
#include "quant/arb_refinement.h"
#include "quant/omniquant_training.h"
#include "quant/svid.h"

namespace onebit::quant {

class BlockPart;
class Calibration;

struct MethodOptions {
  int bits = 0;                         ///< of Method::bits; 0: the first of them
  SvidOptions svid;                     ///< methods that start from SVID
  arch::Form form = arch::Form::kFree;  ///< 1-bit methods
  /// Inputs that share a scale; 0: a whole row. Of arch::kGroupSizes for 1-bit methods.
  std::int64_t group_size = 0;
  bool symmetric = false;   ///< rtn, gptq: grids with a level for 0 in the middle, no zero points
  bool affine = false;      ///< int8: with zero points
  bool per_tensor = false;  ///< int8: one scale for the whole matrix
  double clip = 1;          ///< int8: the part of a range that codes cover
  double damping = 0.01;    ///< of the second moment's mean diagonal; Method::damping
  bool act_order = false;   ///< gptq: columns of the largest inputs first
  bool static_groups = false;  ///< gptq: grids of groups from the weights as they are
  Refinement refinement = Refinement::kRowsColumns;  ///< arb
  OmniquantTraining omniquant;
  /// omniquant: of matrices' inputs, and of queries, keys and values; ActivationRule::kExact: none
  int activation_bits = arch::ActivationRule::kExact;
  formats::DType scales = formats::DType::kF16;  ///< element type of stored g and h
};

/// One linear matrix of the model, in canonical layout.
struct MatrixTask {
  arch::Role role;
  std::int64_t layer;
  std::int64_t out;
  std::int64_t in;
  std::span<const float> weights;  ///< f32 [out, in] row-major
  std::stop_token stop = {};       ///< ends the work on it with Error{kInterrupted}
};

/// What `onebit quantize` prints as a row.
struct MatrixReport {
  std::string name;                ///< "blk.3.attn_q"
  formats::Shape shape;            ///< {out, in}
  double relative_error = 0;       ///< ‖W − Ŵ‖² / ‖W‖²
  double square_error = 0;         ///< ‖W − Ŵ‖²
  double square_norm = 0;          ///< ‖W‖²
  std::uint64_t stored_bytes = 0;  ///< everything that stands for the matrix in the file

  double bits_per_weight() const {
    return 8.0 * static_cast<double>(stored_bytes) /
           (static_cast<double>(shape[0]) * static_cast<double>(shape[1]));
  }
};

/// A matrix once quantised, as numbers to compute with: y = x Ŵᵀ, or LN(x Ŵᵀ) with LN as in
/// arch::Form::kPaper.
struct FakeQuantized {
  std::vector<float> weights;        ///< Ŵ [out, in] row-major
  bool output_norm = false;          ///< whether there is LN
  arch::ActivationRule inputs = {};  ///< what is done to x before
  MatrixReport report;               ///< as of Quantizer::add()
};

/// A method at work on one model. Its tensors come layer by layer, in the file's order.
class Quantizer {
 public:
  virtual ~Quantizer() = default;

  /// How a matrix will be stored; asked before anything is added.
  virtual arch::Storage storage(const arch::TensorId& id, const formats::Shape& shape) const = 0;

  /// What the quantised model does to activations.
  virtual arch::ActivationRule activations() const { return {}; }

  /// Of the inputs of the matrix that comes next, as Calibration::second_moment(): where the method
  /// calibrates.
  virtual void set_inputs(const torch::Tensor&) {}

  /// Comes before the first tensor of each layer.
  virtual void begin_layer(std::int64_t) {}

  /// Comes after begin_layer(), for a method that trains whole blocks, whose tensors then follow.
  /// `calibration` has loaded the block, and the full-precision stream before it. `note` takes a
  /// short text of how far the training is. Throws Error{kNumeric}, Error{kInterrupted}.
  using Note = std::function<void(std::string_view)>;
  virtual void train_block(Calibration&, const Note&) {}

  /// Quantises the matrix and adds it to the file. Fills everything of the report but its name.
  /// Throws Error{kNumeric} for weights that it cannot represent.
  virtual MatrixReport add(const MatrixTask& task, arch::PackedWriter& writer) = 0;

  /// Quantises the matrix and gives back what a file would make of it, without writing one ("fake
  /// quantisation"). Scales are rounded to the type in which they would be stored; one that would
  /// be folded into another tensor stays with this matrix, in f32, as that tensor does not change.
  /// Between begin_layer() and the next, any matrix of the layer may come, in any order. Throws as
  /// add().
  virtual FakeQuantized fake_quantize(const MatrixTask& task) = 0;

  /// What fake_quantize() or train_block() has found since begin_layer(), where finding it again
  /// takes calibration.
  virtual void save_block(BlockPart&) const {}

  /// After begin_layer(), in place of the work: from here on fake_quantize(), add() and adjust() of
  /// these matrices of the layer give what was saved; a method without saves nothing, finds them
  /// again, and may not need set_inputs() for it. `calibration`, if there is one, is at this block
  /// and gets the norms. Throws Error{kCorrupt} for what save_block() does not write, here or when
  /// a matrix is asked for.
  virtual void restore_block(std::int64_t /*layer*/, std::span<const arch::Role> /*matrices*/,
                             const BlockPart&, Calibration* /*calibration*/) {}

  /// Changes a tensor that stays dense, in place, before it is stored: a norm that takes scales.
  virtual void adjust(arch::Role, std::int64_t, std::span<float>) {}
};

/// Whether a method reads calibration text: set_inputs() then comes before each matrix, or
/// train_block() before each block.
enum class Calibrates : std::uint8_t {
  kNo,
  kIfAsked,  ///< where there is such text
  kAlways,
};

struct Method {
  std::string_view name;
  std::string_view summary;   ///< one line, for the help text
  std::span<const int> bits;  ///< that a weight can have beside its scales; the default first
  Calibrates calibrates = Calibrates::kNo;
  bool trains_blocks = false;  ///< train_block() before each block; for all matrices or none
  double damping = 0.01;       ///< MethodOptions::damping where a user has no wish

  /// All three outlive the result. Throws Error{kUnsupported} for a model or options that the
  /// method cannot take.
  std::unique_ptr<Quantizer> (*make)(const arch::Checkpoint& source, const MethodOptions& options,
                                     ThreadPool& pool);
};

/// Every method of method_list.inc.
std::span<const Method* const> all_methods() noexcept;

/// Which methods are meant; empty: all.
using MethodFilter = std::function<bool(const Method&)>;

/// Throws Error{kInvalidArgument} naming the wanted ones.
const Method& find_method(std::string_view name, const MethodFilter& wanted = {});

/// A method and the bits of its weights.
struct MethodChoice {
  const Method* method = nullptr;
  int bits = 0;  ///< of method->bits
};

/// `bits`, or for 0 the method's first. Throws Error{kInvalidArgument} for bits that it does not
/// have.
int require_bits(const Method& method, int bits);

/// As command lines write them: "onebit", "onebit:1". Throws Error{kInvalidArgument} for a method
/// that is none of those wanted, naming these, and for bits that it does not have.
MethodChoice parse_method(std::string_view text, const MethodFilter& wanted = {});

}  // namespace onebit::quant
