// What is the same for every file format: telling formats apart, values in canonical layout,
// tokenizer, hash.
#include "arch/checkpoint.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <fmt/format.h>

#include "arch/checkpoint_impl.h"
#include "arch/gguf_codes.h"
#include "arch/gguf_tokenizer.h"
#include "arch/packed_format.h"
#include "base/check.h"
#include "base/error.h"
#include "base/sha256.h"
#include "file/gguf.h"
#include "formats/dequantize.h"

namespace onebit::arch {
namespace {

static_assert(std::endian::native == std::endian::little, "mapped words are little endian");

std::string tensor_label(const ModelConfig& config, Role role, std::int64_t layer) {
  const TensorSpec* spec = find_tensor(*config.arch, role);
  ONEBIT_CHECK(spec != nullptr);
  return gguf_name(*spec, layer);
}

/// The values, which are finite.
std::vector<float> read_finite(const formats::TensorView& view, const std::string& file,
                               const std::string& name) {
  std::vector<float> values(*formats::element_count(view.shape));
  formats::dequantize(view.dtype, view.data, values);
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{}: tensor {}: element {}: found {}, expected a finite number", file,
                              name, i, values[i]));
    }
  }
  return values;
}

void check_padding(const formats::Sign1View& sign, const std::string& file,
                   const std::string& name) {
  if (sign.cols % 64 == 0) return;
  for (std::int64_t r = 0; r < sign.rows; ++r) {
    const std::uint64_t last = sign.row(r)[formats::sign1_row_words(sign.cols) - 1];
    if (last >> (sign.cols % 64) != 0) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{}: tensor {}: row {}: found one bits after column {}, expected "
                              "zero padding",
                              file, name, r, sign.cols));
    }
  }
}

/// W = A B in f64, rounded once.
void multiply_out(const LowRankMatrix& factors, std::span<float> w) {
  const std::int64_t rank = factors.rank();
  const std::int64_t in = factors.in_factor.cols();
  std::vector<float> b(static_cast<std::size_t>(rank * in));
  formats::dequantize(factors.in_factor.dtype, factors.in_factor.data, b);
  std::vector<float> a(static_cast<std::size_t>(rank));
  std::vector<double> row(static_cast<std::size_t>(in));
  for (std::int64_t o = 0; o < factors.out_factor.rows(); ++o) {
    formats::dequantize(factors.out_factor.dtype, factors.out_factor.row(o), a);
    std::fill(row.begin(), row.end(), 0.0);
    const float* from = b.data();
    for (const float factor : a) {
      for (double& sum : row) sum += double{factor} * *from++;
    }
    std::copy(row.begin(), row.end(), w.begin() + o * in);
  }
}

/// `data` before it is padded: its types may be absent, and padding has none then.
std::vector<text::TokenId> find_unused(const text::TokenizerData& data, std::int64_t vocab) {
  std::vector<text::TokenId> ids;
  for (std::int64_t id = 0; id < vocab; ++id) {
    const auto i = static_cast<std::size_t>(id);
    if (i >= data.tokens.size() ||
        (i < data.types.size() && data.types[i] == text::TokenType::kUnused)) {
      ids.push_back(static_cast<text::TokenId>(id));
    }
  }
  return ids;
}

}  // namespace

std::int64_t rope_source_row(std::int64_t row, std::int64_t head_dim) noexcept {
  const std::int64_t within = row % head_dim;
  return row - within + within / 2 + (within % 2) * (head_dim / 2);
}

void check_shape(std::string_view file, std::string_view tensor, const formats::Shape& found,
                 const formats::Shape& expected) {
  if (found == expected) return;
  throw Error(ErrorCode::kCorrupt,
              fmt::format("{}: tensor {}: found shape {}, expected {}", file, tensor,
                          formats::to_string(found), formats::to_string(expected)));
}

const StoredTensor& Checkpoint::Impl::find(Role role, std::int64_t layer) const {
  const auto it = tensors.find({role, layer});
  if (it == tensors.end()) {
    throw Error(ErrorCode::kNotFound, fmt::format("{}: the model has no tensor {}", path.string(),
                                                  tensor_label(config, role, layer)));
  }
  return it->second;
}

