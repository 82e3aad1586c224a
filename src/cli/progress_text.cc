#include "cli/progress_text.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

namespace onebit::cli {
namespace {

constexpr int kMinBar = 10;  // a shorter bar tells less than the percentage beside it
constexpr int kMaxBar = 40;

/// The part of `text` that fits `columns`, cut between UTF-8 characters.
std::string_view cut(std::string_view text, std::size_t columns) {
  std::size_t used = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0U) == 0x80U) continue;
    if (used == columns) return text.substr(0, i);
    ++used;
  }
  return text;
}

double share(const ProgressState& state) {
  if (state.total == 0) return 0;
  return std::min(1.0, static_cast<double>(state.done) / static_cast<double>(state.total));
}

/// All after the percentage.
std::string details(const ProgressState& state) {
  std::string text = fmt::format("{}", state.done);
  if (state.total != 0) text += fmt::format("/{}", state.total);
  text += fmt::format(" {}", state.unit);
  if (state.seconds > 0 && state.done > 0) {
    const double per_second = static_cast<double>(state.done) / state.seconds;
    text += fmt::format(", {} {}/s", rate(per_second), state.unit);
    if (state.total > state.done) {
      text += fmt::format(", {} left",
                          duration(static_cast<double>(state.total - state.done) / per_second));
    }
  }
  if (!state.note.empty()) text += fmt::format(", {}", state.note);
  return text;
}

int percent(const ProgressState& state) { return static_cast<int>(share(state) * 100.0); }

}  // namespace

std::string progress_bar(const ProgressState& state, int width) {
  const std::string text = details(state);
  std::string line(state.label);
  if (state.total != 0) {
    // The label, " [", "] ", "100% " and the text.
    const int taken = static_cast<int>(state.label.size() + text.size()) + 9;
    const int bar = std::min(kMaxBar, width - taken);
    if (bar >= kMinBar) {
      const int filled = static_cast<int>(share(state) * bar);
      std::string inside(static_cast<std::size_t>(filled), '=');
      if (filled < bar) inside += '>';
      inside.resize(static_cast<std::size_t>(bar), ' ');
      line += fmt::format(" [{}]", inside);
    }
    line += fmt::format(" {:3d}%", percent(state));
  }
  line += ' ' + text;
  return std::string(cut(line, static_cast<std::size_t>(std::max(0, width))));
}

std::string progress_line(const ProgressState& state) {
  std::string line = fmt::format("{}: ", state.label);
  if (state.total != 0) line += fmt::format("{}%, ", percent(state));
  return line + details(state);
}

std::string duration(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::ceil(std::clamp(seconds, 0.0, 1e9)));
  const std::int64_t minutes = whole / 60;
  if (minutes < 60) return fmt::format("{}:{:02}", minutes, whole % 60);
  return fmt::format("{}:{:02}:{:02}", minutes / 60, minutes % 60, whole % 60);
}

std::string rate(double value) {
  if (!std::isfinite(value)) return "-";
  if (value >= 100) return fmt::format("{:.0f}", value);
  if (value >= 10) return fmt::format("{:.1f}", value);
  if (value >= 1) return fmt::format("{:.2f}", value);
  return fmt::format("{:.3f}", value);
}

}  // namespace onebit::cli
