#include "distill/data.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <numeric>
#include <utility>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/sha256.h"
#include "distill/text_input.h"
#include "text/unicode.h"

namespace onebit::distill {
namespace {

using text::TokenId;

constexpr char kMagic[8] = {'O', 'B', 'T', 'O', 'K', 'E', 'N', 'S'};
constexpr std::uint32_t kVersion = 1;
constexpr std::size_t kHeader = 64;
static_assert(std::endian::native == std::endian::little);

/// Cuts a stream of tokens into whole segments of a file.
class SegmentWriter {
 public:
  SegmentWriter(const std::filesystem::path& path, std::int64_t length, std::int64_t limit)
      : file_(path), length_(length), limit_(limit) {
    std::array<std::byte, kHeader> header{};
    const auto length32 = static_cast<std::uint32_t>(length);
    std::memcpy(header.data(), kMagic, sizeof kMagic);
    std::memcpy(header.data() + 8, &kVersion, 4);
    std::memcpy(header.data() + 12, &length32, 4);
    file_.write(header);
  }

  void add(std::span<const TokenId> tokens) {
    pending_.insert(pending_.end(), tokens.begin(), tokens.end());
    const auto length = static_cast<std::size_t>(length_);
    std::size_t whole = pending_.size() / length;
    if (limit_ >= 0) whole = std::min(whole, static_cast<std::size_t>(limit_ - segments_));
    file_.write(std::as_bytes(std::span(pending_).first(whole * length)));
    segments_ += static_cast<std::int64_t>(whole);
    pending_.erase(pending_.begin(),
                   pending_.begin() + static_cast<std::ptrdiff_t>(whole * length));
    if (segments_ == limit_) {
      dropped_ += std::ssize(pending_);
      pending_.clear();
    }
  }

  void commit() { file_.commit(); }

  std::int64_t segments() const { return segments_; }
  std::int64_t dropped() const { return dropped_ + std::ssize(pending_); }

 private:
  AtomicFile file_;
  std::int64_t length_;
  std::int64_t limit_;  ///< segments; negative: none
  std::vector<TokenId> pending_;
  std::int64_t segments_ = 0;
  std::int64_t dropped_ = 0;
};

/// FNV-1a with a final mix: which side of the split a document is on.
bool is_held_out(std::string_view content, double share) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : content) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  hash ^= hash >> 32;
  hash *= 0xD6E8FEB86659FD93ULL;
  hash ^= hash >> 32;
  return static_cast<double>(hash >> 11) * 0x1p-53 < share;
}

class Preparer {
 public:
  Preparer(const text::Tokenizer& tokenizer, const DataOptions& options, SegmentWriter& train,
           SegmentWriter& held_out)
      : tokenizer_(tokenizer), options_(options), train_(train), held_out_(held_out) {}

  /// One document, or a piece of one: specials go to its first and last piece.
  void add_text(std::string_view content, bool first, bool last) {
    std::vector<TokenId> tokens = tokenizer_.encode(content, {.add_special = first});
    const TokenId eos = tokenizer_.eos();
    // A tokenizer that adds EOS by itself does so to every piece.
    if (first && !last && !tokens.empty() && tokens.back() == eos) tokens.pop_back();
    if (last && options_.end_documents && eos >= 0 && (tokens.empty() || tokens.back() != eos)) {
      tokens.push_back(eos);
    }
    add_tokens(tokens, content);
    documents_ += last ? 1 : 0;
  }

