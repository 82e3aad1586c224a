// How progress looks: pure functions from numbers to text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace onebit::cli {

struct ProgressState {
  std::string_view label;
  std::string_view unit;
  std::string_view note;
  std::uint64_t done = 0;
  std::uint64_t total = 0;  ///< 0: unknown
  double seconds = 0;       ///< since the job's begin
};

/// "perplexity [=====>      ]  42% 128/304 tokens, 12.3 tokens/s, 1:03 left, PPL 24.1", cut to
/// `width` columns; the bar takes what the text leaves free.
std::string progress_bar(const ProgressState& state, int width);

/// The same in plain text, without the bar: "perplexity: 42%, 128/304 tokens, …".
std::string progress_line(const ProgressState& state);

/// "0:07", "12:34", "3:00:00".
std::string duration(double seconds);

/// Three significant digits and more for whole numbers: "0.123", "12.3", "1234".
std::string rate(double value);

}  // namespace onebit::cli
