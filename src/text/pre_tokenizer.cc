// Pre-tokenizers on PCRE2. The expressions are those of the models' own tokenizer.json files and of
// llama.cpp's table of names.
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <fmt/format.h>
#include <initializer_list>
#include <limits>
#include <pcre2.h>

#include "base/check.h"
#include "base/error.h"
#include "text/quote.h"
#include "text/unicode.h"

namespace onebit::text {

const char* const kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

namespace {

constexpr const char* kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr const char* kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr const char* kTekkenRegex =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|)"
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|)"
    R"(\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

struct NamedSpec {
  const char* name;
  std::initializer_list<const char*> regexes;
  bool ignore_merges = false;
};

// Of several names with one definition, the first is the one that is written.
const NamedSpec kNamed[] = {
    {"smollm", {R"(\p{N})", kGpt2Regex}},
    {"starcoder", {R"(\p{N})", kGpt2Regex}},
    {"refact", {R"(\p{N})", kGpt2Regex}},
    {"command-r", {R"(\p{N})", kGpt2Regex}},
    {"codeshell", {R"(\p{N})", kGpt2Regex}},
    {"exaone", {R"(\p{N})", kGpt2Regex}},
    {"minerva-7b", {R"(\p{N})", kGpt2Regex}},
    {"gpt-2", {kGpt2Regex}},
    {"olmo", {kGpt2Regex}},
    {"mpt", {kGpt2Regex}},
    {"phi-2", {kGpt2Regex}},
    {"roberta-bpe", {kGpt2Regex}},
    {"jais", {kGpt2Regex}},
    {"llama-bpe", {kLlama3Regex}, true},
    {"llama3", {kLlama3Regex}, true},
    {"llama-v3", {kLlama3Regex}, true},
    {"falcon3", {kLlama3Regex}, true},
    {"dbrx", {kLlama3Regex}},
    {"smaug-bpe", {kLlama3Regex}},
    {"qwen2", {kQwen2Regex}},
    {"stablelm2", {kQwen2Regex}},
    {"megrez", {kQwen2Regex}},
    {"tekken", {kTekkenRegex}, true},
    {"falcon", {R"([\p{P}\$\+<=>\^~\|`]+)", kGpt2Regex, "[0-9][0-9][0-9]"}},
    {"default", {R"([\p{P}\$\+<=>\^~\|]+)", kGpt2Regex, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
};

/// Unicode's White_Space. PCRE2's \s holds U+180E beside it, which lost the property in
/// Unicode 6.3.
constexpr std::string_view kSpaces =
    R"(\x{9}-\x{d}\x{20}\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

/// Spells \s, and \S outside classes, by code points.
std::string with_unicode_spaces(std::string_view regex) {
  std::string result;
  bool in_class = false;
  std::size_t class_begin = 0;
  for (std::size_t at = 0; at < regex.size(); ++at) {
    const char c = regex[at];
    if (c == '\\' && at + 1 < regex.size()) {
      const char escaped = regex[++at];
      if (escaped == 's') {
        result += in_class ? std::string(kSpaces) : fmt::format("[{}]", kSpaces);
      } else if (escaped == 'S' && !in_class) {
        result += fmt::format("[^{}]", kSpaces);
      } else {
        result += {c, escaped};
      }
      continue;
    }
    if (c == '[' && !in_class) {
      in_class = true;
      // A bracket right after the opening, or after its ^, is an ordinary member.
      class_begin = at + 1;
      if (class_begin < regex.size() && regex[class_begin] == '^') ++class_begin;
    } else if (c == ']' && in_class && at > class_begin) {
      in_class = false;
    }
    result += c;
  }
  return result;
}

struct CodeFree {
  void operator()(pcre2_code* code) const noexcept { pcre2_code_free(code); }
};
struct MatchFree {
  void operator()(pcre2_match_data* data) const noexcept { pcre2_match_data_free(data); }
};
struct ContextFree {
  void operator()(pcre2_match_context* context) const noexcept {
    pcre2_match_context_free(context);
  }
};
using Code = std::unique_ptr<pcre2_code, CodeFree>;

std::string error_text(int code) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  if (pcre2_get_error_message(code, buffer.data(), buffer.size()) < 0) {
    return fmt::format("PCRE2 error {}", code);
  }
  return reinterpret_cast<const char*>(buffer.data());
}

Code compile(const std::string& regex) {
  const std::string pattern = with_unicode_spaces(regex);
  int error = 0;
  PCRE2_SIZE offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset,
                          nullptr));
  if (!code) {
    throw Error(ErrorCode::kUnsupported, fmt::format("pre-tokenizer: regular expression {}: {}",
                                                     in_quotes(regex), error_text(error)));
  }
  // Where JIT is not to be had, the interpreter does the same, slower.
  pcre2_jit_compile(code.get(), PCRE2_JIT_COMPLETE);
  return code;
}

/// What splitting one text may take: real expressions need 0.02 to 0.15 us a byte. PCRE2 bounds a
/// match only, and tells no one how much of the bound it used; so the thread's own time is what
/// counts.
class Allowance {
 public:
  explicit Allowance(std::size_t text_size)
      : text_size_(text_size), end_(used() + 2.0 + 5e-6 * static_cast<double>(text_size)) {}

  /// Throws Error{kResource} when it is spent.
  void check() {
    // The thread's time is a system call, the steady clock is not.
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds(50);
    if (used() > end_) {
      throw Error(ErrorCode::kResource,
                  fmt::format("pre-tokenizer: {} bytes of text: the expressions take too long",
                              text_size_));
    }
  }