  void add_json_line(const std::string& line, const std::filesystem::path& path,
                     std::int64_t number) {
    const auto fail = [&](std::string_view found) {
      throw Error(
          ErrorCode::kCorrupt,
          fmt::format("{}: line {}: found {}, expected an object with \"text\" or \"tokens\"",
                      path.string(), number, found));
    };
    const nlohmann::json value = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (value.is_discarded()) fail("no valid JSON");
    if (!value.is_object()) fail(value.type_name());
    const auto text = value.find("text");
    const auto ids = value.find("tokens");
    const bool has_text = text != value.end();
    const bool has_ids = ids != value.end();
    if (!has_text && !has_ids) fail("neither");
    if (has_text && !text->is_string()) fail(fmt::format("\"text\" of type {}", text->type_name()));
    if (has_ids && !ids->is_array()) fail(fmt::format("\"tokens\" of type {}", ids->type_name()));
    std::vector<TokenId> tokens;
    for (const nlohmann::json& id : has_ids ? *ids : nlohmann::json::array()) {
      if (!id.is_number_integer()) fail(fmt::format("a token of type {}", id.type_name()));
      const auto token = id.get<std::int64_t>();
      const bool known = token >= 0 && token < tokenizer_.vocab_size();
      if (!known && !has_text) {
        throw Error(ErrorCode::kCorrupt,
                    fmt::format("{}: line {}: found token id {}, expected 0 to {}", path.string(),
                                number, token, tokenizer_.vocab_size() - 1));
      }
      if (known) tokens.push_back(static_cast<TokenId>(token));
    }
    if (!has_text) {
      add_document(tokens,
                   {reinterpret_cast<const char*>(tokens.data()), tokens.size() * sizeof(TokenId)});
      return;
    }
    const std::string& content = text->get_ref<const std::string&>();
    // Another tokenizer's tokens do not give this text.
    if (!tokens.empty() && tokens.size() == ids->size() && text_of(tokens) == content) {
      add_document(tokens, content);
    } else {
      add_text(content, true, true);
    }
  }

  std::int64_t documents() const { return documents_; }

 private:
  /// As `synth` writes it.
  std::string text_of(std::span<const TokenId> tokens) const {
    return text::replace_invalid_utf8(tokenizer_.decode(tokens, /*skip_special=*/true),
                                      text::kReplacement);
  }

  void add_document(std::span<const TokenId> tokens, std::string_view content) {
    add_tokens(tokens, content);
    ++documents_;
  }

  void add_tokens(std::span<const TokenId> tokens, std::string_view content) {
    (is_held_out(content, options_.held_out) ? held_out_ : train_).add(tokens);
  }

  const text::Tokenizer& tokenizer_;
  const DataOptions& options_;
  SegmentWriter& train_;
  SegmentWriter& held_out_;
  std::int64_t documents_ = 0;
};

/// How much of all files has been read, in their bytes on disk.
class FileProgress {
 public:
  FileProgress(Progress& progress, const std::stop_token& stop, std::uint64_t total)
      : progress_(progress), stop_(stop), total_(total) {}

  void update(const TextInput& input) {
    progress_.update(std::min(total_, before_ + input.consumed()), total_, "");
    if (stop_.stop_requested()) throw Error(ErrorCode::kInterrupted, "stopped while reading data");
  }
  void finish_file(const TextInput& input) { before_ += input.consumed(); }

 private:
  Progress& progress_;
  const std::stop_token& stop_;
  std::uint64_t total_;
  std::uint64_t before_ = 0;  ///< in files that have been read
};

void read_jsonl(TextInput& in, const std::filesystem::path& path, Preparer& preparer,
                FileProgress& progress) {
  std::string line;
  for (std::int64_t number = 1; std::getline(in.stream(), line); ++number) {
    progress.update(in);
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    preparer.add_json_line(line, path, number);
  }
}

/// Where to cut a block: after its last line end; else after its last whole character.
std::size_t cut_position(std::string_view block) {
  const std::size_t line_end = block.rfind('\n');
  if (line_end != std::string_view::npos) return line_end + 1;
  std::size_t end = block.size();
  while (end > 1 && (static_cast<unsigned char>(block[end - 1]) & 0xC0U) == 0x80U) --end;
  // block[end-1] begins a character that may be incomplete, or is ASCII.
  const bool ascii = (static_cast<unsigned char>(block[end - 1]) & 0x80U) == 0;
  if (ascii) return block.size() == end ? end : block.size();
  return end > 1 ? end - 1 : block.size();
}

void read_text(TextInput& in, Preparer& preparer, FileProgress& progress) {
  std::string block;
  bool first = true;
  for (;;) {
    const std::size_t old = block.size();
    block.resize(old + kTextBlock);
    in.stream().read(block.data() + old, static_cast<std::streamsize>(kTextBlock));
    const auto got = static_cast<std::size_t>(in.stream().gcount());
    block.resize(old + got);
    progress.update(in);
    const bool last = got < kTextBlock;
    if (last) {
      if (!block.empty() || !first) preparer.add_text(block, first, true);
      return;
    }
    const std::size_t cut = cut_position(block);
    preparer.add_text(std::string_view(block).substr(0, cut), first, false);
    block.erase(0, cut);
    first = false;
  }
}

}  // namespace

