// Python's operators on Value.
#include "text/jinja_ops.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <limits>

#include "text/jinja_error.h"
#include "text/jinja_methods.h"
#include "text/jinja_unicode.h"

namespace onebit::text::jinja {
namespace {

constexpr std::uint64_t kValueBytes = sizeof(Value);
constexpr std::uint64_t kTextBytes = 64;  // a string's own object and its shared count

bool is_list_or_tuple(const Value& value) {
  return value.is(Kind::kSequence) && (value.sequence().type == Sequence::Type::kList ||
                                       value.sequence().type == Sequence::Type::kTuple);
}

bool same_type(const Value& a, const Value& b) { return a.sequence().type == b.sequence().type; }

[[noreturn]] void wrong_operands(std::string_view op, const Value& a, const Value& b) {
  for (const Value* value : {&a, &b}) {
    if (value->is_undefined()) fail(value->why_undefined());
  }
  fail(fmt::format("'{}' does not take {} and {}", op, type_name(a), type_name(b)));
}

void append_repr(Text& out, const Value& value) {
  if (value.is_string()) {
    const char mark = quote_mark(value.string());
    out.append(mark);
    for (const Character& c : Characters(value.string())) out.append(quoted(c, mark));
    out.append(mark);
  } else if (value.is_undefined()) {
    out.append("Undefined");
  } else {
    append_text(out, value);
  }
}

void append_items(Text& out, const std::vector<Value>& items) {
  bool first = true;
  for (const Value& item : items) {
    if (!std::exchange(first, false)) out.append(", ");
    append_repr(out, item);
  }
}

void append_sequence(Text& out, const Sequence& sequence) {
  switch (sequence.type) {
    case Sequence::Type::kRange:
      out.append(sequence.label);
      return;
    case Sequence::Type::kTuple:
      out.append('(');
      append_items(out, sequence.items);
      out.append(sequence.items.size() == 1 ? ",)" : ")");
      return;
    case Sequence::Type::kList:
      out.append('[');
      append_items(out, sequence.items);
      out.append(']');
      return;
    case Sequence::Type::kView:
      out.append(sequence.label);
      out.append("([");
      append_items(out, sequence.items);
      out.append("])");
      return;
  }
}

void append_dict(Text& out, const Dict& dict) {
  out.append('{');
  bool first = true;
  for (const auto& [key, value] : dict.entries) {
    if (!std::exchange(first, false)) out.append(", ");
    append_repr(out, key);
    out.append(": ");
    append_repr(out, value);
  }
  out.append('}');
}

/// An int against a float, without rounding the int.
int compare_int_float(std::int64_t a, double b) {
  if (b >= 0x1p63) return -1;
  if (b < -0x1p63) return 1;
  const double whole = std::trunc(b);
  const auto whole_int = static_cast<std::int64_t>(whole);
  if (a != whole_int) return a < whole_int ? -1 : 1;
  return b > whole ? -1 : (b < whole ? 1 : 0);
}

/// Neither is NaN.
int compare_numbers(const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) {
    return a.integer() < b.integer() ? -1 : (a.integer() > b.integer() ? 1 : 0);
  }
  if (a.is_integral()) return compare_int_float(a.integer(), b.real());
  if (b.is_integral()) return -compare_int_float(b.integer(), a.real());
  return a.real() < b.real() ? -1 : (a.real() > b.real() ? 1 : 0);
}

bool is_nan(const Value& value) { return value.is(Kind::kFloat) && std::isnan(value.real()); }

bool equal_items(Budget& budget, const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(),
                    [&](const Value& x, const Value& y) { return equal(budget, x, y); });
}

bool equal_dicts(Budget& budget, const Dict& a, const Dict& b) {
  if (a.entries.size() != b.entries.size()) return false;
  return std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
    const Value* other = find_entry(budget, b, entry.first);
    return other != nullptr && equal(budget, entry.second, *other);
  });
}

