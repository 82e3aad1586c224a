// What one file format has to offer behind Checkpoint; checkpoint_gguf.cc and checkpoint_hf.cc
// implement it. Only arch/ includes this.
#pragma once

#include <map>
#include <mutex>
#include <utility>

#include "arch/checkpoint.h"
#include "file/gguf.h"

namespace onebit::arch {

/// A 1-bit matrix where the file holds it; types and shapes are checked, values are not yet.
struct StoredOneBit {
  formats::TensorView sign;  ///< i8 [out, sign1_row_bytes(in)], 8-byte aligned
  std::int64_t in = 0;
  std::optional<formats::TensorView> in_scale;  ///< g: f16 or f32 [in]; none in the form foldable
  formats::TensorView out_scale;                ///< h: f16 or f32 [out], or [out, groups]
  std::string name;                             ///< without suffix, for messages
};

/// A matrix of codes where the file holds it: likewise.
struct StoredCodes {
  formats::TensorView codes;   ///< i8 [out, codes_row_bytes(in, bits)]
  formats::TensorView groups;  ///< i32 [1 + groups]: bits, ends
  int bits = 0;
  std::int64_t in = 0;
  std::optional<formats::TensorView> scale;      ///< [out, groups]; or levels; or row_scale
  std::optional<formats::TensorView> zero;       ///< i8 or i16 [out, groups]
  std::optional<formats::TensorView> levels;     ///< [out, groups, 2^bits]
  std::optional<formats::TensorView> row_scale;  ///< [out, groups, 2]
  std::optional<formats::TensorView> kinds;      ///< i8 [groups], beside row_scale
  std::optional<formats::TensorView> order;      ///< i32 [in]
  std::optional<formats::TensorView> in_scale;   ///< [in]; beside row_scale [2, in]
  std::string name;                              ///< without suffix, for messages
};

/// One tensor of the architecture as the file has it: exactly one of these.
struct StoredTensor {
  std::optional<Checkpoint::Stored> dense;
  std::optional<StoredOneBit> one_bit;
  std::optional<StoredCodes> codes;
  std::optional<LowRankMatrix> low_rank;
};

/// Metadata of a packed file in order.
using Metadata = std::vector<std::pair<std::string, file::GgufValue>>;

struct Checkpoint::Impl {
  std::filesystem::path path;
  std::string name;
  ModelConfig config;
  std::optional<Provenance> provenance;
  std::map<TensorId, StoredTensor> tensors;  ///< every tensor_ids(config)

  std::string settings;  ///< config.json, where sizes and rates are not in the weight files

  mutable std::once_flag sha256_once;
  mutable std::string sha256;

  mutable std::once_flag tokenizer_once;
  mutable std::unique_ptr<text::Tokenizer> tokenizer;
  mutable std::vector<text::TokenId> unused;  ///< set with the tokenizer

  virtual ~Impl() = default;

  /// The tensor, or Error{kNotFound}.
  const StoredTensor& find(Role role, std::int64_t layer) const;

  /// Tells the system that a tensor's bytes are done with. `view` is of one of the weight files.
  virtual void release(const formats::TensorView& view) const = 0;

  /// The weight files' whole contents, in the order that sha256() takes them.
  virtual std::vector<std::span<const std::byte>> weight_files() const = 0;

  virtual std::optional<text::TokenizerData> tokenizer_data() const = 0;
  virtual std::string chat_template() const = 0;

  /// What a packed file repeats of the model as a whole: general.*, sizes, tokenizer, chat
  /// template.
  virtual Metadata metadata() const = 0;
};

/// Both throw as Checkpoint::open; `path` is where the file came from.
std::unique_ptr<Checkpoint::Impl> open_gguf(const std::filesystem::path& path, file::GgufFile gguf);
std::unique_ptr<Checkpoint::Impl> open_hf(const std::filesystem::path& folder);

/// Throws Error{kCorrupt} naming file and tensor unless `found` has the expected shape.
void check_shape(std::string_view file, std::string_view tensor, const formats::Shape& found,
                 const formats::Shape& expected);

/// True for the roles whose rows are in rotary order.
constexpr bool is_rotary(Role role) { return role == Role::kAttnQ || role == Role::kAttnK; }

}  // namespace onebit::arch