TokenSegments TokenSegments::open(const std::filesystem::path& path) {
  TokenSegments result;
  result.file_ = MappedFile::open(path);
  const std::span<const std::byte> bytes = result.file_.bytes();
  std::uint32_t version = 0;
  std::uint32_t length = 0;
  if (bytes.size() < kHeader || std::memcmp(bytes.data(), kMagic, sizeof kMagic) != 0) {
    throw Error(
        ErrorCode::kCorrupt,
        fmt::format("{}: found no token segments, expected the mark OBTOKENS", path.string()));
  }
  std::memcpy(&version, bytes.data() + 8, 4);
  std::memcpy(&length, bytes.data() + 12, 4);
  const std::size_t segment = sizeof(TokenId) * static_cast<std::size_t>(length);
  if (version != kVersion || length == 0 || (bytes.size() - kHeader) % segment != 0) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: found version {}, length {} and {} bytes, expected version {} and "
                            "whole segments",
                            path.string(), version, length, bytes.size(), kVersion));
  }
  result.tokens_ = reinterpret_cast<const TokenId*>(bytes.data() + kHeader);
  result.length_ = length;
  result.count_ = static_cast<std::int64_t>((bytes.size() - kHeader) / segment);
  return result;
}

std::span<const TokenId> TokenSegments::operator[](std::int64_t i) const {
  ONEBIT_CHECK(i >= 0 && i < count_);
  return {tokens_ + i * length_, static_cast<std::size_t>(length_)};
}

std::string TokenSegments::sha256() const {
  Sha256 hash;
  hash.update(file_.bytes());
  return hash.hex();
}

DataSummary prepare_data(const std::vector<std::filesystem::path>& files,
                         const text::Tokenizer& tokenizer, const DataOptions& options,
                         const std::filesystem::path& train_out,
                         const std::filesystem::path& held_out, Progress& progress,
                         const std::stop_token& stop) {
  if (options.length < 2 || options.length > (1 << 24)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("segment length: found {}, expected 2 to {}", options.length, 1 << 24));
  }
  if (!(options.held_out >= 0 && options.held_out < 1)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("held-out share: found {}, expected 0 to below 1", options.held_out));
  }
  std::uint64_t total = 0;
  for (const std::filesystem::path& path : files) {
    std::error_code error;
    const std::uintmax_t size = std::filesystem::file_size(path, error);
    if (error) {
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: {}, expected a file of text", path.string(), error.message()));
    }
    total += size;
  }
  SegmentWriter train(train_out, options.length, options.max_train);
  SegmentWriter other(held_out, options.length, options.max_held_out);
  Preparer preparer(tokenizer, options, train, other);
  FileProgress file_progress(progress, stop, total);
  for (const std::filesystem::path& path : files) {
    TextInput in(path);
    if (text_extension(path) == ".jsonl") {
      read_jsonl(in, path, preparer, file_progress);
    } else {
      read_text(in, preparer, file_progress);
    }
    file_progress.finish_file(in);
  }
  if (train.segments() == 0) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}{}: found {} tokens in {} documents, expected at least one "
                            "segment of {}",
                            files.front().string(), files.size() > 1 ? ", …" : "", train.dropped(),
                            preparer.documents(), options.length));
  }
  train.commit();
  other.commit();
  return {preparer.documents(), train.segments(), other.segments(),
          train.dropped() + other.dropped()};
}

SegmentOrder::SegmentOrder(std::int64_t count, std::uint64_t seed) : count_(count), seed_(seed) {
  ONEBIT_CHECK(count > 0);
}

std::int64_t SegmentOrder::at(std::int64_t sample) {
  ONEBIT_CHECK(sample >= 0);
  const std::int64_t epoch = sample / count_;
  if (epoch != epoch_) {
    permutation_.resize(static_cast<std::size_t>(count_));
    std::iota(permutation_.begin(), permutation_.end(), std::int64_t{0});
    Rng rng(seed_ ^ (0x9E3779B97F4A7C15ULL * (static_cast<std::uint64_t>(epoch) + 1)));
    for (std::size_t i = permutation_.size(); i > 1; --i) {
      std::swap(permutation_[i - 1], permutation_[rng.below(i)]);
    }
    epoch_ = epoch;
  }
  return permutation_[static_cast<std::size_t>(sample % count_)];
}

}  // namespace onebit::distill
