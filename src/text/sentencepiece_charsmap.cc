// Walks what the library can reach from the root. Units elsewhere in the array are free ones and
// hold anything.
#include "text/sentencepiece_charsmap.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <fmt/format.h>
#include <vector>

#include "base/error.h"

namespace onebit::text {
namespace {

/// Real maps (nmt_nfkc) have 240 KB, rules of some ten bytes, and replacements of up to 33.
constexpr std::size_t kMostBytes = 4U << 20;
constexpr int kLongestRule = 256;
constexpr std::size_t kLongestReplacement = 256;
/// The library keeps room for as many rules that begin with each other, and does not check.
constexpr int kMostPrefixes = 32;

[[noreturn]] void corrupt(const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "SentencePiece model: precompiled_charsmap: " + what);
}

std::uint32_t read_u32(std::string_view bytes, std::size_t at) {
  static_assert(std::endian::native == std::endian::little);
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof(value));
  return value;
}

class Trie {
 public:
  Trie(std::string_view units, std::string_view texts)
      : units_(units), texts_(texts), seen_(units.size() / sizeof(std::uint32_t)) {}

  void check() { visit(0, 0); }

 private:
  /// The longest ways down from a unit, itself included: in bytes of text and in rules that end.
  struct Below {
    std::int16_t bytes = -1;  ///< -1: not visited
    std::int16_t rules = 0;
  };

  std::uint32_t unit(std::size_t index) const {
    return read_u32(units_, index * sizeof(std::uint32_t));
  }

  /// `depth` bytes lead to the unit. Units may be shared, so each is visited once.
  Below visit(std::size_t index, int depth) {
    if (depth > kLongestRule || depth + seen_[index].bytes > kLongestRule) {
      corrupt(fmt::format("found a rule of more than {} bytes", kLongestRule));  // or a ring
    }
    if (seen_[index].bytes >= 0) return seen_[index];
    const std::uint32_t node = unit(index);
    // Darts-clone's unit: offset in bits 10 to 30, times 256 if bit 9 is set; bit 8: has a leaf.
    const std::size_t base = index ^ ((std::size_t{node} >> 10) << ((node >> 6) & 8));
    if ((base | 0xFF) >= seen_.size()) {
      corrupt(fmt::format("unit {}: found children at {}, expected below {}", index, base,
                          seen_.size()));
    }
    Below below = {0, 0};
    for (std::size_t byte = 0; byte < 256; ++byte) {
      constexpr std::uint32_t kLabel = 0x800000FF;
      if ((unit(base ^ byte) & kLabel) != byte) continue;
      const Below child = visit(base ^ byte, depth + 1);
      below.bytes = std::max<std::int16_t>(below.bytes, child.bytes + 1);
      below.rules = std::max(below.rules, child.rules);
    }
    if (index != 0 && (node & 0x100) != 0) {
      check_replacement(unit(base) & 0x7FFFFFFF);
      ++below.rules;
    }
    if (below.rules > kMostPrefixes) {
      corrupt(fmt::format("found more than {} rules that begin with each other", kMostPrefixes));
    }
    return seen_[index] = below;
  }

  void check_replacement(std::size_t at) const {
    if (at >= texts_.size()) {
      corrupt(fmt::format("found a replacement at {}, expected below {}", at, texts_.size()));
    }
    if (texts_.substr(at, kLongestReplacement + 1).find('\0') == std::string_view::npos) {
      corrupt(fmt::format("found a replacement of more than {} bytes", kLongestReplacement));
    }
  }

  std::string_view units_;
  std::string_view texts_;
  std::vector<Below> seen_;
};

}  // namespace

void check_charsmap(std::string_view charsmap) {
  if (charsmap.empty()) return;
  if (charsmap.size() > kMostBytes) {
    corrupt(fmt::format("found {} bytes, expected at most {}", charsmap.size(), kMostBytes));
  }
  constexpr std::size_t kHead = sizeof(std::uint32_t);
  const std::size_t size = charsmap.size() < kHead ? 0 : read_u32(charsmap, 0);
  if (size == 0 || size % sizeof(std::uint32_t) != 0 || size > charsmap.size() - kHead) {
    corrupt(fmt::format("found a trie of {} bytes among {}", size, charsmap.size()));
  }
  if (charsmap.back() != '\0') corrupt("expected a zero byte at the end");
  Trie(charsmap.substr(kHead, size), charsmap.substr(kHead + size)).check();
}

}  // namespace onebit::text
