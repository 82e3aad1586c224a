#include "eval/log_prob_file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <system_error>
#include <utility>

#include "base/checked.h"
#include "base/error.h"

namespace onebit::eval {
namespace {

static_assert(std::endian::native == std::endian::little, "the files are little endian");

using Json = nlohmann::ordered_json;

constexpr std::string_view kLlamaCppMagic = "_logits_";
constexpr std::string_view kOurMagic = "1bit-kl\n";
constexpr std::size_t kMagicBytes = 8;
constexpr std::int64_t kFormat = 1;

RowKind kind_of(Protocol protocol) noexcept {
  return protocol == Protocol::kLlamaCpp ? RowKind::kLlamaCpp : RowKind::kWhole;
}

std::string describe(const ScoredText& text, const PerplexityOptions& options, std::int64_t vocab,
                     const TeacherIdentity& teacher, const std::string& program) {
  const Json object = {
      {"format", kFormat},
      {"program", program},
      {"protocol", word_of(options.protocol)},
      {"window", options.window},
      {"stride", options.stride},
      {"windows", text.windows.size()},
      {"vocabulary", vocab},
      {"tokens", text.tokens.size()},
      {"teacher", {{"name", teacher.name}, {"path", teacher.path}, {"sha256", teacher.sha256}}}};
  return object.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void write_int(AtomicFile& file, std::int64_t value) {
  const auto word = static_cast<std::int32_t>(value);
  file.write(std::as_bytes(std::span(&word, 1)));
}

/// The tokens that the file keeps: those of whole windows, as llama.cpp does, or all.
std::span<const text::TokenId> kept_tokens(const ScoredText& text, Protocol protocol) {
  const std::span<const text::TokenId> all = text.tokens;
  if (protocol != Protocol::kLlamaCpp) return all;
  const Window& last = text.windows.back();
  return all.first(static_cast<std::size_t>(last.begin + last.size));
}

std::filesystem::path folder_of(const std::filesystem::path& path) {
  return path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
}

void require_space(const std::filesystem::path& path, std::uint64_t needed) {
  std::error_code error;
  const std::filesystem::space_info space = std::filesystem::space(folder_of(path), error);
  if (error || space.available >= needed) return;  // what cannot be asked shows when it is written
  throw Error(ErrorCode::kResource,
              fmt::format("{}: found {} bytes free on its disk, expected {} for the teacher's "
                          "log-probabilities",
                          path.string(), space.available, needed));
}

}  // namespace

std::uint64_t LogProbWriter::bytes(const ScoredText& text, std::int64_t vocab) {
  return static_cast<std::uint64_t>(text.predictions) * 2 * log_prob_row_words(vocab) +
         text.tokens.size() * sizeof(text::TokenId);
}

LogProbWriter::LogProbWriter(const std::filesystem::path& path, const ScoredText& text,
                             const PerplexityOptions& options, std::int64_t vocab,
                             const TeacherIdentity& teacher, const std::string& program)
    : file_(path), kind_(kind_of(options.protocol)) {
  require_space(path, bytes(text, vocab));
  std::string object = describe(text, options, vocab, teacher, program);
  if (options.protocol == Protocol::kLlamaCpp) {
    file_.write(kLlamaCppMagic);
    write_int(file_, options.window);
    write_int(file_, vocab);
    write_int(file_, static_cast<std::int64_t>(text.windows.size()));
    trailer_ = std::move(object);
  } else {
    object.resize((object.size() + 3) / 4 * 4, ' ');
    file_.write(kOurMagic);
    write_int(file_, static_cast<std::int64_t>(object.size()));
    file_.write(object);
  }
  file_.write(std::as_bytes(kept_tokens(text, options.protocol)));
}

void LogProbWriter::append(std::span<const std::uint16_t> rows) {
  file_.write(std::as_bytes(rows));
}

void LogProbWriter::commit() {
  file_.write(trailer_);
  file_.commit();
}

/// Takes a file apart from its beginning; whatever it says is checked before it is used.
class LogProbFile::Parser {
 public:
  Parser(LogProbFile& file, std::span<const std::byte> bytes) : file_(file), rest_(bytes) {
    file_.bytes_ = bytes;
  }

  void run() {
    const std::span<const std::byte> magic = take(kMagicBytes, "8 bytes that tell its kind");
    const std::string_view kind(reinterpret_cast<const char*>(magic.data()), magic.size());
    if (kind == kLlamaCppMagic) {
      read_llama_cpp();
    } else if (kind == kOurMagic) {
      read_ours();
    } else {
      fail(
          "found no log-probabilities, expected a file of --kl-base or of llama.cpp's "
          "--kl-divergence-base");
    }
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}", file_.name_, what));
  }

