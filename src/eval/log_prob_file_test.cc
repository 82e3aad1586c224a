#include "eval/log_prob_file.h"

#include <cstring>
#include <filesystem>
#include <gmock/gmock.h>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/test_paths.h"

namespace onebit::eval {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using text::TokenId;

constexpr std::int64_t kVocab = 11;  // odd: rows end in a word of padding
const TeacherIdentity kTeacher = {"Teacher", "teacher.gguf", "0123456789abcdef"};

ScoredText text_of(std::int64_t tokens, const PerplexityOptions& options) {
  ScoredText text;
  for (std::int64_t i = 0; i < tokens; ++i)
    text.tokens.push_back(static_cast<TokenId>(i * 7 % kVocab));
  text.windows = cut_windows(tokens, options);
  for (const Window& window : text.windows) text.predictions += window.scored();
  return text;
}

/// Row i of every file here.
std::vector<float> logits_of(std::int64_t i) {
  Rng rng(static_cast<std::uint64_t>(i));
  std::vector<float> logits(kVocab);
  for (float& z : logits) z = static_cast<float>(rng.uniform() * 40);
  return logits;
}

std::vector<std::uint16_t> encoded(std::int64_t i, RowKind kind) {
  const auto logits = logits_of(i);
  std::vector<std::uint16_t> words(log_prob_row_words(kVocab));
  encode_log_probs(logits, log_sum_exp(logits), kind, words);
  return words;
}

void write(const std::filesystem::path& path, const ScoredText& text,
           const PerplexityOptions& options) {
  LogProbWriter file(path, text, options, kVocab, kTeacher, "onebit 0.0");
  for (std::int64_t i = 0; i < text.predictions; ++i) file.append(encoded(i, file.row_kind()));
  EXPECT_FALSE(std::filesystem::exists(path));  // not before it is whole
  file.commit();
}

std::string bytes_of(const std::filesystem::path& path) { return read_file(path); }

LogProbFile parse(const std::string& bytes) {
  return LogProbFile::parse(std::as_bytes(std::span(bytes)), "base");
}

std::string error_of(const std::string& bytes, ErrorCode code = ErrorCode::kCorrupt) {
  try {
    const LogProbFile file = parse(bytes);
    for (std::int64_t i = 0; i < file.rows(); ++i) file.row(i);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    return error.what();
  }
  return "no error";
}

std::string match_error(const LogProbFile& file, const ScoredText& text,
                        const PerplexityOptions& options, std::int64_t vocab = kVocab) {
  try {
    file.require(text, options, vocab);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    return error.what();
  }
  return "no error";
}

std::string int_bytes(std::int32_t value) {
  std::string bytes(sizeof(value), '\0');
  std::memcpy(bytes.data(), &value, sizeof(value));
  return bytes;
}

const PerplexityOptions kPaper = {.window = 6};
const PerplexityOptions kStride = {.window = 6, .stride = 4};
const PerplexityOptions kLlamaCpp = {.window = 6, .protocol = Protocol::kLlamaCpp};

TEST(LogProbFile, ReturnsWhatWasWritten) {
  testing::TempDir dir;
  for (const PerplexityOptions& options : {kPaper, kStride, kLlamaCpp}) {
    const ScoredText text = text_of(20, options);
    const auto path = dir / "base.kld";
    std::filesystem::remove(path);
    write(path, text, options);
    const LogProbFile file = LogProbFile::open(path);
    EXPECT_EQ(file.rows(), text.predictions);
    EXPECT_EQ(file.vocab(), kVocab);
    EXPECT_EQ(file.teacher(), kTeacher);
    for (std::int64_t i = 0; i < file.rows(); ++i) {
      const RowKind kind =
          options.protocol == Protocol::kLlamaCpp ? RowKind::kLlamaCpp : RowKind::kWhole;
      const auto words = encoded(i, kind);
      const LogProbRow expected = decode_log_probs(words, kVocab, kind);
      const LogProbRow row = file.row(i);
      EXPECT_EQ(row.kind, kind);
      EXPECT_EQ(row.scale, expected.scale);
      EXPECT_EQ(row.least, expected.least);
      EXPECT_TRUE(std::equal(row.codes.begin(), row.codes.end(), expected.codes.begin()));
      file.release(i, 1);
    }
    EXPECT_EQ(match_error(file, text, options), "no error");
  }
}

/// Byte for byte what tools/perplexity of llama.cpp writes and reads, up to the object behind it.
TEST(LogProbFile, LayoutIsLlamaCpps) {
  testing::TempDir dir;
  const ScoredText text = text_of(20, kLlamaCpp);
  write(dir / "base.kld", text, kLlamaCpp);
  std::string expected = "_logits_" + int_bytes(6) + int_bytes(kVocab) + int_bytes(3);
  for (int i = 0; i < 18; ++i) expected += int_bytes(text.tokens[static_cast<std::size_t>(i)]);
  for (std::int64_t i = 0; i < 6; ++i) {
    const auto words = encoded(i, RowKind::kLlamaCpp);
    EXPECT_EQ(words.size(), 4U + 12U);
    expected.append(reinterpret_cast<const char*>(words.data()), words.size() * 2);
  }
  const std::string bytes = bytes_of(dir / "base.kld");
  EXPECT_EQ(bytes.substr(0, expected.size()), expected);
  EXPECT_THAT(bytes.substr(expected.size()), HasSubstr("\"sha256\":\"0123456789abcdef\""));
  // Theirs ends there.
  const LogProbFile theirs = parse(expected);
  EXPECT_EQ(theirs.rows(), 6);
  EXPECT_FALSE(theirs.teacher());
}

TEST(LogProbFile, BeginningOfALongerFile) {
  testing::TempDir dir;
  for (PerplexityOptions options : {kPaper, kStride, kLlamaCpp}) {
    const auto path = dir / "base.kld";
    std::filesystem::remove(path);
    write(path, text_of(40, options), options);
    const LogProbFile file = LogProbFile::open(path);
    options.max_windows = 2;
    EXPECT_EQ(match_error(file, text_of(40, options), options), "no error");
    EXPECT_EQ(match_error(file, text_of(20, options), options), "no error");
  }
}

TEST(LogProbFile, SaysWhatDiffers) {
  testing::TempDir dir;
  write(dir / "base.kld", text_of(20, kPaper), kPaper);
  const LogProbFile file = LogProbFile::open(dir / "base.kld");
  const std::string name = (dir / "base.kld").string();
  EXPECT_THAT(match_error(file, text_of(20, kLlamaCpp), kLlamaCpp),
              AllOf(HasSubstr(name), HasSubstr("protocol paper, expected llama.cpp")));
  const PerplexityOptions wider = {.window = 7};
  EXPECT_THAT(match_error(file, text_of(20, wider), wider),
              HasSubstr("windows of 6 tokens, expected 7"));
  EXPECT_THAT(match_error(file, text_of(20, kStride), kStride),
              HasSubstr("without a stride, expected some of the stride 4"));
  EXPECT_THAT(match_error(file, text_of(20, kPaper), kPaper, 12),
              HasSubstr("expected the model's 12"));
  EXPECT_THAT(match_error(file, text_of(24, kPaper), kPaper),
              HasSubstr("3 windows, expected 4 or more"));
  ScoredText other = text_of(20, kPaper);
  other.tokens[13] = 5;
  EXPECT_THAT(match_error(file, other, kPaper), AllOf(HasSubstr("token 13: found 3, expected 5")));
  other = text_of(20, kPaper);
  other.tokens[19] = 5;  // of no window
  EXPECT_EQ(match_error(file, other, kPaper), "no error");
}

TEST(LogProbFile, CutOffOrTooLong) {
  testing::TempDir dir;
  for (const PerplexityOptions& options : {kPaper, kStride, kLlamaCpp}) {
    const auto path = dir / "base.kld";
    std::filesystem::remove(path);
    write(path, text_of(20, options), options);
    const std::string bytes = bytes_of(path);
    const bool theirs = options.protocol == Protocol::kLlamaCpp;
    const std::size_t end = theirs ? bytes.rfind("{\"format\"") : bytes.size();
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      if (size == end) continue;  // llama.cpp's own
      const std::string message = error_of(bytes.substr(0, size));
      EXPECT_THAT(message, HasSubstr("base: ")) << size;
      if (size < end) {
        EXPECT_THAT(message, HasSubstr("cut off")) << size;
      }
    }
    EXPECT_THAT(error_of(bytes + "x"),
                HasSubstr(theirs ? "found no JSON object" : "found 1 bytes after its rows"));
  }
}