Value repeat(Budget& budget, const Value& value, std::int64_t count) {
  if (value.is_string()) {
    Text out(budget);
    if (!value.string().empty()) {
      for (std::int64_t i = 0; i < count; ++i) {
        budget.steps(1);
        out.append(value.string());
      }
    }
    return out.take();
  }
  std::vector<Value> items;
  const std::vector<Value>& once = value.sequence().items;
  if (!once.empty()) {
    for (std::int64_t i = 0; i < count; ++i) {
      budget.bytes(once.size() * kValueBytes);
      items.insert(items.end(), once.begin(), once.end());
    }
  }
  return make_sequence(budget, std::move(items), value.sequence().type);
}

Value add_values(Budget& budget, const Value& a, const Value& b) {
  if (a.is_string() && b.is_string()) {
    Text out(budget);
    out.append(a.string());
    out.append(b.string());
    return out.take();
  }
  if (is_list_or_tuple(a) && is_list_or_tuple(b) && same_type(a, b)) {
    std::vector<Value> items = items_of(budget, a);
    std::vector<Value> more = items_of(budget, b);
    items.insert(items.end(), more.begin(), more.end());
    return make_sequence(budget, std::move(items), a.sequence().type);
  }
  wrong_operands("+", a, b);
}

[[noreturn]] void too_large() { unsupported("an integer beyond 64 bits"); }

std::int64_t floor_divide(std::int64_t a, std::int64_t b) {
  if (a == std::numeric_limits<std::int64_t>::min() && b == -1) too_large();
  const std::int64_t quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

std::int64_t modulo(std::int64_t a, std::int64_t b) {
  if (b == -1) return 0;
  const std::int64_t rest = a % b;
  return rest != 0 && (rest < 0) != (b < 0) ? rest + b : rest;
}

/// float_divmod of CPython: the quotient is floored, the rest has the divisor's sign.
std::pair<double, double> divide_floats(double a, double b) {
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0) {
    if ((b < 0) != (rest < 0)) {
      rest += b;
      quotient -= 1;
    }
  } else {
    rest = std::copysign(0.0, b);
  }
  if (quotient == 0) return {std::copysign(0.0, a / b), rest};
  double floored = std::floor(quotient);
  if (quotient - floored > 0.5) floored += 1;
  return {floored, rest};
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == 0) fail("0 to a negative power");
    return std::pow(static_cast<double>(base), static_cast<double>(exponent));
  }
  if (base == 1 || base == 0 || base == -1) {  // else 64 rounds are enough to overflow
    if (exponent == 0) return std::int64_t{1};
    return base == -1 && exponent % 2 == 0 ? std::int64_t{1} : base;
  }
  std::int64_t result = 1;
  for (; exponent > 0; --exponent) {
    if (__builtin_mul_overflow(result, base, &result)) too_large();
  }
  return result;
}

Value integer_operation(std::string_view op, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+") {
    overflow = __builtin_add_overflow(a, b, &result);
  } else if (op == "-") {
    overflow = __builtin_sub_overflow(a, b, &result);
  } else if (op == "*") {
    overflow = __builtin_mul_overflow(a, b, &result);
  } else if (op == "**") {
    return integer_power(a, b);
  } else {
    if (b == 0) fail("division by zero");
    if (op == "/") return static_cast<double>(a) / static_cast<double>(b);
    result = op == "//" ? floor_divide(a, b) : modulo(a, b);
  }
  if (overflow) too_large();
  return result;
}

Value float_operation(std::string_view op, double a, double b) {
  if (op == "+") return a + b;
  if (op == "-") return a - b;
  if (op == "*") return a * b;
  if (op == "**") {
    if (a == 0 && b < 0) fail("0 to a negative power");
    if (a < 0 && std::isfinite(b) && b != std::floor(b)) unsupported("a complex number");
    return std::pow(a, b);
  }
  if (b == 0) fail("division by zero");
  if (op == "/") return a / b;
  const auto [quotient, rest] = divide_floats(a, b);
  return op == "//" ? quotient : rest;
}