  std::span<const std::byte> take(std::uint64_t size, std::string_view what) {
    if (size > rest_.size()) {
      fail(fmt::format("found {} bytes, expected {} after byte {}: it is cut off",
                       file_.bytes_.size(), what, file_.bytes_.size() - rest_.size()));
    }
    const auto taken = rest_.first(static_cast<std::size_t>(size));
    rest_ = rest_.subspan(static_cast<std::size_t>(size));
    return taken;
  }

  std::int64_t take_int(std::string_view what, std::int64_t low) {
    std::int32_t value = 0;
    std::memcpy(&value, take(sizeof(value), what).data(), sizeof(value));
    if (value < low) fail(fmt::format("{}: found {}, expected at least {}", what, value, low));
    return value;
  }

  void take_tokens(std::int64_t count) {
    const auto size = checked_mul(static_cast<std::uint64_t>(count), sizeof(text::TokenId));
    const auto bytes = take(size.value_or(UINT64_MAX), fmt::format("{} tokens", count));
    file_.tokens_ = {reinterpret_cast<const text::TokenId*>(bytes.data()),
                     static_cast<std::size_t>(count)};
  }

  void take_rows() {
    file_.rows_offset_ = file_.bytes_.size() - rest_.size();
    const auto size = checked_mul(static_cast<std::uint64_t>(file_.rows_), file_.row_bytes());
    take(size.value_or(UINT64_MAX),
         fmt::format("{} rows of {} bytes", file_.rows_, file_.row_bytes()));
  }

  void read_llama_cpp() {
    file_.options_.protocol = Protocol::kLlamaCpp;
    file_.options_.window = take_int("window", 3);
    file_.vocab_ = take_int("vocabulary", 1);
    file_.windows_ = take_int("windows", 1);
    take_tokens(file_.options_.window * file_.windows_);
    file_.rows_ = file_.windows_ * (file_.options_.window - 1 - file_.options_.window / 2);
    take_rows();
    if (!rest_.empty()) read_teacher(parse_object(rest_, "what follows the rows"));
  }

  void read_ours() {
    const std::int64_t size = take_int("the object's bytes", 2);
    if (size % 4 != 0)
      fail(fmt::format("found an object of {} bytes, expected a multiple of 4", size));
    const Json object = parse_object(take(static_cast<std::uint64_t>(size), "a JSON object"),
                                     "what follows byte 12");
    const auto protocol = value_of<Protocol>(string_in(object, "protocol"));
    if (!protocol || *protocol == Protocol::kLlamaCpp) {
      fail(fmt::format("\"protocol\": found '{}', expected paper", string_in(object, "protocol")));
    }
    file_.options_.protocol = *protocol;
    file_.options_.window = count_in(object, "window");
    file_.options_.stride = int_in(object, "stride");
    file_.vocab_ = count_in(object, "vocabulary");
    file_.windows_ = count_in(object, "windows");
    const std::int64_t tokens = count_in(object, "tokens");
    read_teacher(object);
    take_tokens(tokens);
    count_rows(tokens);
    take_rows();
    if (!rest_.empty())
      fail(fmt::format("found {} bytes after its rows, expected none", rest_.size()));
  }

  /// Those of the windows that its own description gives.
  void count_rows(std::int64_t tokens) {
    PerplexityOptions options = file_.options_;
    options.max_windows = file_.windows_;
    std::vector<Window> windows;
    try {
      windows = cut_windows(tokens, options);
    } catch (const Error& error) {
      fail(error.what());
    }
    if (static_cast<std::int64_t>(windows.size()) != file_.windows_) {
      fail(fmt::format("\"windows\": found {}, expected at most {} of {} tokens", file_.windows_,
                       windows.size(), tokens));
    }
    for (const Window& window : windows) file_.rows_ += window.scored();
  }

