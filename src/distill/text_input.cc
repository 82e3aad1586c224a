#include "distill/text_input.h"

#include <algorithm>
#include <archive.h>
#include <archive_entry.h>
#include <array>
#include <cerrno>
#include <fmt/format.h>
#include <streambuf>
#include <vector>

#include "base/error.h"

namespace onebit::distill {
namespace {

/// Of the file and of the text: large enough that calls cost nothing.
constexpr std::size_t kBlock = std::size_t{1} << 16;

constexpr std::array<const char*, 4> kCompressed = {".gz", ".xz", ".zst", ".bz2"};

struct Free {
  void operator()(archive* a) const noexcept { archive_read_free(a); }
};

}  // namespace

class TextInput::Buffer final : public std::streambuf {
 public:
  explicit Buffer(const std::filesystem::path& path)
      : path_(path), archive_(archive_read_new()), block_(kBlock) {
    if (!archive_) throw Error(ErrorCode::kResource, "cannot allocate memory to read a file");
    archive* a = archive_.get();
    archive_read_support_filter_gzip(a);
    archive_read_support_filter_xz(a);
    archive_read_support_filter_zstd(a);
    archive_read_support_filter_bzip2(a);
    archive_read_support_format_raw(a);
    archive_read_support_format_empty(a);
    std::error_code error;
    if (!std::filesystem::exists(path, error)) {
      fail(ErrorCode::kNotFound, error ? error.message() : "no such file");
    }
    if (archive_read_open_filename(a, path.c_str(), kBlock) != ARCHIVE_OK) fail_with_reason();
    archive_entry* entry = nullptr;
    const int result = archive_read_next_header(a, &entry);
    if (result == ARCHIVE_EOF) {
      ended_ = true;
    } else if (result != ARCHIVE_OK) {
      fail_with_reason();
    }
  }

  std::uint64_t consumed() const {
    return static_cast<std::uint64_t>(
        std::max<la_int64_t>(0, archive_filter_bytes(archive_.get(), -1)));
  }

 protected:
  int_type underflow() override {
    if (ended_) return traits_type::eof();
    const la_ssize_t got = archive_read_data(archive_.get(), block_.data(), block_.size());
    if (got < 0) fail_with_reason();
    ended_ = got == 0;
    if (ended_) return traits_type::eof();
    setg(block_.data(), block_.data(), block_.data() + got);
    return traits_type::to_int_type(*gptr());
  }

 private:
  [[noreturn]] void fail(ErrorCode code, const std::string& what) const {
    throw Error(code, fmt::format("{}: {}", path_.string(), what));
  }

  /// libarchive's own reasons are the content's: EILSEQ for a wrong format, -1 for anything else.
  [[noreturn]] void fail_with_reason() const {
    archive* a = archive_.get();
    const int number = archive_errno(a);
    const char* reason = archive_error_string(a);
    const bool content = number <= 0 || number == EILSEQ;
    fail(content ? ErrorCode::kCorrupt : ErrorCode::kIo,
         fmt::format("cannot read the file: {}", reason != nullptr ? reason : "unknown error"));
  }

  std::filesystem::path path_;
  std::unique_ptr<archive, Free> archive_;
  std::vector<char> block_;
  bool ended_ = false;
};

TextInput::TextInput(const std::filesystem::path& path)
    : buffer_(std::make_unique<Buffer>(path)), stream_(buffer_.get()) {
  stream_.exceptions(std::ios::badbit);  // what the buffer throws reaches the reader
}

TextInput::~TextInput() = default;

std::istream& TextInput::stream() noexcept { return stream_; }

std::uint64_t TextInput::consumed() const { return buffer_->consumed(); }

std::string text_extension(const std::filesystem::path& path) {
  const std::string last = path.extension().string();
  const bool compressed =
      std::find(kCompressed.begin(), kCompressed.end(), last) != kCompressed.end();
  return compressed ? path.stem().extension().string() : last;
}

}  // namespace onebit::distill
