// A teacher's log-probabilities in a file, so that its divergence from many models takes one run of
// it.
//
// Of the protocol llama.cpp the file is what `llama-perplexity --kl-divergence-base` writes and
// reads:
//
//   "_logits_", i32 window c, i32 vocabulary V, i32 windows n, i32 tokens[n c],
//   rows of log_prob_row.h, c - 1 - c/2 a window, in order
//
// and, of ours, a JSON object up to the file's end, which llama.cpp does not read: it says whose
// the rows are. Of the protocol paper, with a stride or without, which scores other positions, it
// is
//
//   "1bit-kl\n", u32 bytes of a JSON object, the object with spaces to a multiple of 4, i32
//   tokens[T], rows, one a scored position, in order
//
// All is little endian; docs/formats.md describes the object.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/mapped_file.h"
#include "eval/log_prob_row.h"
#include "eval/windows.h"

namespace onebit::eval {

/// Who made the rows; llama.cpp does not say.
struct TeacherIdentity {
  std::string name;
  std::string path;    ///< as it was given
  std::string sha256;  ///< of its weight file or files

  bool operator==(const TeacherIdentity&) const = default;
};

class LogProbWriter {
 public:
  /// Creates the file, which appears at commit(). `options` are those that cut `text`'s windows;
  /// `program` is kept for people. Throws Error{kResource} when the disk has less room than
  /// bytes(), Error{kIo}.
  LogProbWriter(const std::filesystem::path& path, const ScoredText& text,
                const PerplexityOptions& options, std::int64_t vocab,
                const TeacherIdentity& teacher, const std::string& program);

  RowKind row_kind() const noexcept { return kind_; }

  /// Bytes of rows and tokens.
  static std::uint64_t bytes(const ScoredText& text, std::int64_t vocab);

  /// Appends encoded rows: whole ones, in order. Throws Error{kIo}.
  void append(std::span<const std::uint16_t> rows);

  /// After the last row. Throws Error{kIo}.
  void commit();

 private:
  AtomicFile file_;
  RowKind kind_;
  std::string trailer_;
};

class LogProbFile {
 public:
  /// Throws Error{kNotFound, kIo}; Error{kCorrupt} for what is no such file, is cut off or too
  /// long; Error{kUnsupported} for one of a later program.
  static LogProbFile open(const std::filesystem::path& path);

  /// From memory (fuzzing); `bytes`, aligned to 4, must outlive the object. Throws as open.
  static LogProbFile parse(std::span<const std::byte> bytes, const std::string& name);

  /// Throws Error{kInvalidArgument} that says what differs unless the rows are those of `text`'s
  /// windows as `options` cut them, or begin with them, for a model of `vocab` tokens.
  void require(const ScoredText& text, const PerplexityOptions& options, std::int64_t vocab) const;

  const std::optional<TeacherIdentity>& teacher() const noexcept { return teacher_; }
  std::int64_t rows() const noexcept { return rows_; }
  std::int64_t vocab() const noexcept { return vocab_; }

  /// Row 0 <= i < rows(), a view of the file. Throws Error{kCorrupt} naming the row when it cannot
  /// be one.
  LogProbRow row(std::int64_t i) const;

  /// Tells the system that rows [begin, begin + count) are done with.
  void release(std::int64_t begin, std::int64_t count) const noexcept;

 private:
  class Parser;
  LogProbFile() = default;

  [[noreturn]] void fail_match(const std::string& message) const;
  std::size_t row_bytes() const noexcept { return 2 * log_prob_row_words(vocab_); }

  std::string name_;
  MappedFile file_;
  PerplexityOptions options_;  ///< that its windows were cut by
  std::int64_t vocab_ = 0;
  std::int64_t windows_ = 0;
  std::int64_t rows_ = 0;
  std::span<const text::TokenId> tokens_;
  std::span<const std::byte> bytes_;  ///< the whole file
  std::size_t rows_offset_ = 0;
  std::optional<TeacherIdentity> teacher_;
};

}  // namespace onebit::eval