  Json parse_object(std::span<const std::byte> bytes, std::string_view where) const {
    const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    Json object = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!object.is_object()) fail(fmt::format("{}: found no JSON object, expected one", where));
    const std::int64_t format = int_in(object, "format");
    if (format != kFormat) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("{}: found format {}, expected {}", file_.name_, format, kFormat));
    }
    return object;
  }

  void read_teacher(const Json& object) {
    const auto teacher = object.find("teacher");
    if (teacher == object.end() || !teacher->is_object()) {
      fail("\"teacher\": found no object, expected one");
    }
    file_.teacher_ = {string_in(*teacher, "name"), string_in(*teacher, "path"),
                      string_in(*teacher, "sha256")};
  }

  std::int64_t int_in(const Json& object, const char* key) const {
    const auto value = object.find(key);
    if (value == object.end() || !value->is_number_integer()) {
      fail(fmt::format("\"{}\": found no whole number, expected one", key));
    }
    return value->get<std::int64_t>();
  }

  std::int64_t count_in(const Json& object, const char* key) const {
    const std::int64_t value = int_in(object, key);
    if (value < 1 || value > INT32_MAX) {
      fail(fmt::format("\"{}\": found {}, expected 1 to {}", key, value, INT32_MAX));
    }
    return value;
  }

  std::string string_in(const Json& object, const char* key) const {
    const auto value = object.find(key);
    if (value == object.end() || !value->is_string()) {
      fail(fmt::format("\"{}\": found no text, expected one", key));
    }
    return value->get<std::string>();
  }

  LogProbFile& file_;
  std::span<const std::byte> rest_;
};

LogProbFile LogProbFile::open(const std::filesystem::path& path) {
  LogProbFile file;
  file.file_ = MappedFile::open(path);
  file.name_ = path.string();
  Parser(file, file.file_.bytes()).run();
  return file;
}

LogProbFile LogProbFile::parse(std::span<const std::byte> bytes, const std::string& name) {
  LogProbFile file;
  file.name_ = name;
  Parser(file, bytes).run();
  return file;
}

void LogProbFile::fail_match(const std::string& message) const {
  throw Error(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name_, message));
}

void LogProbFile::require(const ScoredText& text, const PerplexityOptions& options,
                          std::int64_t vocab) const {
  if (options_.protocol != options.protocol) {
    fail_match(fmt::format("found log-probabilities of the protocol {}, expected {}",
                           word_of(options_.protocol), word_of(options.protocol)));
  }
  if (options_.window != options.window) {
    fail_match(fmt::format("found log-probabilities of windows of {} tokens, expected {}",
                           options_.window, options.window));
  }
  if (options_.stride != options.stride) {
    auto named = [](std::int64_t stride) {
      return stride == 0 ? std::string("without a stride")
                         : fmt::format("of the stride {}", stride);
    };
    fail_match(fmt::format("found log-probabilities {}, expected some {}", named(options_.stride),
                           named(options.stride)));
  }
  if (vocab_ != vocab) {
    fail_match(fmt::format("found log-probabilities of {} tokens, expected the model's {}", vocab_,
                           vocab));
  }
  const auto windows = static_cast<std::int64_t>(text.windows.size());
  if (windows_ < windows) {
    fail_match(fmt::format("found log-probabilities of {} windows, expected {} or more", windows_,
                           windows));
  }
  const Window& last = text.windows.back();
  const auto needed =
      std::span(text.tokens).first(static_cast<std::size_t>(last.begin + last.size));
  const auto common = tokens_.first(std::min(tokens_.size(), needed.size()));
  const auto differs = std::mismatch(needed.begin(), needed.end(), common.begin(), common.end());
  if (differs.first != needed.end()) {
    const auto at = differs.first - needed.begin();
    fail_match(
        fmt::format("token {}: found {}, expected {}: the file is of another text or tokenizer", at,
                    differs.second == common.end() ? "none" : fmt::format("{}", *differs.second),
                    *differs.first));
  }
}

LogProbRow LogProbFile::row(std::int64_t i) const {
  const std::size_t words = log_prob_row_words(vocab_);
  const std::byte* begin = bytes_.data() + rows_offset_ + static_cast<std::size_t>(i) * row_bytes();
  const LogProbRow row = decode_log_probs({reinterpret_cast<const std::uint16_t*>(begin), words},
                                          vocab_, kind_of(options_.protocol));
  if (!plausible(row)) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: row {}: found scale {:g} and minimum {:g}, expected those of "
                            "log-probabilities",
                            name_, i, row.scale, row.least));
  }
  return row;
}

void LogProbFile::release(std::int64_t begin, std::int64_t count) const noexcept {
  file_.release(rows_offset_ + static_cast<std::size_t>(begin) * row_bytes(),
                static_cast<std::size_t>(count) * row_bytes());
}

}  // namespace onebit::eval
