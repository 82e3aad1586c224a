#include "report/svg.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <fmt/format.h>
#include <optional>

#include "base/error.h"
#include "report/markup.h"
#include "report/palette.h"

namespace onebit::report {
namespace {

constexpr std::string_view kElements[] = {"g",    "path",   "text",    "tspan",
                                          "rect", "line",   "polygon", "polyline",
                                          "use",  "circle", "defs",    "ellipse"};
constexpr std::string_view kAttributes[] = {"id",
                                            "class",
                                            "d",
                                            "fill",
                                            "fill-opacity",
                                            "stroke",
                                            "stroke-width",
                                            "stroke-opacity",
                                            "stroke-dasharray",
                                            "stroke-linecap",
                                            "stroke-linejoin",
                                            "color",
                                            "x",
                                            "y",
                                            "x1",
                                            "y1",
                                            "x2",
                                            "y2",
                                            "width",
                                            "height",
                                            "cx",
                                            "cy",
                                            "r",
                                            "rx",
                                            "ry",
                                            "points",
                                            "transform",
                                            "font-size",
                                            "font-weight",
                                            "text-anchor",
                                            "shape-rendering",
                                            "xlink:href"};

template <class List>
bool contains(const List& list, std::string_view word) {
  return std::find(std::begin(list), std::end(list), word) != std::end(list);
}

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

void skip_spaces(std::string_view& text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
}

/// The three numbers of "rgb( 17,  17,  17)" or "#111111".
std::optional<std::array<int, 3>> parse_colour(std::string_view text) {
  std::array<int, 3> parts = {};
  const auto number = [](std::string_view digits, int base, int& value) {
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, value, base);
    return error == std::errc() && stop == end;
  };
  if (text.size() == 7 && text.front() == '#') {
    for (std::size_t i = 0; i < 3; ++i) {
      if (!number(text.substr(1 + 2 * i, 2), 16, parts[i])) return std::nullopt;
    }
    return parts;
  }
  constexpr std::string_view kRgb = "rgb(";
  if (!text.starts_with(kRgb) || !text.ends_with(')')) return std::nullopt;
  text = text.substr(kRgb.size(), text.size() - kRgb.size() - 1);
  for (std::size_t i = 0; i < 3; ++i) {
    const std::size_t comma = text.find(',');
    std::string_view part = text.substr(0, comma);
    skip_spaces(part);
    if (!number(part, 10, parts[i]) || (comma == std::string_view::npos) != (i == 2)) {
      return std::nullopt;
    }
    if (i < 2) text.remove_prefix(comma + 1);
  }
  return parts;
}

/// A colour of the palette as a variable; others stay.
std::string page_colour(std::string_view value) {
  if (value == "black") return fmt::format("var({})", kInk.variable);
  const auto colour = parse_colour(value);
  if (!colour) return std::string(value);
  const auto is = [&](const Colour& known) { return parse_colour(known.light) == colour; };
  for (const Colour* known : {&kInk, &kMuted, &kGrid}) {
    if (is(*known)) return fmt::format("var({})", known->variable);
  }
  for (const Colour& known : kSeries) {
    if (is(known)) return fmt::format("var({})", known.variable);
  }
  return std::string(value);
}

/// &amp; and its like as what they stand for; gnuplot writes no others.
std::string plain_text(std::string_view text) {
  constexpr std::pair<std::string_view, char> kEntities[] = {
      {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  std::string result;
  while (!text.empty()) {
    const auto found =
        std::find_if(std::begin(kEntities), std::end(kEntities),
                     [&](const auto& entity) { return text.starts_with(entity.first); });
    if (found == std::end(kEntities)) {
      result += text.front();
      text.remove_prefix(1);
    } else {
      result += found->second;
      text.remove_prefix(found->first.size());
    }
  }
  return result;
}

/// Copies a picture piece by piece.
class Embedder {
 public:
  Embedder(std::string_view svg, std::string id) : rest_(svg), id_(std::move(id)) {}

  /// What is within <svg>.
  std::string copy() {
    const std::size_t begin = rest_.find("<svg");
    if (begin == std::string_view::npos || rest_.find("</svg>") == std::string_view::npos) {
      throw Error(ErrorCode::kCorrupt, "gnuplot: found no SVG, expected a picture");
    }
    rest_.remove_prefix(begin);
    while (!rest_.empty()) {
      if (rest_.starts_with("<![CDATA[")) {
        constexpr std::size_t kOpen = 9;
        rest_.remove_prefix(kOpen);
        text(take_until("]]>"), /*escaped=*/false);
      } else if (rest_.starts_with("<!--")) {
        take_until("-->");
      } else if (rest_.front() == '<') {
        tag(take_tag());
      } else {
        const std::size_t end = std::min(rest_.find('<'), rest_.size());
        text(rest_.substr(0, end), /*escaped=*/true);
        rest_.remove_prefix(end);
      }
    }
    return std::move(out_);
  }

 private:
  std::string_view take_until(std::string_view end) {
    const std::size_t found = std::min(rest_.find(end), rest_.size());
    const std::string_view part = rest_.substr(0, found);
    rest_.remove_prefix(std::min(found + end.size(), rest_.size()));
    return part;
  }

  /// A tag without its brackets; quotes may hold one.
  std::string_view take_tag() {
    char quote = 0;
    std::size_t end = 1;
    for (; end < rest_.size(); ++end) {
      const char c = rest_[end];
      if (quote != 0) {
        if (c == quote) quote = 0;
      } else if (c == '"' || c == '\'') {
        quote = c;
      } else if (c == '>') {
        break;
      }
    }
    const std::string_view part = rest_.substr(1, end - 1);
    rest_.remove_prefix(std::min(end + 1, rest_.size()));
    return part;
  }

  void text(std::string_view part, bool escaped) {
    if (dropped_ > 0) return;
    if (!inside_text_) return;  // only white space stands between elements
    out_ += html_text(escaped ? plain_text(part) : std::string(part));
  }

  void tag(std::string_view part) {
    if (part.starts_with('/')) {
      close(part.substr(1));
      return;
    }
    const bool empty = part.ends_with('/');
    if (empty) part.remove_suffix(1);
    const std::size_t name_end =
        static_cast<std::size_t>(std::find_if(part.begin(), part.end(), is_space) - part.begin());
    const std::string_view name = part.substr(0, name_end);
    if (name == "svg" || name.starts_with('?') || name.starts_with('!')) return;
    if (dropped_ > 0 || !contains(kElements, name)) {
      if (!empty) ++dropped_;
      return;
    }
    if (name == "text") inside_text_ = true;
    out_ += fmt::format("<{}{}{}>", name, attributes(part.substr(name_end)), empty ? "/" : "");
  }

  void close(std::string_view name) {
    if (name == "svg") return;
    if (dropped_ > 0) {
      --dropped_;
      return;
    }
    if (name == "text") inside_text_ = false;
    // gnuplot opens a group for every change of a pen, and often draws nothing with it.
    const std::size_t open = out_.rfind('<');
    if (name == "g" && open != std::string::npos && out_.compare(open, 2, "<g") == 0 &&
        out_.back() == '>') {
      out_.erase(open);
      return;
    }
    out_ += fmt::format("</{}>\n", name);
  }

  std::string attributes(std::string_view part) const {
    std::string result;
    for (skip_spaces(part); !part.empty(); skip_spaces(part)) {
      const std::size_t equals = part.find('=');
      if (equals == std::string_view::npos) break;
      std::string_view name = part.substr(0, equals);
      while (!name.empty() && is_space(name.back())) name.remove_suffix(1);
      part.remove_prefix(equals + 1);
      skip_spaces(part);
      if (part.empty() || (part.front() != '"' && part.front() != '\'')) break;
      const std::size_t end = part.find(part.front(), 1);
      if (end == std::string_view::npos) break;
      const std::string value = attribute(name, plain_text(part.substr(1, end - 1)));
      part.remove_prefix(end + 1);
      if (!value.empty()) result += fmt::format(" {}=\"{}\"", name, html_text(value));
    }
    return result;
  }

  /// Empty: left out.
  std::string attribute(std::string_view name, const std::string& value) const {
    if (!contains(kAttributes, name)) return {};
    if (name == "id") return id_ + "_" + value;
    if (name == "xlink:href") {
      return value.starts_with('#') ? fmt::format("#{}_{}", id_, value.substr(1)) : std::string();
    }
    if (name == "fill" || name == "stroke" || name == "color") return page_colour(value);
    return value;
  }

  std::string_view rest_;
  std::string id_;
  std::string out_;
  int dropped_ = 0;  ///< depth within an element that is left out
  bool inside_text_ = false;
};

}  // namespace

std::string embed_svg(std::string_view svg, const Figure& figure) {
  return fmt::format(
      "<svg viewBox=\"0 0 {0} {1}\" role=\"img\" aria-labelledby=\"{2}_title {2}_alt\">\n"
      "<title id=\"{2}_title\">{3}</title>\n<desc id=\"{2}_alt\">{4}</desc>\n{5}</svg>\n",
      figure.width, figure.height, figure.id, html_text(figure.caption), html_text(figure.alt),
      Embedder(svg, figure.id).copy());
}

std::string legend_svg(const LegendEntry& entry) {
  // As gnuplot draws the types in kPointTypes.
  constexpr const char* kMarks[] = {
      "<circle cx=\"12\" cy=\"6\" r=\"4.5\"/>", "<rect x=\"8\" y=\"2\" width=\"8\" height=\"8\"/>",
      "<path d=\"M12 1 L17 10 L7 10 z\"/>", "<path d=\"M12 0 L18 6 L12 12 L6 6 z\"/>",
      "<path d=\"M12 11 L17 2 L7 2 z\"/>"};
  static_assert(std::size(kMarks) == kPointTypes.size());
  const char* colour = series_colour(entry.series).variable;
  std::string drawn = "<rect x=\"5\" y=\"0\" width=\"14\" height=\"12\"/>";
  if (entry.mark != Mark::kBar) {
    drawn = fmt::format("<path d=\"M0 6 H24\" stroke=\"var({})\" stroke-width=\"2.5\"/>", colour);
    if (entry.mark == Mark::kPoint) drawn += kMarks[entry.series % std::size(kMarks)];
  }
  return fmt::format(
      "<svg viewBox=\"0 0 24 12\" width=\"24\" height=\"12\" aria-hidden=\"true\" "
      "fill=\"var({})\">{}</svg>",
      colour, drawn);
}

}  // namespace onebit::report