/// A dict may not be keyed by what changes; and a list by Python's choice.
bool hashable(const Value& key) {
  if (key.is(Kind::kDict)) return false;
  if (!key.is(Kind::kSequence)) return true;
  const Sequence& sequence = key.sequence();
  if (sequence.type == Sequence::Type::kRange) return true;
  return sequence.type == Sequence::Type::kTuple &&
         std::all_of(sequence.items.begin(), sequence.items.end(), hashable);
}

/// An index into `size` items with Python's negative indices; nothing when out of range.
std::optional<std::size_t> position_of(std::int64_t index, std::int64_t size) {
  if (index < 0) index += size;
  if (index < 0 || index >= size) return std::nullopt;
  return static_cast<std::size_t>(index);
}

/// Characters from, from + by ... up to but without `to`, all inside the text.
Value slice_text(Budget& budget, std::string_view text, std::int64_t from, std::int64_t to,
                 std::int64_t by) {
  const Characters all(text);
  Text out(budget);
  if (by > 0) {
    std::int64_t index = 0;
    for (const Character& c : all) {
      if (index >= to) break;
      if (index >= from && (index - from) % by == 0) out.append(c.bytes);
      ++index;
    }
    return out.take();
  }
  budget.bytes(text.size() * sizeof(Character));
  const std::vector<Character> list(all.begin(), all.end());
  for (std::int64_t i = from; i > to;) {
    out.append(list[static_cast<std::size_t>(i)].bytes);
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  return out.take();
}

Value missing(Budget& budget, const Value& object, std::string_view name) {
  return make_undefined(
      budget, fmt::format("'{} object' has no attribute '{}'", type_name(object), quotable(name)));
}

/// Attributes of Python's types beside methods that a template could reach: never by accident.
bool is_number_attribute(std::string_view name) {
  constexpr std::array kNames = {"real",      "imag",       "numerator",  "denominator",
                                 "conjugate", "bit_length", "bit_count",  "as_integer_ratio",
                                 "to_bytes",  "from_bytes", "is_integer", "hex",
                                 "fromhex"};
  return std::find(kNames.begin(), kNames.end(), name) != kNames.end();
}

/// What getattr(object, name) finds for a built-in type, or nothing.
std::optional<Value> python_attribute(Budget& budget, const Value& object, std::string_view name) {
  if (name.starts_with("__")) return missing(budget, object, name);  // the sandbox hides these
  switch (find_method(object, name)) {
    case MethodKind::kCallable:
      return make_method(budget, object, name);
    case MethodKind::kForbidden:
      return make_undefined(budget, fmt::format("'{}' would change a {}, which the sandbox forbids",
                                                name, type_name(object)));
    case MethodKind::kUnsupported:
      unsupported(fmt::format("the attribute '{}' of a {}", name, type_name(object)));
    case MethodKind::kNone:
      break;
  }
  if (object.is(Kind::kNamespace)) {
    const Value* found = find_named(budget, object.name_space().attributes, name);
    if (found != nullptr) return *found;
  }
  if (object.is(Kind::kLoop)) return loop_attribute(budget, object, name);
  if (object.is(Kind::kMacro)) unsupported(fmt::format("the attribute '{}' of a macro", name));
  if (object.is_number() && is_number_attribute(name)) {
    unsupported(fmt::format("the attribute '{}' of a number", name));
  }
  return std::nullopt;
}

}  // namespace

Value make_sequence(Budget& budget, std::vector<Value> items, Sequence::Type type,
                    std::string label) {
  budget.bytes(64 + items.size() * kValueBytes);
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, depth_of(item));
  const int depth = budget.container_depth(deepest);
  return std::make_shared<const Sequence>(
      Sequence{type, std::move(items), std::move(label), depth});
}

Value make_dict(Budget& budget, std::vector<std::pair<Value, Value>> entries) {
  budget.bytes(64 + entries.size() * 2 * kValueBytes);
  int deepest = 0;
  for (const auto& [key, value] : entries) {
    deepest = std::max({deepest, depth_of(key), depth_of(value)});
  }
  const int depth = budget.container_depth(deepest);
  return std::make_shared<const Dict>(Dict{std::move(entries), depth});
}

