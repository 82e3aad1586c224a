// Text to training data: documents are tokenised, packed end to end and cut into segments of one
// fixed length, in a file that is mapped, not loaded. Memory stays bounded whatever the corpus.
//
//   segments file = "OBTOKENS"  u32 version (1)  u32 length  48 zero bytes  i32 token*
//   (little endian; 64 bytes, then whole segments)
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <stop_token>
#include <string>
#include <vector>

#include "base/mapped_file.h"
#include "base/progress.h"
#include "text/tokenizer.h"

namespace onebit::distill {

class TokenSegments {
 public:
  /// Throws Error{kNotFound, kIo}; Error{kCorrupt} when the file is none of ours or torn.
  static TokenSegments open(const std::filesystem::path& path);

  std::int64_t size() const noexcept { return count_; }
  std::int64_t length() const noexcept { return length_; }
  std::span<const text::TokenId> operator[](std::int64_t i) const;

  /// Of the whole file: two runs with the same digest see the same data.
  std::string sha256() const;

 private:
  MappedFile file_;
  const text::TokenId* tokens_ = nullptr;
  std::int64_t count_ = 0;
  std::int64_t length_ = 0;
};

struct DataOptions {
  std::int64_t length = 2048;      ///< tokens of a segment
  double held_out = 0.005;         ///< share of documents, chosen by the hash of their content
  std::int64_t max_train = -1;     ///< training segments kept; -1: all
  std::int64_t max_held_out = 64;  ///< held-out segments kept; what is beyond is dropped
  bool end_documents = true;       ///< EOS after each document, as the reference packs
};

struct DataSummary {
  std::int64_t documents = 0;
  std::int64_t train_segments = 0;
  std::int64_t held_out_segments = 0;
  std::int64_t dropped_tokens = 0;  ///< remainders, and text beyond the largest numbers
};

/// Reads `files` in order, plain or compressed (text_input.h), and writes two segment files, each
/// whole or not at all. A name that ends in .jsonl (.jsonl.gz, …) is one object a line with "text",
/// or with "tokens" taken as they are, or with both, as `synth` writes: then the tokens if they are
/// this tokenizer's (if they decode to the text). Blank lines are skipped. Any other file is plain
/// text: one document, split for hashing at line ends every kTextBlock bytes or so. A document's
/// share of `held_out` depends on its content only, so the split is the same whatever stands beside
/// it. Throws Error{kCorrupt} naming file and line, Error{kInvalidArgument} when there is not one
/// whole training segment, Error{kInterrupted}.
DataSummary prepare_data(const std::vector<std::filesystem::path>& files,
                         const text::Tokenizer& tokenizer, const DataOptions& options,
                         const std::filesystem::path& train_out,
                         const std::filesystem::path& held_out, Progress& progress,
                         const std::stop_token& stop);

/// Plain text is read in pieces of this size: bounds memory, and is the unit of the held-out split.
inline constexpr std::size_t kTextBlock = std::size_t{1} << 15;

/// The order in which segments are trained on: every epoch is a new permutation of all of them,
/// a function of seed and epoch alone.
class SegmentOrder {
 public:
  SegmentOrder(std::int64_t count, std::uint64_t seed);

  /// The segment that sample number `sample` (0, 1, … over the whole run) is.
  std::int64_t at(std::int64_t sample);

 private:
  std::int64_t count_;
  std::uint64_t seed_;
  std::int64_t epoch_ = -1;
  std::vector<std::int64_t> permutation_;
};

}  // namespace onebit::distill
