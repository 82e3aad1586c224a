// The values a chat template computes with: Python's, as far as Jinja lets a template see them.
// Containers are immutable once made (transformers' sandbox forbids changing them), so values
// share freely; only namespaces, iterators and loops have state.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace onebit::text::jinja {

class Value;
struct Sequence;
struct Dict;
struct Namespace;
struct Iterator;
struct Loop;
struct Macro;
struct Method;
struct Function;

/// What a missing name or attribute gives: prints as "", is false, iterates as empty; every other
/// use fails with `why`.
struct Undefined {
  std::shared_ptr<const std::string> why;
};
struct None {};

/// In the order of Value's variant.
enum class Kind {
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kSequence,
  kDict,
  kNamespace,
  kIterator,
  kLoop,
  kMacro,
  kMethod,
  kFunction,
};

class Value {
 public:
  Value() = default;  ///< undefined, without a reason

  // NOLINTBEGIN(google-explicit-constructor): each is one kind of value, and `return true` reads
  // best
  Value(None) : data_(None{}) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::shared_ptr<const Sequence> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Dict> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Namespace> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Iterator> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<Loop> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Macro> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Method> value) : data_(std::move(value)) {}
  Value(std::shared_ptr<const Function> value) : data_(std::move(value)) {}
  Value(const char*) = delete;  // would become a bool
  // NOLINTEND(google-explicit-constructor)

  static Value undefined(std::string why) {
    Value value;
    value.data_ = Undefined{std::make_shared<const std::string>(std::move(why))};
    return value;
  }

  Kind kind() const noexcept { return static_cast<Kind>(data_.index()); }
  bool is(Kind kind) const noexcept { return this->kind() == kind; }
  bool is_undefined() const noexcept { return is(Kind::kUndefined); }
  bool is_none() const noexcept { return is(Kind::kNone); }
  bool is_string() const noexcept { return is(Kind::kString); }
  /// Python's bool is an int.
  bool is_integral() const noexcept { return is(Kind::kInt) || is(Kind::kBool); }
  bool is_number() const noexcept { return is_integral() || is(Kind::kFloat); }

  bool boolean() const { return std::get<bool>(data_); }
  double real() const { return std::get<double>(data_); }
  const std::string& string() const { return *std::get<std::shared_ptr<const std::string>>(data_); }
  const Sequence& sequence() const { return *std::get<std::shared_ptr<const Sequence>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  Namespace& name_space() const { return *std::get<std::shared_ptr<Namespace>>(data_); }
  Iterator& iterator() const { return *std::get<std::shared_ptr<Iterator>>(data_); }
  Loop& loop() const { return *std::get<std::shared_ptr<Loop>>(data_); }
  const Macro& macro() const { return *std::get<std::shared_ptr<const Macro>>(data_); }
  const Method& method() const { return *std::get<std::shared_ptr<const Method>>(data_); }
  const Function& function() const { return *std::get<std::shared_ptr<const Function>>(data_); }
  /// Why it is undefined, for messages.
  std::string why_undefined() const;

  /// An int, or a bool as 0 or 1.
  std::int64_t integer() const {
    return is(Kind::kBool) ? std::int64_t{boolean()} : std::get<std::int64_t>(data_);
  }
  /// Any number as a double.
  double number() const { return is(Kind::kFloat) ? real() : static_cast<double>(integer()); }

  /// The address of what a reference kind refers to (for `is sameas`); null for the others.
  const void* identity() const noexcept;

 private:
  std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
               std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
               std::shared_ptr<Namespace>, std::shared_ptr<Iterator>, std::shared_ptr<Loop>,
               std::shared_ptr<const Macro>, std::shared_ptr<const Method>,
               std::shared_ptr<const Function>>
      data_;
};

struct Sequence {
  enum class Type { kList, kTuple, kRange, kView };

  Type type = Type::kList;
  std::vector<Value> items;
  std::string label;  ///< kRange: its text, "range(0, 3)"; kView: "dict_items", ...
  int depth = 1;      ///< 1 + the deepest item's
};

/// In order of insertion. Found by scanning: a template's dictionaries are small, and the steps
/// are counted (Budget).
struct Dict {
  std::vector<std::pair<Value, Value>> entries;
  int depth = 1;
};

/// namespace(): the one thing a template may change.
struct Namespace {
  std::vector<std::pair<std::string, Value>> attributes;
};

/// What map, select, items ... give: Python's generator. True, without a length, usable once.
struct Iterator {
  std::vector<Value> items;
  std::size_t next = 0;
  int depth = 1;
};

/// A method taken from a value: "abc".upper.
struct Method {
  Value self;
  std::string name;
  int depth = 1;
};

/// A global function: range, namespace, ...
struct Function {
  std::string name;
};

/// Python's name of the type, for messages: "str", "dict", ...
std::string_view type_name(const Value& value);

/// How deep the value nests; a scalar is 0.
int depth_of(const Value& value);

/// Python's bool(value).
bool truthy(const Value& value);

}  // namespace onebit::text::jinja