Value make_iterator(Budget& budget, std::vector<Value> items) {
  budget.bytes(64 + items.size() * kValueBytes);
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, depth_of(item));
  const int depth = budget.container_depth(deepest);
  return std::make_shared<Iterator>(Iterator{std::move(items), 0, depth});
}

Value make_method(Budget& budget, const Value& self, std::string_view name) {
  budget.bytes(64);
  const int depth = budget.container_depth(depth_of(self));
  return std::make_shared<const Method>(Method{self, std::string(name), depth});
}

Value make_text(Budget& budget, std::string_view text) {
  budget.bytes(kTextBytes + text.size());
  return std::string(text);
}

Value make_undefined(Budget& budget, std::string why) {
  budget.bytes(kTextBytes + why.size());
  return Value::undefined(std::move(why));
}

std::string_view quotable(std::string_view name) { return beginning(name, 100); }

void set_entry(Budget& budget, std::vector<std::pair<Value, Value>>& entries, Value key,
               Value value) {
  if (!hashable(key)) fail(fmt::format("a {} cannot be the key of a dict", type_name(key)));
  for (auto& [old_key, old_value] : entries) {
    if (equal(budget, old_key, key)) {
      old_value = std::move(value);
      return;
    }
  }
  entries.emplace_back(std::move(key), std::move(value));
}

void append_text(Text& out, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return;
    case Kind::kNone:
      return out.append("None");
    case Kind::kBool:
      return out.append(value.boolean() ? "True" : "False");
    case Kind::kInt:
      return out.append(fmt::to_string(value.integer()));
    case Kind::kFloat:
      return out.append(float_text(value.real()));
    case Kind::kString:
      return out.append(value.string());
    case Kind::kSequence:
      return append_sequence(out, value.sequence());
    case Kind::kDict:
      return append_dict(out, value.dict());
    default:
      // Python prints an address, which no template wants.
      unsupported(fmt::format("printing a {}", type_name(value)));
  }
}

std::string to_text(Budget& budget, const Value& value) {
  Text out(budget);
  append_text(out, value);
  return out.take();
}

bool equal(Budget& budget, const Value& a, const Value& b) {
  budget.steps(1);
  if (a.is_number() && b.is_number()) {
    return !is_nan(a) && !is_nan(b) && compare_numbers(a, b) == 0;
  }
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return true;
    case Kind::kString:
      budget.steps(a.string().size() / 64);
      return a.string() == b.string();
    case Kind::kSequence:
      if (!same_type(a, b)) return false;
      if (a.sequence().type == Sequence::Type::kView) unsupported("comparing views of a dict");
      return equal_items(budget, a.sequence().items, b.sequence().items);
    case Kind::kDict:
      return equal_dicts(budget, a.dict(), b.dict());
    case Kind::kFunction:
      return a.function().name == b.function().name;
    case Kind::kMethod:
      return a.method().name == b.method().name && a.method().self.identity() != nullptr &&
             a.method().self.identity() == b.method().self.identity();
    default:
      return a.identity() == b.identity();
  }
}

int compare(Budget& budget, const Value& a, const Value& b) {
  budget.steps(1);
  if (a.is_number() && b.is_number()) {
    if (is_nan(a) || is_nan(b)) unsupported("ordering NaN");
    return compare_numbers(a, b);
  }
  if (a.is_string() && b.is_string()) {  // UTF-8 bytes are ordered as code points are
    budget.steps(std::min(a.string().size(), b.string().size()) / 64);
    return a.string().compare(b.string());
  }
  if (!is_list_or_tuple(a) || !is_list_or_tuple(b) || !same_type(a, b)) wrong_operands("<", a, b);
  const std::vector<Value>& left = a.sequence().items;
  const std::vector<Value>& right = b.sequence().items;
  for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    if (!equal(budget, left[i], right[i])) return compare(budget, left[i], right[i]);
  }
  return left.size() < right.size() ? -1 : (left.size() > right.size() ? 1 : 0);
}

