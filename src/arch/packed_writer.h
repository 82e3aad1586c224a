// Writes our packed file: a GGUF that Python's `gguf` opens. docs/formats.md has the grammar.
//
// Per 1-bit matrix NAME: NAME.sign (i8, [out, row_bytes], layout "sign1.v1"), NAME.in_scale (g, but
// for the form foldable) and NAME.out_scale (h), both f16 by default. Other tensors keep their
// names and become f32 (norms) or the chosen type (embedding, head). Metadata of the source (sizes,
// tokenizer, chat template) is carried over; onebit.* keys say how the file was made.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "arch/checkpoint.h"

namespace onebit::arch {

/// As two factors of a rank, stored in `type`: f16 or f32.
struct LowRankSpec {
  std::int64_t rank = 1;
  formats::DType type = formats::DType::kF16;

  /// What both take.
  std::uint64_t bytes(std::int64_t out, std::int64_t in) const {
    return static_cast<std::uint64_t>(rank) * *formats::byte_count(type, {out + in});
  }
};

/// How a linear matrix is stored: 1-bit as the file's form says, with a type of its own, coded, or
/// as two factors.
struct OneBitStorage {};
using Storage = std::variant<OneBitStorage, formats::DType, CodeSpec, LowRankSpec>;

struct PackOptions {
  Provenance provenance;
  formats::DType embedding =
      formats::DType::kQ8_0;                     ///< f32, f16, bf16, q8_0 or q4_0; a tied head too
  formats::DType head = formats::DType::kQ8_0;   ///< when the head is not tied
  formats::DType scales = formats::DType::kF16;  ///< g and h: f16 or f32
  /// Linear matrices that stay dense, and their types (as for embedding). What is neither here nor
  /// in the maps below is 1-bit.
  std::map<TensorId, formats::DType> dense;
  /// Linear matrices that are stored as codes.
  std::map<TensorId, CodeSpec> codes;
  /// Linear matrices that are stored as two factors.
  std::map<TensorId, LowRankSpec> low_rank;

  void set(const TensorId& matrix, const Storage& storage);
};

/// Every linear matrix with one type, for PackOptions::dense: a model without 1-bit matrices.
std::map<TensorId, formats::DType> all_linear(const ModelConfig& config, formats::DType type);

/// Throws Error{kNumeric}, its message beginning with `name`, for scales that f16 would rob of
/// precision or all they are: not all zero, and none as large as 2^-14. Other types hold any.
void require_precise_scales(std::span<const float> values, formats::DType type,
                            std::string_view name);

/// "onebit 0.1.0"
std::string program_name();

/// What a file made from `source` now, by this program, says of its origin. Hashes the source.
Provenance provenance_of(const Checkpoint& source, std::string method, Form form,
                         std::int64_t group_size = 0);

/// Streams one tensor at a time in the order of order(); nothing appears until finish().
class PackedWriter {
 public:
  /// Copies what belongs to the model as a whole from `source`, which need not outlive the call.
  /// Throws Error{kIo}; Error{kUnsupported} naming the tensor when a type cannot be written or does
  /// not fit its rows (q8_0 and q4_0 need a multiple of 32).
  PackedWriter(const std::filesystem::path& out, const Checkpoint& source, PackOptions options);
  ~PackedWriter();

  /// All tensors in the order in which they must be added: tensor_ids() of the source's
  /// configuration. Another order, kind or size is a programmer error (ONEBIT_CHECK).
  const std::vector<TensorId>& order() const noexcept;

  /// Whether a tensor of order() is to be added with add_one_bit().
  bool is_one_bit(const TensorId& id) const;

  /// Of the whole file, before anything is added.
  std::uint64_t file_bytes();

  /// Adds one 1-bit matrix: words as Sign1View lays them out, g [in] (empty in the form foldable,
  /// where it must be folded by now) and h [out, groups]. Throws Error{kNumeric} naming the
  /// tensor for non-finite g or h, and when scales are f16 for a value above binary16 or a vector
  /// that is all below it, by require_precise_scales(). A small value beside larger ones is rounded
  /// as binary16 rounds it, by at most 2^-25.
  void add_one_bit(Role role, std::int64_t layer, std::span<const std::uint64_t> words,
                   std::span<const float> g, std::span<const float> h);

  /// Adds a matrix by its spec of PackOptions::codes. Scales are checked and stored as those of
  /// add_one_bit(); zero points are whole and within their type. Values that do not fit the spec
  /// are a programmer error.
  void add_codes(Role role, std::int64_t layer, const CodeValues& values);

  /// Adds a matrix by its spec of PackOptions::low_rank: A [out, rank] and B [rank, in]. Throws as
  /// add_dense().
  void add_low_rank(Role role, std::int64_t layer, std::span<const float> a,
                    std::span<const float> b);

  /// Adds a tensor from f32 values in canonical layout, stored as the options say for its role
  /// (norms: f32). Values that are not finite, or not finite once stored, throw Error{kNumeric}.
  void add_dense(Role role, std::int64_t layer, std::span<const float> values);

  /// All tensors of the architecture must have been added. Throws Error{kIo}.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::arch
