// A model on disk, whatever its file format: configuration, tokenizer, weights by role. Both
// engines (runtime, nn) and the quantisation methods read models through this and nothing else.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "arch/activation_rule.h"
#include "arch/code_matrix.h"
#include "arch/model_config.h"
#include "base/words.h"
#include "formats/sign1.h"
#include "formats/tensor_view.h"
#include "text/tokenizer.h"

namespace onebit::arch {

/// The 1-bit layer's form.
enum class Form : std::uint8_t {
  kPaper,     ///< y = LN(((x ⊙ g) Sᵀ) ⊙ h)
  kFree,      ///< y = ((x ⊙ g) Sᵀ) ⊙ h
  kFoldable,  ///< the same with g shared as folding.h says; in files it is folded: y = (x Sᵀ) ⊙ h
};

/// The form kFoldable may have one h for each group of this many inputs, the last one perhaps
/// partial: y_o = Σ_b h_ob Σ_{j in b} S_oj x_j. 0: one h a row.
inline constexpr std::int64_t kGroupSizes[] = {0, 16, 32, 64, 128};

/// Columns of h: groups of `in` inputs.
constexpr std::int64_t group_count(std::int64_t in, std::int64_t group_size) noexcept {
  return group_size == 0 ? 1 : (in + group_size - 1) / group_size;
}

/// Throws Error{kUnsupported} unless `group_size` is one of kGroupSizes, and 0 for other forms than
/// kFoldable.
void require_group_size(Form form, std::int64_t group_size);

/// Epsilon of the parameter-free output LayerNorm, as in the reference implementation.
inline constexpr double kOutputNormEps = 1e-5;

/// How a packed file was made: the onebit.* metadata.
struct Provenance {
  std::string method;  ///< "onebit"
  Form form = Form::kPaper;
  std::string source_name;    ///< the source model's general.name or folder name
  std::string source_sha256;  ///< of the source's weight file(s)
  std::string program;        ///< "onebit 0.1.0"
  std::int64_t group_size = 0;
  ActivationRule activations = {};
  /// Names of matrices of codes whose inputs the rule leaves as they are: "blk.0.attn_q".
  std::vector<std::string> exact_inputs = {};
};

/// One 1-bit linear layer as stored.
struct OneBitMatrix {
  formats::Sign1View sign;  ///< S [out, in]
  std::vector<float> g;     ///< [in]; empty in the form kFoldable
  std::vector<float> h;     ///< [out, groups]
  std::int64_t group_size = 0;
};

/// W = A B of rank r as stored: A [out, r], B [r, in], in types that formats/dequantize.h reads.
struct LowRankMatrix {
  formats::TensorView out_factor;  ///< A
  formats::TensorView in_factor;   ///< B

  std::int64_t rank() const { return in_factor.rows(); }
};

/// Converts q/k rows between rotary layouts; row r of the result is row source(r) of the stored.
/// kNeighbours from kHalves: within a head, 2i ← i and 2i+1 ← i + head_dim/2.
std::int64_t rope_source_row(std::int64_t row, std::int64_t head_dim) noexcept;

class Checkpoint {
 public:
  /// MODEL: a GGUF file or a Hugging Face folder, told apart by content. Checks that every tensor
  /// of the architecture is there with the right shape. Throws Error{kNotFound, kCorrupt,
  /// kUnsupported}.
  static Checkpoint open(const std::filesystem::path& model);

  /// A GGUF file from memory (fuzzing); `bytes` must outlive the object. Throws as open.
  static Checkpoint parse_gguf(std::span<const std::byte> bytes, const std::string& name);

  Checkpoint(Checkpoint&&) noexcept;
  Checkpoint& operator=(Checkpoint&&) noexcept;
  ~Checkpoint();

  const ModelConfig& config() const noexcept;
  const std::filesystem::path& path() const noexcept;
  const std::string& name() const noexcept;  ///< general.name, or the folder's name

  /// The stored bytes of a dense tensor, and whether q/k rows must be permuted (rope_source_row) to
  /// reach the canonical layout, which is the architecture's GGUF layout.
  struct Stored {
    formats::TensorView view;
    bool permute_rows = false;
  };

  /// The dense tensor of a role, or nothing (a tied head; a matrix stored in another way).
  std::optional<Stored> dense(Role role, std::int64_t layer) const;

  /// Dense values, or what codes or two factors stand for, as f32 in canonical layout. dst holds
  /// all elements. Throws Error{kNotFound} for a 1-bit matrix.
  void read_f32(Role role, std::int64_t layer, std::span<float> dst) const;

  /// Tells the system that this tensor's pages are done with.
  void release(Role role, std::int64_t layer) const;

  /// Present when the file is packed by this program.
  const std::optional<Provenance>& provenance() const noexcept;

  /// What is done to the inputs of a role's matrix: nothing to those of dense ones.
  ActivationRule input_rule(Role role, std::int64_t layer) const;

  /// The 1-bit matrix of a role, or nothing. `sign` points into the mapped file and lives with it.
  std::optional<OneBitMatrix> one_bit(Role role, std::int64_t layer) const;

  /// The matrix of codes of a role, or nothing. `codes` points into the mapped file.
  std::optional<CodeMatrix> codes(Role role, std::int64_t layer) const;

  /// The two factors of a role's matrix, or nothing. They point into the mapped file. Throws
  /// Error{kCorrupt} for values that are not finite.
  std::optional<LowRankMatrix> low_rank(Role role, std::int64_t layer) const;

  /// Built at the first call; thread-safe. Throws Error{kNotFound} when the model has none,
  /// kCorrupt when it has more tokens than the model's vocabulary, and as make_tokenizer.
  const text::Tokenizer& tokenizer() const;

  /// The ids, ascending, that no text has: those of type kUnused, and those above the tokenizer's
  /// own up to the model's vocabulary. Lives with the checkpoint. Throws as tokenizer().
  std::span<const text::TokenId> unused_tokens() const;

  /// The tokenizer as data, or nothing when the model has none. Throws as the parsers of
  /// text/tokenizer.h.
  std::optional<text::TokenizerData> tokenizer_data() const;

  /// Jinja source of the chat template, or empty.
  std::string chat_template() const;

  /// SHA-256 over the weight file (GGUF) or over the safetensors files in name order.
  std::string sha256() const;

  /// The same where that file says all that a model computes; of a folder also over config.json.
  std::string identity() const;

  /// Bytes of the weight file(s).
  std::uint64_t file_bytes() const;

  /// What each file format has to offer: checkpoint_impl.h, for this layer only.
  struct Impl;
  const Impl& impl() const noexcept { return *impl_; }

 private:
  explicit Checkpoint(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::arch

namespace onebit {

template <>
struct Words<arch::Form> {
  static constexpr Word<arch::Form> kAll[] = {{arch::Form::kPaper, "paper"},
                                              {arch::Form::kFree, "free"},
                                              {arch::Form::kFoldable, "foldable"}};
};

}  // namespace onebit
