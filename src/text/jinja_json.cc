// tojson: the output of Python's json.dumps, byte for byte.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "text/jinja_error.h"
#include "text/jinja_filters.h"
#include "text/jinja_ops.h"
#include "text/jinja_unicode.h"

namespace onebit::text::jinja {
namespace {

std::string json_float(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-Infinity" : "Infinity";
  return float_text(value);
}

void append_code_unit(Text& out, std::uint32_t unit) { out.append(fmt::format("\\u{:04x}", unit)); }

void append_string(Text& out, std::string_view text, bool ensure_ascii) {
  out.append('"');
  for (const Character& c : Characters(text)) {
    constexpr std::string_view kNamed = "\"\\\n\r\t\f\b";
    constexpr std::string_view kNames = "\"\\nrtfb";
    if (const std::size_t at = kNamed.find(c.bytes); at != std::string_view::npos) {
      out.append('\\');
      out.append(kNames[at]);
    } else if (ensure_ascii && c.code > 0xFFFF) {
      const auto rest = static_cast<std::uint32_t>(c.code) - 0x10000U;
      append_code_unit(out, 0xD800U + (rest >> 10));
      append_code_unit(out, 0xDC00U + (rest & 0x3FFU));
    } else if ((c.code >= 0 && c.code < 0x20) || (ensure_ascii && c.code > 0x7E)) {
      append_code_unit(out, static_cast<std::uint32_t>(c.code));
    } else {
      out.append(c.bytes);
    }
  }
  out.append('"');
}

class Writer {
 public:
  Writer(Text& out, const JsonOptions& options) : out_(out), options_(options) {}

  void value(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        return out_.append("null");
      case Kind::kBool:
        return out_.append(value.boolean() ? "true" : "false");
      case Kind::kInt:
        return out_.append(fmt::to_string(value.integer()));
      case Kind::kFloat:
        return out_.append(json_float(value.real()));
      case Kind::kString:
        return append_string(out_, value.string(), options_.ensure_ascii);
      case Kind::kDict:
        return dict(value.dict());
      case Kind::kSequence:
        if (value.sequence().type == Sequence::Type::kList ||
            value.sequence().type == Sequence::Type::kTuple) {
          return list(value.sequence());
        }
        [[fallthrough]];
      default:
        fail(fmt::format("a {} has no JSON form", type_name(value)));
    }
  }

 private:
  void new_line() {
    if (options_.indent == nullptr) return;
    out_.append('\n');
    for (int i = 0; i < level_; ++i) out_.append(*options_.indent);
  }

  void separate(bool& first) {
    if (!std::exchange(first, false)) out_.append(options_.item_separator);
    new_line();
  }

  void list(const Sequence& sequence) {
    if (sequence.items.empty()) return out_.append("[]");
    out_.append('[');
    ++level_;
    bool first = true;
    for (const Value& item : sequence.items) {
      separate(first);
      value(item);
    }
    --level_;
    new_line();
    out_.append(']');
  }

  void dict(const Dict& dict) {
    if (dict.entries.empty()) return out_.append("{}");
    std::vector<const std::pair<Value, Value>*> entries;
    for (const auto& entry : dict.entries) entries.push_back(&entry);
    if (options_.sort_keys) {
      std::stable_sort(entries.begin(), entries.end(), [&](const auto* a, const auto* b) {
        return compare(out_.budget(), a->first, b->first) < 0;
      });
    }
    out_.append('{');
    ++level_;
    bool first = true;
    for (const auto* entry : entries) {
      separate(first);
      key(entry->first);
      out_.append(options_.key_separator);
      value(entry->second);
    }
    --level_;
    new_line();
    out_.append('}');
  }

  void key(const Value& key) {
    if (key.is_string()) return value(key);
    if (!key.is_number() && !key.is_none()) {
      fail(fmt::format("a {} cannot be a key in JSON", type_name(key)));
    }
    out_.append('"');
    value(key);
    out_.append('"');
  }

  Text& out_;
  const JsonOptions& options_;
  int level_ = 0;
};

}  // namespace

void append_json(Text& out, const Value& value, const JsonOptions& options) {
  Writer(out, options).value(value);
}

}  // namespace onebit::text::jinja