Checkpoint::Checkpoint(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Checkpoint::Checkpoint(Checkpoint&&) noexcept = default;
Checkpoint& Checkpoint::operator=(Checkpoint&&) noexcept = default;
Checkpoint::~Checkpoint() = default;

Checkpoint Checkpoint::open(const std::filesystem::path& model) {
  std::error_code ignored;
  if (!std::filesystem::exists(model, ignored)) {
    throw Error(ErrorCode::kNotFound, fmt::format("{}: no such file or folder", model.string()));
  }
  if (std::filesystem::is_directory(model, ignored)) {
    if (std::filesystem::exists(model / "config.json", ignored)) {
      return Checkpoint(open_hf(model));
    }
    if (std::filesystem::exists(model / "model.gguf", ignored)) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: found a folder without config.json, expected a model, which its "
                              "model.gguf is",
                              model.string()));
    }
  } else if (file::is_gguf(model)) {
    return Checkpoint(open_gguf(model, file::GgufFile::open(model)));
  }
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("{} is neither a GGUF file nor a folder with config.json", model.string()));
}

Checkpoint Checkpoint::parse_gguf(std::span<const std::byte> bytes, const std::string& name) {
  return Checkpoint(open_gguf(name, file::GgufFile::parse(bytes, name)));
}

const ModelConfig& Checkpoint::config() const noexcept { return impl_->config; }
const std::filesystem::path& Checkpoint::path() const noexcept { return impl_->path; }
const std::string& Checkpoint::name() const noexcept { return impl_->name; }

std::optional<Checkpoint::Stored> Checkpoint::dense(Role role, std::int64_t layer) const {
  const auto it = impl_->tensors.find({role, layer});
  if (it == impl_->tensors.end()) return std::nullopt;
  return it->second.dense;
}

void Checkpoint::read_f32(Role role, std::int64_t layer, std::span<float> dst) const {
  const StoredTensor& stored = impl_->find(role, layer);
  if (stored.codes) return dequantize(read_codes(*stored.codes, impl_->path.string()), dst);
  if (stored.low_rank) return multiply_out(*low_rank(role, layer), dst);
  if (!stored.dense) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("{}: tensor {}: found a 1-bit matrix, expected dense values",
                            impl_->path.string(), tensor_label(impl_->config, role, layer)));
  }
  const formats::TensorView& view = stored.dense->view;
  const std::int64_t cols = view.cols();
  ONEBIT_CHECK(std::ssize(dst) == view.rows() * cols);
  if (!stored.dense->permute_rows) {
    formats::dequantize(view.dtype, view.data, dst);
    return;
  }
  for (std::int64_t r = 0; r < view.rows(); ++r) {
    formats::dequantize(
        view.dtype, view.row(rope_source_row(r, impl_->config.head_dim)),
        dst.subspan(static_cast<std::size_t>(r * cols), static_cast<std::size_t>(cols)));
  }
}

void Checkpoint::release(Role role, std::int64_t layer) const {
  const StoredTensor& stored = impl_->find(role, layer);
  if (stored.dense) impl_->release(stored.dense->view);
  if (stored.one_bit) {
    impl_->release(stored.one_bit->sign);
    if (stored.one_bit->in_scale) impl_->release(*stored.one_bit->in_scale);
    impl_->release(stored.one_bit->out_scale);
  }
  if (stored.codes) impl_->release(stored.codes->codes);
  if (stored.low_rank) {
    impl_->release(stored.low_rank->out_factor);
    impl_->release(stored.low_rank->in_factor);
  }
}

ActivationRule Checkpoint::input_rule(Role role, std::int64_t layer) const {
  if (!provenance() || dense(role, layer)) return {};
  const std::vector<std::string>& exact = provenance()->exact_inputs;
  const std::string name = gguf_name(*find_tensor(*config().arch, role), layer);
  const bool is_exact = std::find(exact.begin(), exact.end(), name) != exact.end();
  return is_exact ? ActivationRule{} : provenance()->activations;
}

const std::optional<Provenance>& Checkpoint::provenance() const noexcept {
  return impl_->provenance;
}

