// Follows jinja2/tests.py (3.1.6).
#include "text/jinja_tests.h"

#include <algorithm>
#include <fmt/format.h>

#include "text/jinja_error.h"
#include "text/jinja_filters.h"
#include "text/jinja_ops.h"
#include "text/jinja_text_ops.h"

namespace onebit::text::jinja {
namespace {

struct Call {
  Runtime& runtime;
  std::string_view name;
  const Value& value;
  const CallArgs& args;

  /// The only argument.
  const Value& other() const { return *bind(name, args, {"other"}, 1)[0]; }
};

using Test = bool (*)(const Call&);

template <Kind kind>
bool is_kind(const Call& call) {
  return call.value.is(kind);
}

bool same_object(Budget& budget, const Value& a, const Value& b) {
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kUndefined:  // each use of a missing name makes a new object
      return false;
    case Kind::kNone:
      return true;
    case Kind::kBool:
    case Kind::kInt:
      return a.integer() == b.integer();
    case Kind::kFloat:
      return a.real() == b.real();
    case Kind::kString:  // Python shares some equal strings and not others
      budget.steps(a.string().size() / 64);
      return a.string() == b.string();
    default:
      return a.identity() == b.identity();
  }
}

bool has_length_and_items(const Value& value) {
  return value.is_undefined() || value.is_string() || value.is(Kind::kDict) ||
         (value.is(Kind::kSequence) && value.sequence().type != Sequence::Type::kView);
}

bool iterable(const Value& value) {
  return has_length_and_items(value) || value.is(Kind::kSequence) || value.is(Kind::kIterator) ||
         value.is(Kind::kLoop);
}

bool callable(const Value& value) {
  return value.is_undefined() || value.is(Kind::kMacro) || value.is(Kind::kMethod) ||
         value.is(Kind::kFunction) || value.is(Kind::kLoop);
}

bool divisible(const Call& call, std::int64_t by) {
  const Value rest = binary_operation(call.runtime.budget, "%", call.value, Value(by));
  return !truthy(rest);
}

int order(const Call& call) { return compare(call.runtime.budget, call.value, call.other()); }
bool equals(const Call& call) { return equal(call.runtime.budget, call.value, call.other()); }
bool differs(const Call& call) { return !equals(call); }
bool greater(const Call& call) { return order(call) > 0; }
bool greater_equal(const Call& call) { return order(call) >= 0; }
bool less(const Call& call) { return order(call) < 0; }
bool less_equal(const Call& call) { return order(call) <= 0; }

struct NamedTest {
  std::string_view name;
  Test test;
};

constexpr NamedTest kTests[] = {
    {"!=", differs},
    {"<", less},
    {"<=", less_equal},
    {"==", equals},
    {">", greater},
    {">=", greater_equal},
    {"boolean", is_kind<Kind::kBool>},
    {"callable", [](const Call& c) { return callable(c.value); }},
    {"defined", [](const Call& c) { return !c.value.is_undefined(); }},
    {"divisibleby",
     [](const Call& c) {
       return divisible(c, need_integer(c.other(), "the argument of divisibleby"));
     }},
    {"eq", equals},
    {"equalto", equals},
    {"even", [](const Call& c) { return divisible(c, 2); }},
    {"false", [](const Call& c) { return c.value.is(Kind::kBool) && !c.value.boolean(); }},
    {"filter", [](const Call& c) { return c.value.is_string() && is_filter(c.value.string()); }},
    {"float", is_kind<Kind::kFloat>},
    {"ge", greater_equal},
    {"greaterthan", greater},
    {"gt", greater},
    {"in", [](const Call& c) { return contains(c.runtime.budget, c.other(), c.value); }},
    {"integer", is_kind<Kind::kInt>},
    {"iterable", [](const Call& c) { return iterable(c.value); }},
    {"le", less_equal},
    {"lessthan", less},
    {"lower", [](const Call& c) { return is_lower(to_text(c.runtime.budget, c.value)); }},
    {"lt", less},
    {"mapping", is_kind<Kind::kDict>},
    {"ne", differs},
    {"none", is_kind<Kind::kNone>},
    {"number", [](const Call& c) { return c.value.is_number(); }},
    {"odd",
     [](const Call& c) {
       return equal(c.runtime.budget,
                    binary_operation(c.runtime.budget, "%", c.value, Value(std::int64_t{2})),
                    Value(std::int64_t{1}));
     }},
    {"sameas", [](const Call& c) { return same_object(c.runtime.budget, c.value, c.other()); }},
    {"sequence", [](const Call& c) { return has_length_and_items(c.value); }},
    {"string", is_kind<Kind::kString>},
    {"test", [](const Call& c) { return c.value.is_string() && is_test(c.value.string()); }},
    {"true", [](const Call& c) { return c.value.is(Kind::kBool) && c.value.boolean(); }},
    {"undefined", [](const Call& c) { return c.value.is_undefined(); }},
    {"upper", [](const Call& c) { return is_upper(to_text(c.runtime.budget, c.value)); }},
};

const NamedTest* find_test(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kTests), std::end(kTests),
                                         [&](const NamedTest& t) { return t.name == name; });
  return found == std::end(kTests) ? nullptr : found;
}

constexpr std::string_view kTakeAnArgument[] = {
    "!=", "<",  "<=", "==", ">",  ">=",          "divisibleby", "eq",       "equalto",
    "ge", "gt", "in", "le", "lt", "greaterthan", "ne",          "lessthan", "sameas"};

}  // namespace

bool is_test(std::string_view name) { return find_test(name) != nullptr; }

bool apply_test(Runtime& runtime, std::string_view name, const Value& operand,
                const CallArgs& args) {
  const NamedTest* found = find_test(name);
  if (found == nullptr) unsupported(fmt::format("the test '{}'", name));
  if (std::find(std::begin(kTakeAnArgument), std::end(kTakeAnArgument), name) ==
      std::end(kTakeAnArgument)) {
    bind(name, args, {});
  }
  runtime.budget.steps(1);
  return found->test({runtime, name, operand, args});
}

}  // namespace onebit::text::jinja
