#include "runtime/text_stream.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace onebit::runtime {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD

struct Scan {
  std::size_t length;  ///< bytes of the character, of the ill-formed part, or of all there is
  bool valid;
  bool complete;
};

/// The first character of non-empty `text` (Unicode 15, table 3-7).
Scan scan(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {1, true, true};
  std::size_t length = 0;
  unsigned low = 0x80;  // range of the second byte
  unsigned high = 0xBF;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    if (lead == 0xE0) low = 0xA0;   // overlong
    if (lead == 0xED) high = 0x9F;  // surrogates
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    if (lead == 0xF0) low = 0x90;   // overlong
    if (lead == 0xF4) high = 0x8F;  // above U+10FFFF
  } else {
    return {1, false, true};
  }
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {i, true, false};
    if (byte(i) < low || byte(i) > high) return {i, false, true};
    low = 0x80;
    high = 0xBF;
  }
  return {length, true, true};
}

/// Length of the longest end of `text` that a stop text begins with.
std::size_t partial_match(std::string_view text, std::string_view stop) {
  for (std::size_t n = std::min(text.size(), stop.size() - 1); n > 0; --n) {
    if (text.substr(text.size() - n) == stop.substr(0, n)) return n;
  }
  return 0;
}

}  // namespace

void Utf8Stream::feed(std::string_view bytes, std::string& out) {
  pending_ += bytes;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const Scan next = scan(rest);
    if (!next.complete) break;
    out += next.valid ? rest.substr(0, next.length) : kReplacement;
    rest.remove_prefix(next.length);
  }
  pending_.erase(0, pending_.size() - rest.size());
}

void Utf8Stream::finish(std::string& out) {
  if (!pending_.empty()) out += kReplacement;
  pending_.clear();
}

TextStream::TextStream(std::vector<std::string> stop_texts) : stop_texts_(std::move(stop_texts)) {
  for (const std::string& stop : stop_texts_) {
    if (stop.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "stop text: found an empty one, expected text");
    }
  }
}

std::string_view TextStream::feed(std::string_view bytes) {
  if (stopped_) return {};
  utf8_.feed(bytes, held_);
  std::size_t first = std::string::npos;
  std::size_t held_back = 0;
  for (const std::string& stop : stop_texts_) {
    first = std::min(first, held_.find(stop));
    held_back = std::max(held_back, partial_match(held_, stop));
  }
  if (first == std::string::npos) return release(held_back);
  stopped_ = true;
  held_.resize(first);
  return release(0);
}

std::string_view TextStream::finish() {
  if (stopped_) return {};
  utf8_.finish(held_);
  return release(0);
}

std::string_view TextStream::release(std::size_t held_back) {
  shown_.assign(held_, 0, held_.size() - held_back);
  held_.erase(0, shown_.size());
  return shown_;
}

}  // namespace onebit::runtime
