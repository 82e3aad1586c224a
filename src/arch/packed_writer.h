// Writes our packed file: a GGUF that Python's `gguf` opens. docs/formats.md has the grammar.
//
// Per 1-bit matrix NAME: NAME.sign (i8, [out, row_bytes], layout "sign1.v1"), NAME.in_scale (g) and
// NAME.out_scale (h), both f16 by default. Other tensors keep their names and become f32 (norms) or
// the chosen type (embedding, head). Metadata of the source (sizes, tokenizer, chat template) is
// carried over; onebit.* keys say how the file was made.
#pragma once

#include <filesystem>
#include <memory>
#include <span>

#include "arch/checkpoint.h"

namespace onebit::arch {

struct PackOptions {
  Provenance provenance;
  formats::DType embedding = formats::DType::kQ8_0;  ///< f32, f16, bf16 or q8_0; a tied head too
  formats::DType head = formats::DType::kQ8_0;       ///< when the head is not tied
  formats::DType scales = formats::DType::kF16;      ///< g and h: f16 or f32
};

/// Streams one tensor at a time in the order of `order()`; nothing appears until finish().
class PackedWriter {
 public:
  /// Copies what belongs to the model as a whole from `source`. Throws Error{kIo, kUnsupported}.
  PackedWriter(const std::filesystem::path& out, const Checkpoint& source, PackOptions options);
  ~PackedWriter();

  /// Adds one 1-bit matrix: words as Sign1View lays them out. Non-finite g or h, or a value outside
  /// binary16 when scales are f16, throws Error{kNumeric} naming the tensor.
  void add_one_bit(Role role, std::int64_t layer, std::span<const std::uint64_t> words,
                   std::span<const float> g, std::span<const float> h);

  /// Adds a tensor from f32 values in canonical layout, stored as the options say for its role.
  void add_dense(Role role, std::int64_t layer, std::span<const float> values);

  /// All tensors of the architecture must have been added. Throws Error{kIo}.
  void finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::arch
