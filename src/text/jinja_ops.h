// What Python's operators and Jinja's lookups do with values. Every function that makes or walks
// data charges the budget.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja_budget.h"
#include "text/jinja_value.h"

namespace onebit::text::jinja {

/// A list, tuple, range or view of `items`.
Value make_sequence(Budget& budget, std::vector<Value> items,
                    Sequence::Type type = Sequence::Type::kList, std::string label = "");
Value make_dict(Budget& budget, std::vector<std::pair<Value, Value>> entries);
Value make_iterator(Budget& budget, std::vector<Value> items);
Value make_method(Budget& budget, const Value& self, std::string_view name);
Value make_text(Budget& budget, std::string_view text);
Value make_undefined(Budget& budget, std::string why);

/// A name as messages of undefined values quote it: they are made whether or not anyone reads them,
/// so that a long name is cut.
std::string_view quotable(std::string_view name);

/// An undefined value: `why` is "{}" with `name`, cut after 100 bytes, in its place.

/// Adds or replaces dict[key], as a dict literal does; a list or dict as key fails.
void set_entry(Budget& budget, std::vector<std::pair<Value, Value>>& entries, Value key,
               Value value);

/// str(value), as {{ value }} prints it.
void append_text(Text& out, const Value& value);
std::string to_text(Budget& budget, const Value& value);

/// a == b. Values of unlike types are unequal; an int equals the float of the same value.
bool equal(Budget& budget, const Value& a, const Value& b);

/// <0, 0, >0. Numbers, strings, lists and tuples have an order; anything else fails.
int compare(Budget& budget, const Value& a, const Value& b);

/// `item in container`.
bool contains(Budget& budget, const Value& container, const Value& item);

/// len(value); nothing for what has no length.
std::optional<std::int64_t> length_of(const Value& value);

/// list(value): a string's characters, a dict's keys; an iterator is used up. Fails for what cannot
/// be iterated.
std::vector<Value> items_of(Budget& budget, const Value& value);

/// object.name, object[key] and object[start:stop:step] (null: left out): undefined when it is not
/// there; fails on undefined objects.
Value get_attribute(Budget& budget, const Value& object, std::string_view name);
Value get_item(Budget& budget, const Value& object, const Value& key);
Value get_slice(Budget& budget, const Value& object, const Value& start, const Value& stop,
                const Value& step);

/// dict[key], or null.
const Value* find_entry(Budget& budget, const Dict& dict, const Value& key);

/// + - * / // % **
Value binary_operation(Budget& budget, std::string_view op, const Value& a, const Value& b);
Value negate(const Value& value);

/// Fails unless the value is of that type; `what` names it in the message.
const std::string& need_string(const Value& value, std::string_view what);
std::int64_t need_integer(const Value& value, std::string_view what);

/// Attributes of a loop variable (jinja_eval.cc), undefined when there is none of that name.
Value loop_attribute(Budget& budget, const Value& loop, std::string_view name);

}  // namespace onebit::text::jinja