TEST(LogProbFile, OtherFiles) {
  EXPECT_THAT(error_of("GGUF....and more"), HasSubstr("found no log-probabilities"));
  const std::string magic = "1bit-kl\n";
  const auto with = [&](std::string object) {
    object.resize((object.size() + 3) / 4 * 4, ' ');
    return magic + int_bytes(static_cast<std::int32_t>(object.size())) + object;
  };
  EXPECT_THAT(error_of(magic + int_bytes(-4)), HasSubstr("found -4, expected at least 2"));
  EXPECT_THAT(error_of(magic + int_bytes(3) + "{} "), HasSubstr("multiple of 4"));
  EXPECT_THAT(error_of(with("[1]")), HasSubstr("found no JSON object"));
  EXPECT_THAT(error_of(with("{}")), HasSubstr("\"format\""));
  EXPECT_THAT(error_of(with(R"({"format":2})"), ErrorCode::kUnsupported),
              HasSubstr("found format 2, expected 1"));
  const auto fields = [&](std::string_view protocol, std::int64_t window, std::int64_t stride,
                          std::int64_t windows, std::int64_t tokens) {
    return with(R"({"format":1,"protocol":")" + std::string(protocol) + R"(","window":)" +
                std::to_string(window) + R"(,"stride":)" + std::to_string(stride) +
                R"(,"windows":)" + std::to_string(windows) + R"(,"vocabulary":11,"tokens":)" +
                std::to_string(tokens) + R"(,"teacher":{"name":"n","path":"p","sha256":"s"}})");
  };
  EXPECT_THAT(error_of(fields("other", 6, 0, 1, 6)), HasSubstr("found 'other', expected paper"));
  EXPECT_THAT(error_of(fields("paper", 0, 0, 1, 6)), HasSubstr("\"window\": found 0"));
  EXPECT_THAT(error_of(fields("paper", 6, 0, 1, -6)), HasSubstr("\"tokens\": found -6"));
  EXPECT_THAT(error_of(fields("paper", 6, 0, 1, 2'000'000'000)), HasSubstr("cut off"));
  const std::string tokens(24, '\0');
  EXPECT_THAT(error_of(fields("paper", 6, 0, 2, 6) + tokens),
              HasSubstr("\"windows\": found 2, expected at most 1"));
  EXPECT_THAT(error_of(fields("paper", 6, 7, 1, 6) + tokens), HasSubstr("stride: found 7"));
  EXPECT_THAT(error_of(fields("paper", 6, -1, 1, 6) + tokens), HasSubstr("stride: found -1"));
  EXPECT_THAT(error_of(fields("paper", 6, 0, 1, 6) + tokens), HasSubstr("5 rows of 32 bytes"));
  // Sizes whose product does not fit.
  const std::string huge = int_bytes(INT32_MAX);
  EXPECT_THAT(error_of("_logits_" + huge + huge + huge), HasSubstr("cut off"));
  EXPECT_THAT(error_of("_logits_" + int_bytes(2) + huge + huge), HasSubstr("window: found 2"));
}

TEST(LogProbFile, ARowThatCannotBeOne) {
  testing::TempDir dir;
  const ScoredText text = text_of(20, kLlamaCpp);
  write(dir / "base.kld", text, kLlamaCpp);
  std::string bytes = bytes_of(dir / "base.kld");
  const std::size_t row = 20 + 18 * 4 + 3 * 32;  // row 3's scale
  bytes[row + 3] = '\x7F';
  EXPECT_THAT(error_of(bytes), AllOf(HasSubstr("base: row 3: found scale"), HasSubstr("minimum")));
}

TEST(LogProbFile, WantsRoomOnTheDisk) {
  testing::TempDir dir;
  ScoredText text = text_of(20, kPaper);
  text.predictions = std::int64_t{1} << 55;
  try {
    const LogProbWriter file(dir / "base.kld", text, kPaper, kVocab, kTeacher, "");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResource);
    EXPECT_THAT(error.what(), AllOf(HasSubstr((dir / "base.kld").string()), HasSubstr("free")));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

TEST(LogProbFile, AnUnfinishedFileLeavesNothing) {
  testing::TempDir dir;
  const ScoredText text = text_of(20, kPaper);
  {
    LogProbWriter file(dir / "base.kld", text, kPaper, kVocab, kTeacher, "");
    file.append(encoded(0, RowKind::kWhole));
  }
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
}

}  // namespace
}  // namespace onebit::eval