bool contains(Budget& budget, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString: {
      if (!item.is_string()) wrong_operands("in", item, container);
      budget.search(container.string().size(), item.string().size());
      return container.string().find(item.string()) != std::string::npos;
    }
    case Kind::kDict:
      if (!hashable(item)) fail(fmt::format("a {} cannot be the key of a dict", type_name(item)));
      return find_entry(budget, container.dict(), item) != nullptr;
    case Kind::kUndefined:
      return false;
    case Kind::kIterator: {  // looks only as far as the item
      Iterator& iterator = container.iterator();
      while (iterator.next < iterator.items.size()) {
        if (equal(budget, iterator.items[iterator.next++], item)) return true;
      }
      return false;
    }
    case Kind::kSequence: {
      const std::vector<Value>& items = container.sequence().items;
      return std::any_of(items.begin(), items.end(),
                         [&](const Value& other) { return equal(budget, other, item); });
    }
    default:
      fail(fmt::format("'in' does not take a {}", type_name(container)));
  }
}

std::optional<std::int64_t> length_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return 0;
    case Kind::kString:
      return length(value.string());
    case Kind::kSequence:
      return static_cast<std::int64_t>(value.sequence().items.size());
    case Kind::kDict:
      return static_cast<std::int64_t>(value.dict().entries.size());
    default:
      return std::nullopt;
  }
}

std::vector<Value> items_of(Budget& budget, const Value& value) {
  std::vector<Value> items;
  switch (value.kind()) {
    case Kind::kUndefined:
      return items;
    case Kind::kString:
      for (const Character& c : Characters(value.string())) {
        items.push_back(make_text(budget, c.bytes));
      }
      return items;
    case Kind::kSequence:
      budget.bytes(value.sequence().items.size() * kValueBytes);
      return value.sequence().items;
    case Kind::kDict:
      budget.bytes(value.dict().entries.size() * kValueBytes);
      for (const auto& entry : value.dict().entries) items.push_back(entry.first);
      return items;
    case Kind::kIterator: {
      Iterator& iterator = value.iterator();
      const auto first = iterator.items.begin() + static_cast<std::ptrdiff_t>(iterator.next);
      items.assign(first, iterator.items.end());
      iterator.next = iterator.items.size();
      budget.bytes(items.size() * kValueBytes);
      return items;
    }
    default:
      fail(fmt::format("a {} cannot be iterated over", type_name(value)));
  }
}

const Value* find_entry(Budget& budget, const Dict& dict, const Value& key) {
  for (const auto& [other, value] : dict.entries) {
    if (equal(budget, other, key)) return &value;
  }
  return nullptr;
}

Value get_attribute(Budget& budget, const Value& object, std::string_view name) {
  if (object.is_undefined()) fail(object.why_undefined());
  if (std::optional<Value> found = python_attribute(budget, object, name)) return *found;
  if (object.is(Kind::kDict)) {
    budget.steps(object.dict().entries.size());
    for (const auto& [key, value] : object.dict().entries) {
      if (!key.is_string() || key.string().size() != name.size()) continue;
      budget.steps(name.size() / 64);
      if (key.string() == name) return value;
    }
  }
  return missing(budget, object, name);
}

Value get_item(Budget& budget, const Value& object, const Value& key) {
  if (object.is_undefined()) fail(object.why_undefined());
  if (object.is(Kind::kDict)) {
    const Value* found = hashable(key) ? find_entry(budget, object.dict(), key) : nullptr;
    if (found != nullptr) return *found;
  } else if (key.is_integral() && object.is(Kind::kSequence) &&
             object.sequence().type != Sequence::Type::kView) {
    const std::vector<Value>& items = object.sequence().items;
    const auto position = position_of(key.integer(), static_cast<std::int64_t>(items.size()));
    if (position) return items[*position];
  } else if (key.is_integral() && object.is_string()) {
    budget.steps(object.string().size() / 16);
    const auto position = position_of(key.integer(), length(object.string()));
    if (position) {
      const Characters all(object.string());
      const Character c = *std::next(all.begin(), static_cast<std::ptrdiff_t>(*position));
      return make_text(budget, c.bytes);
    }
  }
  if (key.is_string()) {
    std::optional<Value> found = python_attribute(budget, object, key.string());
    return found ? *found : missing(budget, object, key.string());
  }
  return make_undefined(budget, fmt::format("{} object has no element {}", type_name(object),
                                            quotable(to_text(budget, key))));
}

