// Follows jinja2/filters.py (3.1.6).
#include "text/jinja_filters.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <fmt/format.h>

#include "text/jinja_error.h"
#include "text/jinja_ops.h"
#include "text/jinja_tests.h"
#include "text/jinja_text_ops.h"
#include "text/jinja_unicode.h"

namespace onebit::text::jinja {
namespace {

struct Call {
  Runtime& runtime;
  std::string_view name;
  const Value& value;
  const CallArgs& args;

  Budget& budget() const { return runtime.budget; }
  std::vector<const Value*> bound(std::initializer_list<std::string_view> parameters,
                                  std::size_t required = 0) const {
    return bind(name, args, parameters, required);
  }
  /// The operand as text, as Jinja's filters on strings take it.
  std::string text() const { return to_text(runtime.budget, value); }
};

using Filter = Value (*)(const Call&);

bool given(const Value* value) { return value != nullptr && !value->is_none(); }
bool flag(const Value* value) { return value != nullptr && truthy(*value); }

/// Looks up "a.b.0" or an integer in an item, as map(attribute=...) does.
class AttributeGetter {
 public:
  AttributeGetter(Budget& budget, const Value& path) : budget_(budget) {
    if (path.is_none()) return;
    if (!path.is_string()) {
      parts_.push_back(path);
      return;
    }
    for (const std::string_view part : split(budget, path.string(), ".", -1)) {
      std::int64_t index = 0;
      const bool digits =
          !part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos;
      if (digits &&
          std::from_chars(part.data(), part.data() + part.size(), index).ec == std::errc()) {
        parts_.emplace_back(index);
      } else {
        parts_.push_back(make_text(budget, part));
      }
    }
  }

  Value operator()(Value item, const Value* default_value = nullptr) const {
    for (const Value& part : parts_) {
      item = get_item(budget_, item, part);
      if (item.is_undefined() && given(default_value)) item = *default_value;
    }
    return item;
  }