std::optional<OneBitMatrix> Checkpoint::one_bit(Role role, std::int64_t layer) const {
  const auto it = impl_->tensors.find({role, layer});
  if (it == impl_->tensors.end() || !it->second.one_bit) return std::nullopt;
  const StoredOneBit& stored = *it->second.one_bit;
  const std::string file = impl_->path.string();
  OneBitMatrix matrix;
  matrix.sign = {reinterpret_cast<const std::uint64_t*>(stored.sign.data.data()),
                 stored.sign.rows(), stored.in};
  check_padding(matrix.sign, file, stored.name + std::string(kSignSuffix));
  if (stored.in_scale) {
    matrix.g = read_finite(*stored.in_scale, file, stored.name + std::string(kInScaleSuffix));
  }
  matrix.h = read_finite(stored.out_scale, file, stored.name + std::string(kOutScaleSuffix));
  matrix.group_size = impl_->provenance->group_size;
  return matrix;
}

std::optional<CodeMatrix> Checkpoint::codes(Role role, std::int64_t layer) const {
  const auto it = impl_->tensors.find({role, layer});
  if (it == impl_->tensors.end() || !it->second.codes) return std::nullopt;
  return read_codes(*it->second.codes, impl_->path.string());
}

std::optional<LowRankMatrix> Checkpoint::low_rank(Role role, std::int64_t layer) const {
  const auto it = impl_->tensors.find({role, layer});
  if (it == impl_->tensors.end() || !it->second.low_rank) return std::nullopt;
  const LowRankMatrix& factors = *it->second.low_rank;
  const std::string base = tensor_label(impl_->config, role, layer);
  read_finite(factors.out_factor, impl_->path.string(), base + std::string(kOutFactorSuffix));
  read_finite(factors.in_factor, impl_->path.string(), base + std::string(kInFactorSuffix));
  return factors;
}

std::optional<text::TokenizerData> Checkpoint::tokenizer_data() const {
  return impl_->tokenizer_data();
}

const text::Tokenizer& Checkpoint::tokenizer() const {
  std::call_once(impl_->tokenizer_once, [this] {
    auto data = impl_->tokenizer_data();
    if (!data) {
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: the model has no tokenizer", impl_->path.string()));
    }
    if (std::ssize(data->tokens) > impl_->config.vocab) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("{}: tokenizer: found {} tokens, expected at most the model's {}",
                              impl_->path.string(), data->tokens.size(), impl_->config.vocab));
    }
    impl_->unused = find_unused(*data, impl_->config.vocab);
    pad_tokens(*data, impl_->config.vocab);
    impl_->tokenizer = text::make_tokenizer(std::move(*data));
    // Whatever its type, a token that ends texts has a use.
    std::erase_if(impl_->unused, [&](text::TokenId id) { return impl_->tokenizer->is_end(id); });
  });
  return *impl_->tokenizer;
}

std::span<const text::TokenId> Checkpoint::unused_tokens() const {
  tokenizer();
  return impl_->unused;
}

std::string Checkpoint::chat_template() const { return impl_->chat_template(); }

std::string Checkpoint::sha256() const {
  constexpr std::size_t kChunk = std::size_t{16} << 20;  // bounds the memory that hashing holds
  std::call_once(impl_->sha256_once, [&] {
    Sha256 hash;
    for (const auto file : impl_->weight_files()) {
      for (std::size_t begin = 0; begin < file.size(); begin += kChunk) {
        const auto chunk = file.subspan(begin, std::min(kChunk, file.size() - begin));
        hash.update(chunk);
        impl_->release({formats::DType::kI8, {std::ssize(chunk)}, chunk});
      }
    }
    impl_->sha256 = hash.hex();
  });
  return impl_->sha256;
}

std::string Checkpoint::identity() const {
  if (impl_->settings.empty()) return sha256();
  Sha256 hash;
  for (const std::string& part : {sha256(), impl_->settings}) {
    hash.update(std::as_bytes(std::span(part)));
  }
  return hash.hex();
}

std::uint64_t Checkpoint::file_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto file : impl_->weight_files()) bytes += file.size();
  return bytes;
}

}  // namespace onebit::arch