Value get_slice(Budget& budget, const Value& object, const Value& start, const Value& stop,
                const Value& step) {
  if (object.is_undefined()) fail(object.why_undefined());
  const bool sliceable = object.is_string() || (object.is(Kind::kSequence) &&
                                                object.sequence().type != Sequence::Type::kView);
  if (!sliceable) fail(fmt::format("a {} cannot be sliced", type_name(object)));
  if (object.is(Kind::kSequence) && object.sequence().type == Sequence::Type::kRange) {
    unsupported("slicing a range");
  }
  const auto bound = [](const Value& value, std::string_view what) -> std::optional<std::int64_t> {
    if (value.is_none()) return std::nullopt;
    return need_integer(value, what);
  };
  const std::int64_t by = bound(step, "the step of a slice").value_or(1);
  if (by == 0) fail("the step of a slice is 0");

  if (object.is_string()) budget.steps(object.string().size() / 16);
  const std::int64_t size = object.is_string()
                                ? length(object.string())
                                : static_cast<std::int64_t>(object.sequence().items.size());
  // PySlice_AdjustIndices
  const auto clamp = [&](std::optional<std::int64_t> index, std::int64_t other) {
    if (!index) return other;
    const std::int64_t low = by < 0 ? -1 : 0;
    const std::int64_t high = by < 0 ? size - 1 : size;
    const std::int64_t value = *index < 0 ? *index + size : *index;
    return std::clamp(value, low, high);
  };
  const std::int64_t from = clamp(bound(start, "the start of a slice"), by < 0 ? size - 1 : 0);
  const std::int64_t to = clamp(bound(stop, "the end of a slice"), by < 0 ? -1 : size);
  if (object.is_string()) return slice_text(budget, object.string(), from, to, by);
  std::vector<Value> items;
  for (std::int64_t i = from; by < 0 ? i > to : i < to;) {
    items.push_back(object.sequence().items[static_cast<std::size_t>(i)]);
    if (__builtin_add_overflow(i, by, &i)) break;
  }
  return make_sequence(budget, std::move(items), object.sequence().type);
}

Value binary_operation(Budget& budget, std::string_view op, const Value& a, const Value& b) {
  if (a.is_integral() && b.is_integral()) return integer_operation(op, a.integer(), b.integer());
  if (a.is_number() && b.is_number()) return float_operation(op, a.number(), b.number());
  if (op == "+") return add_values(budget, a, b);
  if (op == "*") {
    const auto repeatable = [](const Value& v) { return v.is_string() || is_list_or_tuple(v); };
    if (repeatable(a) && b.is_integral()) return repeat(budget, a, b.integer());
    if (repeatable(b) && a.is_integral()) return repeat(budget, b, a.integer());
  }
  if (op == "%" && a.is_string()) unsupported("formatting a string with '%'");
  wrong_operands(op, a, b);
}

Value negate(const Value& value) {
  if (value.is(Kind::kFloat)) return -value.real();
  if (!value.is_integral()) {
    if (value.is_undefined()) fail(value.why_undefined());
    fail(fmt::format("'-' does not take a {}", type_name(value)));
  }
  if (value.integer() == std::numeric_limits<std::int64_t>::min()) too_large();
  return -value.integer();
}

const std::string& need_string(const Value& value, std::string_view what) {
  if (value.is_undefined()) fail(value.why_undefined());
  if (!value.is_string()) fail(fmt::format("{} is a {}, expected a str", what, type_name(value)));
  return value.string();
}

std::int64_t need_integer(const Value& value, std::string_view what) {
  if (value.is_undefined()) fail(value.why_undefined());
  if (!value.is_integral()) {
    fail(fmt::format("{} is a {}, expected an int", what, type_name(value)));
  }
  return value.integer();
}

}  // namespace onebit::text::jinja