 private:
  static double used() {
    std::timespec time{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }

  std::size_t text_size_;
  double end_;
  std::chrono::steady_clock::time_point next_ =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(50);
};

/// Matches one expression over and over; one a call, since PCRE2's state is not thread-safe.
class Matcher {
 public:
  Matcher(const pcre2_code* code, std::size_t text_size, Allowance& allowance)
      : code_(code),
        allowance_(allowance),
        data_(pcre2_match_data_create_from_pattern(code, nullptr)),
        context_(pcre2_match_context_create(nullptr)) {
    ONEBIT_CHECK(data_ != nullptr && context_ != nullptr);
    // Some 10 ms, and room for an expression that tries every position of a long run.
    constexpr std::size_t kBase = 1'000'000;
    pcre2_set_match_limit(context_.get(),
                          static_cast<std::uint32_t>(std::min<std::size_t>(
                              kBase + 100 * text_size, std::numeric_limits<std::uint32_t>::max())));
  }

  /// The first match at or after `from`. `text` must be well-formed UTF-8.
  bool find(std::string_view text, std::size_t from, std::size_t& begin, std::size_t& end) {
    const auto match = [&](std::uint32_t options) {
      return pcre2_match(code_, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                         PCRE2_NO_UTF_CHECK | options, data_.get(), context_.get());
    };
    allowance_.check();
    int rc = match(0);
    if (rc == PCRE2_ERROR_JIT_STACKLIMIT) rc = match(PCRE2_NO_JIT);
    if (rc == PCRE2_ERROR_NOMATCH) return false;
    if (rc < 0) {
      throw Error(ErrorCode::kResource,
                  fmt::format("pre-tokenizer: {} bytes of text: {}", text.size(), error_text(rc)));
    }
    const PCRE2_SIZE* range = pcre2_get_ovector_pointer(data_.get());
    begin = range[0];
    end = std::max(range[0], range[1]);  // \K could put the start past the end
    return true;
  }

 private:
  const pcre2_code* code_;
  Allowance& allowance_;
  std::unique_ptr<pcre2_match_data, MatchFree> data_;
  std::unique_ptr<pcre2_match_context, ContextFree> context_;
};

/// Appends the sizes of the parts that the expression cuts `text` into.
void cut(Matcher& matcher, std::string_view text, std::vector<std::size_t>& sizes) {
  std::size_t done = 0;  // everything before belongs to a part already
  std::size_t at = 0;
  std::size_t begin = 0;
  std::size_t end = 0;
  const auto cut_at = [&](std::size_t position) {
    if (position > done) sizes.push_back(position - done);
    done = std::max(done, position);
  };
  while (at <= text.size() && matcher.find(text, at, begin, end)) {
    cut_at(begin);
    cut_at(end);
    // An empty match: go on one character further, or it would be found for ever.
    at = end > at ? end : at + (at < text.size() ? utf8_char_size(text, at) : 1);
  }
  cut_at(text.size());
}

}  // namespace

PreTokenizerSpec pre_tokenizer_by_name(std::string_view name) {
  if (name.empty()) name = "default";
  for (const NamedSpec& spec : kNamed) {
    if (name == spec.name) {
      return {std::vector<std::string>(spec.regexes.begin(), spec.regexes.end()),
              spec.ignore_merges};
    }
  }
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("pre-tokenizer: found {}, expected a known name such as smollm, llama-bpe, "
                  "gpt-2 or qwen2",
                  in_quotes(name)));
}

std::string pre_tokenizer_name(const PreTokenizerSpec& spec) {
  for (const NamedSpec& named : kNamed) {
    if (spec.ignore_merges == named.ignore_merges &&
        std::equal(spec.regexes.begin(), spec.regexes.end(), named.regexes.begin(),
                   named.regexes.end())) {
      return named.name;
    }
  }
  return "";
}

struct PreTokenizer::Impl {
  std::vector<Code> codes;
};

PreTokenizer::PreTokenizer(const std::vector<std::string>& regexes)
    : impl_(std::make_unique<Impl>()) {
  for (const std::string& regex : regexes) impl_->codes.push_back(compile(regex));
}

PreTokenizer::PreTokenizer(PreTokenizer&&) noexcept = default;
PreTokenizer::~PreTokenizer() = default;

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  // PCRE2 wants well-formed text; a replacement of one byte keeps all positions.
  constexpr std::string_view kControlCharacter = "\x01";
  std::string cleaned;
  std::string_view subject = text;
  if (!is_utf8(text)) {
    cleaned = replace_invalid_utf8(text, kControlCharacter);
    subject = cleaned;
  }
  std::vector<std::size_t> sizes;
  if (!text.empty()) sizes.push_back(text.size());
  Allowance allowance(text.size());
  for (const Code& code : impl_->codes) {
    Matcher matcher(code.get(), text.size(), allowance);
    std::vector<std::size_t> cut_sizes;
    std::size_t begin = 0;
    for (const std::size_t size : sizes) {
      // Each part is its own text: what lies beyond it is not to be seen.
      cut(matcher, subject.substr(begin, size), cut_sizes);
      begin += size;
    }
    sizes = std::move(cut_sizes);
  }
  std::vector<std::string_view> result;
  result.reserve(sizes.size());
  std::size_t begin = 0;
  for (const std::size_t size : sizes) {
    result.push_back(text.substr(begin, size));
    begin += size;
  }
  return result;
}

}  // namespace onebit::text