 private:
  Budget& budget_;
  std::vector<Value> parts_;
};

Value ignore_case(Budget& budget, const Value& value) {
  return value.is_string() ? make_text(budget, to_lower(value.string())) : value;
}

// --- text

template <std::string (*map)(std::string_view)>
Value mapped(const Call& call) {
  call.bound({});
  return make_text(call.budget(), map(call.text()));
}

/// title: a word begins after a blank or one of -({[<.
std::string title(std::string_view text) {
  std::string out;
  bool begins = true;
  for (const Character& c : Characters(text)) {
    const bool separates =
        is_space(c.code) || std::string_view("-({[<").find(c.bytes) != std::string_view::npos;
    out += begins && !separates ? to_upper(c.bytes) : to_lower(c.bytes);
    begins = separates;
  }
  return out;
}

Value escape(const Call& call) {
  call.bound({});
  constexpr std::string_view kSpecial = "&<>\"'";
  constexpr std::array<std::string_view, 5> kEscapes = {"&amp;", "&lt;", "&gt;", "&#34;", "&#39;"};
  Text out(call.budget());
  for (const char& c : call.text()) {
    const std::size_t at = kSpecial.find(c);
    out.append(at == std::string_view::npos ? std::string_view(&c, 1) : kEscapes[at]);
  }
  return out.take();
}

std::string unchanged(std::string_view text) { return std::string(text); }

Value trim(const Call& call) {
  const auto args = call.bound({"chars"});
  std::optional<std::string_view> set;
  if (given(args[0])) set = need_string(*args[0], "the argument of trim");
  const std::string text = call.text();
  call.budget().steps(text.size() * (set ? set->size() + 1 : 1) / 16);
  return make_text(call.budget(), strip(text, set, true, true));
}

Value replace_filter(const Call& call) {
  const auto args = call.bound({"old", "new", "count"}, 2);
  const std::int64_t count = given(args[2]) ? need_integer(*args[2], "count") : -1;
  return replace(call.budget(), call.text(), to_text(call.budget(), *args[0]),
                 to_text(call.budget(), *args[1]), count);
}

Value indent(const Call& call) {
  const auto args = call.bound({"width", "first", "blank"});
  std::string indention = "    ";
  if (args[0] != nullptr) {
    Text built(call.budget());
    if (args[0]->is_string()) {
      built.append(args[0]->string());
    } else {
      for (std::int64_t n = need_integer(*args[0], "the width of indent"); n > 0; --n) {
        built.append(' ');
      }
    }
    indention = built.take();
  }
  std::string text = need_string(call.value, "the operand of indent");
  text += '\n';
  Text out(call.budget());
  bool is_first = true;
  for (const std::string_view line : split_lines(text)) {
    if (is_first ? flag(args[1]) : (!line.empty() || flag(args[2]))) out.append(indention);
    out.append(line);
    is_first = false;
    out.append('\n');
  }
  std::string result = out.take();
  result.pop_back();
  return result;
}

Value join(const Call& call) {
  const auto args = call.bound({"d", "attribute"});
  const std::string separator = args[0] != nullptr ? to_text(call.budget(), *args[0]) : "";
  const AttributeGetter attribute(call.budget(), given(args[1]) ? *args[1] : Value(None{}));
  Text out(call.budget());
  bool first = true;
  for (const Value& item : items_of(call.budget(), call.value)) {
    if (!std::exchange(first, false)) out.append(separator);
    append_text(out, attribute(item));
  }
  return out.take();
}

// --- numbers

/// int(text) or float(text) of Python, without blanks around and underscores inside.
std::optional<std::string> number_text(std::string_view text) {
  std::string out(strip(text, std::nullopt, true, true));
  if (out.find("__") != std::string::npos || out.starts_with('_') || out.ends_with('_')) {
    return std::nullopt;
  }
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  if (out.starts_with('+') && !out.starts_with("+-")) out.erase(0, 1);
  return out;
}

std::optional<double> parse_float(std::string_view text) {
  const std::optional<std::string> number = number_text(text);
  if (!number) return std::nullopt;
  double value = 0;
  const char* const end = number->data() + number->size();
  const auto [stopped, error] = std::from_chars(number->data(), end, value);
  if (stopped != end || number->empty()) return std::nullopt;
  if (number->find('(') != std::string::npos) return std::nullopt;  // nan(...)
  if (error == std::errc::result_out_of_range) unsupported("a number beyond a float's range");
  return value;
}

std::optional<std::int64_t> float_to_int(double value) {
  if (std::isnan(value) || std::isinf(value)) return std::nullopt;
  if (value >= 0x1p63 || value < -0x1p63) unsupported("an integer beyond 64 bits");
  return static_cast<std::int64_t>(value);
}

std::optional<std::int64_t> parse_int(std::string_view text) {
  if (const std::optional<std::string> number = number_text(text); number && !number->empty()) {
    std::int64_t value = 0;
    const char* const end = number->data() + number->size();
    const auto [stopped, error] = std::from_chars(number->data(), end, value);
    if (stopped == end) {
      if (error == std::errc::result_out_of_range) unsupported("an integer beyond 64 bits");
      return value;
    }
  }
  const std::optional<double> real = parse_float(text);
  return real ? float_to_int(*real) : std::nullopt;
}

Value int_filter(const Call& call) {
  const auto args = call.bound({"default", "base"});
  if (args[1] != nullptr && need_integer(*args[1], "the base of int") != 10) {
    unsupported("'int' with a base other than 10");
  }
  const Value otherwise = args[0] != nullptr ? *args[0] : Value(std::int64_t{0});
  if (call.value.is_undefined()) fail(call.value.why_undefined());
  std::optional<std::int64_t> value;
  if (call.value.is_integral()) value = call.value.integer();
  if (call.value.is(Kind::kFloat)) value = float_to_int(call.value.real());
  if (call.value.is_string()) value = parse_int(call.value.string());
  return value ? Value(*value) : otherwise;
}

Value float_filter(const Call& call) {
  const auto args = call.bound({"default"});
  const Value otherwise = args[0] != nullptr ? *args[0] : Value(0.0);
  if (call.value.is_undefined()) fail(call.value.why_undefined());
  std::optional<double> value;
  if (call.value.is_number()) value = call.value.number();
  if (call.value.is_string()) value = parse_float(call.value.string());
  return value ? Value(*value) : otherwise;
}

Value absolute(const Call& call) {
  call.bound({});
  if (call.value.is(Kind::kFloat)) return std::abs(call.value.real());
  const std::int64_t value = need_integer(call.value, "the operand of abs");
  return value < 0 ? negate(call.value) : Value(value);
}

/// Python's round(): half to even, correct in decimal (42.55 to one digit is 42.5: the double is
/// below the half), which printing with that many digits is, too.
Value round_filter(const Call& call) {
  const auto args = call.bound({"precision", "method"});
  const std::int64_t digits = args[0] != nullptr ? need_integer(*args[0], "the precision") : 0;
  const std::string method = args[1] != nullptr ? need_string(*args[1], "the method") : "common";
  if (!call.value.is_number()) fail("the operand of round is no number");
  if (digits < 0 || digits > 300) unsupported("'round' to other than 0 to 300 digits");
  if (method == "common") {
    if (call.value.is_integral()) return call.value.integer();
    if (!std::isfinite(call.value.real())) return call.value;
    return parse_float(fmt::format("{:.{}f}", call.value.real(), digits)).value_or(0);
  }
  if (method != "ceil" && method != "floor") fail("the method of round is not known");
  const double scale = std::pow(10.0, static_cast<double>(digits));
  const double scaled = call.value.number() * scale;
  return (method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / scale;
}

// --- sequences

Value length_filter(const Call& call) {
  call.bound({});
  const std::optional<std::int64_t> size = length_of(call.value);
  if (!size) fail(fmt::format("a {} has no length", type_name(call.value)));
  return *size;
}

Value first(const Call& call) {
  call.bound({});
  if (call.value.is(Kind::kIterator)) {
    Iterator& iterator = call.value.iterator();
    if (iterator.next < iterator.items.size()) return iterator.items[iterator.next++];
  } else if (const std::vector<Value> items = items_of(call.budget(), call.value); !items.empty()) {
    return items.front();
  }
  return make_undefined(call.budget(), "there is no first item, the sequence is empty");
}

Value last(const Call& call) {
  call.bound({});
  if (call.value.is(Kind::kIterator)) fail("'last' does not take a generator");
  const std::vector<Value> items = items_of(call.budget(), call.value);
  return items.empty()
             ? make_undefined(call.budget(), "there is no last item, the sequence is empty")
             : items.back();
}

Value list_filter(const Call& call) {
  call.bound({});
  return make_sequence(call.budget(), items_of(call.budget(), call.value));
}

Value reverse(const Call& call) {
  call.bound({});
  std::vector<Value> items = items_of(call.budget(), call.value);
  std::reverse(items.begin(), items.end());
  if (call.value.is_string()) {
    Text out(call.budget());
    for (const Value& item : items) out.append(item.string());
    return out.take();
  }
  // Python reverses an iterator into a list, and everything else into an iterator.
  return call.value.is(Kind::kIterator) ? make_sequence(call.budget(), std::move(items))
                                        : make_iterator(call.budget(), std::move(items));
}

Value items_filter(const Call& call) {
  call.bound({});
  std::vector<Value> items;
  if (!call.value.is_undefined()) {
    if (!call.value.is(Kind::kDict)) fail("'items' takes a mapping");
    for (const auto& [key, value] : call.value.dict().entries) {
      items.push_back(make_sequence(call.budget(), {key, value}, Sequence::Type::kTuple));
    }
  }
  return make_iterator(call.budget(), std::move(items));
}

/// Sorts values by keys, stably; equal keys keep their order when reversed, too.
std::vector<Value> sort_by(Budget& budget, std::vector<std::pair<Value, Value>> keyed,
                           bool descending) {
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    return descending ? compare(budget, b.first, a.first) < 0
                      : compare(budget, a.first, b.first) < 0;
  });
  std::vector<Value> out;
  out.reserve(keyed.size());
  for (auto& [key, value] : keyed) out.push_back(std::move(value));
  return out;
}

Value sort(const Call& call) {
  const auto args = call.bound({"reverse", "case_sensitive", "attribute"});
  Budget& budget = call.budget();
  std::vector<AttributeGetter> getters;
  if (given(args[2]) && args[2]->is_string()) {
    for (const std::string_view path : split(budget, args[2]->string(), ",", -1)) {
      getters.emplace_back(budget, make_text(budget, path));
    }
  } else {
    getters.emplace_back(budget, given(args[2]) ? *args[2] : Value(None{}));
  }
  std::vector<std::pair<Value, Value>> keyed;
  for (Value& item : items_of(budget, call.value)) {
    std::vector<Value> keys;
    keys.reserve(getters.size());
    for (const AttributeGetter& get : getters) {
      keys.push_back(flag(args[1]) ? get(item) : ignore_case(budget, get(item)));
    }
    keyed.emplace_back(make_sequence(budget, std::move(keys)), std::move(item));
  }
  return make_sequence(budget, sort_by(budget, std::move(keyed), flag(args[0])));
}

Value dictsort(const Call& call) {
  const auto args = call.bound({"case_sensitive", "by", "reverse"});
  Budget& budget = call.budget();
  const std::string by = args[1] != nullptr ? need_string(*args[1], "'by'") : "key";
  if (by != "key" && by != "value") fail("dictsort sorts by 'key' or by 'value'");
  if (call.value.is_undefined()) fail(call.value.why_undefined());
  if (!call.value.is(Kind::kDict)) fail("'dictsort' takes a mapping");
  std::vector<std::pair<Value, Value>> keyed;
  for (const auto& [key, value] : call.value.dict().entries) {
    const Value& chosen = by == "key" ? key : value;
    keyed.emplace_back(flag(args[0]) ? chosen : ignore_case(budget, chosen),
                       make_sequence(budget, {key, value}, Sequence::Type::kTuple));
  }
  return make_sequence(budget, sort_by(budget, std::move(keyed), flag(args[2])));
}

Value unique(const Call& call) {
  const auto args = call.bound({"case_sensitive", "attribute"});
  Budget& budget = call.budget();
  const AttributeGetter get(budget, given(args[1]) ? *args[1] : Value(None{}));
  std::vector<std::pair<Value, Value>> seen;
  std::vector<Value> out;
  for (Value& item : items_of(budget, call.value)) {
    const Value key = flag(args[0]) ? get(item) : ignore_case(budget, get(item));
    const std::size_t before = seen.size();
    set_entry(budget, seen, key, Value(None{}));
    if (seen.size() > before) out.push_back(std::move(item));
  }
  return make_iterator(budget, std::move(out));
}

Value extreme(const Call& call, int sign) {
  const auto args = call.bound({"case_sensitive", "attribute"});
  Budget& budget = call.budget();
  const AttributeGetter get(budget, given(args[1]) ? *args[1] : Value(None{}));
  std::optional<std::pair<Value, Value>> best;  // key, item
  for (Value& item : items_of(budget, call.value)) {
    Value key = flag(args[0]) ? get(item) : ignore_case(budget, get(item));
    if (!best || compare(budget, key, best->first) * sign > 0) {
      best.emplace(std::move(key), std::move(item));
    }
  }
  return best ? best->second : make_undefined(budget, "there is no item, the sequence is empty");
}

Value sum(const Call& call) {
  const auto args = call.bound({"attribute", "start"});
  const AttributeGetter get(call.budget(), given(args[0]) ? *args[0] : Value(None{}));
  Value total = args[1] != nullptr ? *args[1] : Value(std::int64_t{0});
  if (total.is_string()) fail("'sum' does not add strings");
  for (const Value& item : items_of(call.budget(), call.value)) {
    total = binary_operation(call.budget(), "+", total, get(item));
  }
  return total;
}

/// What is left of the arguments when the first is taken away.
CallArgs without_first(const CallArgs& args) {
  CallArgs rest;
  rest.positional.assign(args.positional.begin() + 1, args.positional.end());
  rest.named = args.named;
  return rest;
}

Value map(const Call& call) {
  std::vector<Value> out;
  if (!truthy(call.value)) return make_iterator(call.budget(), {});
  if (call.args.positional.empty()) {
    const auto args = call.bound({"attribute", "default"}, 1);
    const AttributeGetter get(call.budget(), *args[0]);
    for (const Value& item : items_of(call.budget(), call.value)) out.push_back(get(item, args[1]));
  } else {
    const std::string& name = need_string(call.args.positional[0], "the filter of map");
    const CallArgs rest = without_first(call.args);
    for (const Value& item : items_of(call.budget(), call.value)) {
      out.push_back(apply_filter(call.runtime, name, item, rest));
    }
  }
  return make_iterator(call.budget(), std::move(out));
}

/// select, reject, selectattr, rejectattr.
Value choose(const Call& call, bool wanted, bool by_attribute) {
  std::vector<Value> out;
  if (!truthy(call.value)) return make_iterator(call.budget(), {});
  CallArgs args = call.args;
  Value attribute(None{});
  if (by_attribute) {
    if (args.positional.empty()) fail(fmt::format("'{}' lacks the attribute", call.name));
    attribute = args.positional[0];
    args = without_first(args);
  }
  const AttributeGetter get(call.budget(), attribute);
  std::optional<std::string> test;
  if (!args.positional.empty()) {
    test = need_string(args.positional[0], "the name of a test");
    args = without_first(args);
  }
  for (const Value& item : items_of(call.budget(), call.value)) {
    const Value value = get(item);
    const bool holds = test ? apply_test(call.runtime, *test, value, args) : truthy(value);
    if (holds == wanted) out.push_back(item);
  }
  return make_iterator(call.budget(), std::move(out));
}

Value default_filter(const Call& call) {
  const auto args = call.bound({"default_value", "boolean"});
  const bool replace_it = call.value.is_undefined() || (flag(args[1]) && !truthy(call.value));
  if (!replace_it) return call.value;
  return args[0] != nullptr ? *args[0] : Value(std::string());
}

Value to_json(const Call& call) {
  const auto args = call.bound({"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonOptions options;
  options.ensure_ascii = flag(args[0]);
  options.sort_keys = flag(args[3]);
  std::string indention;
  if (given(args[1])) {
    if (args[1]->is_string()) {
      indention = args[1]->string();
    } else {
      Text built(call.budget());
      for (std::int64_t n = need_integer(*args[1], "indent"); n > 0; --n) built.append(' ');
      indention = built.take();
    }
    options.indent = &indention;
    options.item_separator = std::string(1, ',');
  }
  if (given(args[2])) {
    const std::vector<Value> pair = items_of(call.budget(), *args[2]);
    if (pair.size() != 2) fail("'separators' are not two");
    options.item_separator = need_string(pair[0], "a separator");
    options.key_separator = need_string(pair[1], "a separator");
  }
  Text out(call.budget());
  append_json(out, call.value, options);
  return out.take();
}

struct NamedFilter {
  std::string_view name;
  Filter filter;
};

constexpr NamedFilter kFilters[] = {
    {"abs", absolute},
    {"capitalize", mapped<capitalize>},
    {"count", length_filter},
    {"d", default_filter},
    {"default", default_filter},
    {"dictsort", dictsort},
    {"e", escape},
    {"escape", escape},
    {"first", first},
    {"float", float_filter},
    {"forceescape", escape},
    {"indent", indent},
    {"int", int_filter},
    {"items", items_filter},
    {"join", join},
    {"last", last},
    {"length", length_filter},
    {"list", list_filter},
    {"lower", mapped<to_lower>},
    {"map", map},
    {"max", [](const Call& c) { return extreme(c, 1); }},
    {"min", [](const Call& c) { return extreme(c, -1); }},
    {"reject", [](const Call& c) { return choose(c, false, false); }},
    {"rejectattr", [](const Call& c) { return choose(c, false, true); }},
    {"replace", replace_filter},
    {"reverse", reverse},
    {"round", round_filter},
    {"safe", mapped<unchanged>},  // nothing is escaped by itself, so nothing needs marking
    {"select", [](const Call& c) { return choose(c, true, false); }},
    {"selectattr", [](const Call& c) { return choose(c, true, true); }},
    {"sort", sort},
    {"string", mapped<unchanged>},
    {"sum", sum},
    {"title", mapped<title>},
    {"tojson", to_json},
    {"trim", trim},
    {"unique", unique},
    {"upper", mapped<to_upper>},
};

const NamedFilter* find_filter(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kFilters), std::end(kFilters),
                                         [&](const NamedFilter& f) { return f.name == name; });
  return found == std::end(kFilters) ? nullptr : found;
}

}  // namespace

bool is_filter(std::string_view name) { return find_filter(name) != nullptr; }

Value apply_filter(Runtime& runtime, std::string_view name, const Value& operand,
                   const CallArgs& args) {
  const NamedFilter* found = find_filter(name);
  if (found == nullptr) unsupported(fmt::format("the filter '{}'", name));
  const Budget::Level level(runtime.budget);  // map('map', 'map', ...) nests
  runtime.budget.steps(1);
  return found->filter({runtime, name, operand, args});
}

}  // namespace onebit::text::jinja
