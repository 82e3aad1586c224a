// Methods as in CPython's str, dict and list.
#include "text/jinja_methods.h"

#include <algorithm>
#include <fmt/format.h>
#include <functional>

#include "text/jinja_error.h"
#include "text/jinja_ops.h"
#include "text/jinja_text_ops.h"
#include "text/jinja_unicode.h"

namespace onebit::text::jinja {
namespace {

/// One method call on a string.
struct StringCall {
  Budget& budget;
  std::string_view name;
  const std::string& self;
  const CallArgs& args;

  std::vector<const Value*> bound(std::initializer_list<std::string_view> parameters,
                                  std::size_t required = 0) const {
    return bind(name, args, parameters, required);
  }
};

using StringMethod = Value (*)(const StringCall&);

bool given(const Value* value) { return value != nullptr && !value->is_none(); }

Value strip_call(const StringCall& call, bool left, bool right) {
  const auto args = call.bound({"chars"});
  std::optional<std::string_view> set;
  if (given(args[0])) set = need_string(*args[0], "the argument of strip");
  call.budget.steps(call.self.size() * (set ? set->size() + 1 : 1) / 16);
  return make_text(call.budget, strip(call.self, set, left, right));
}

Value split_call(const StringCall& call, bool from_right) {
  const auto args = call.bound({"sep", "maxsplit"});
  std::optional<std::string_view> separator;
  if (given(args[0])) separator = need_string(*args[0], "the separator of split");
  const std::int64_t limit = args[1] != nullptr ? need_integer(*args[1], "maxsplit") : -1;
  std::vector<Value> parts;
  for (const std::string_view part : from_right
                                         ? split_right(call.budget, call.self, separator, limit)
                                         : split(call.budget, call.self, separator, limit)) {
    parts.push_back(make_text(call.budget, part));
  }
  return make_sequence(call.budget, std::move(parts));
}

/// startswith and endswith: one string, or a tuple of which any may fit.
Value affix_call(const StringCall& call, bool (*fits)(std::string_view, std::string_view)) {
  const auto args = call.bound({"affix", "start", "end"}, 1);
  if (args[1] != nullptr || args[2] != nullptr) {
    unsupported(fmt::format("'{}' with a start or an end", call.name));
  }
  const Value& affix = *args[0];
  if (!affix.is(Kind::kSequence) || affix.sequence().type != Sequence::Type::kTuple) {
    return fits(call.self, need_string(affix, "the argument of " + std::string(call.name)));
  }
  for (const Value& one : affix.sequence().items) {
    call.budget.steps(1);
    if (fits(call.self, need_string(one, "the argument of " + std::string(call.name)))) return true;
  }
  return false;
}

/// find, rfind, index, rindex: in characters.
Value find_call(const StringCall& call, bool from_right, bool must_exist) {
  const auto args = call.bound({"sub", "start", "end"}, 1);
  if (args[1] != nullptr || args[2] != nullptr) {
    unsupported(fmt::format("'{}' with a start or an end", call.name));
  }
  const std::string& what = need_string(*args[0], "the argument of " + std::string(call.name));
  call.budget.search(call.self.size(), what.size());
  const std::size_t at = from_right ? call.self.rfind(what) : call.self.find(what);
  if (at == std::string::npos) {
    if (must_exist) fail("substring not found");
    return std::int64_t{-1};
  }
  return length(std::string_view(call.self).substr(0, at));
}

Value partition_call(const StringCall& call, bool from_right) {
  const auto args = call.bound({"sep"}, 1);
  const std::string& separator = need_string(*args[0], "the separator of partition");
  if (separator.empty()) fail("the separator of partition is empty");
  const std::string_view self = call.self;
  call.budget.search(self.size(), separator.size());
  const std::size_t at = from_right ? self.rfind(separator) : self.find(separator);
  std::vector<Value> parts;
  if (at == std::string::npos) {
    parts = {std::string(), std::string()};
    parts.insert(from_right ? parts.end() : parts.begin(), make_text(call.budget, self));
  } else {
    parts = {make_text(call.budget, self.substr(0, at)), separator,
             make_text(call.budget, self.substr(at + separator.size()))};
  }
  return make_sequence(call.budget, std::move(parts), Sequence::Type::kTuple);
}

/// Every character fits, and there is one (isspace); case tests need a cased character.
Value all_spaces(const StringCall& call) {
  call.bound({});
  const Characters all(call.self);
  return !call.self.empty() &&
         std::all_of(all.begin(), all.end(), [](const Character& c) { return is_space(c.code); });
}

Value all_digits(const StringCall& call) {
  call.bound({});
  for (const Character& c : Characters(call.self)) {
    if (c.code > 0x7F) unsupported(fmt::format("'{}' of other than ASCII text", call.name));
    if (c.code < '0' || c.code > '9') return false;
  }
  return !call.self.empty();
}

Value replace_call(const StringCall& call) {
  const auto args = call.bound({"old", "new", "count"}, 2);
  const std::int64_t count = args[2] != nullptr ? need_integer(*args[2], "count") : -1;
  return replace(call.budget, call.self, need_string(*args[0], "the text to replace"),
                 need_string(*args[1], "the replacement"), count);
}

Value join_call(const StringCall& call) {
  const auto args = call.bound({"iterable"}, 1);
  Text out(call.budget);
  bool first = true;
  for (const Value& item : items_of(call.budget, *args[0])) {
    if (!std::exchange(first, false)) out.append(call.self);
    out.append(need_string(item, "an item to join"));
  }
  return out.take();
}

Value splitlines_call(const StringCall& call) {
  const auto args = call.bound({"keepends"});
  if (args[0] != nullptr && truthy(*args[0])) unsupported("'splitlines' with keepends");
  std::vector<Value> lines;
  for (const std::string_view line : split_lines(call.self)) {
    lines.push_back(make_text(call.budget, line));
  }
  return make_sequence(call.budget, std::move(lines));
}

Value count_call(const StringCall& call) {
  const auto args = call.bound({"sub"}, 1);
  const std::string& what = need_string(*args[0], "the argument of count");
  if (what.empty()) return length(call.self) + 1;
  call.budget.search(call.self.size(), what.size());
  std::int64_t count = 0;
  for (std::size_t at = call.self.find(what); at != std::string::npos;
       at = call.self.find(what, at + what.size())) {
    ++count;
  }
  return count;
}

Value remove_affix(const StringCall& call, bool prefix) {
  const auto args = call.bound({"affix"}, 1);
  const std::string& affix = need_string(*args[0], "the argument of " + std::string(call.name));
  std::string_view self = call.self;
  if (prefix && self.starts_with(affix)) self.remove_prefix(affix.size());
  if (!prefix && self.ends_with(affix)) self.remove_suffix(affix.size());
  return make_text(call.budget, self);
}

template <std::string (*map)(std::string_view)>
Value mapped(const StringCall& call) {
  call.bound({});
  return make_text(call.budget, map(call.self));
}

struct NamedMethod {
  std::string_view name;
  StringMethod method;
};

constexpr NamedMethod kStringMethods[] = {
    {"capitalize", mapped<capitalize>},
    {"count", count_call},
    {"endswith",
     [](const StringCall& c) {
       return affix_call(c, [](std::string_view s, std::string_view e) { return s.ends_with(e); });
     }},
    {"find", [](const StringCall& c) { return find_call(c, false, false); }},
    {"index", [](const StringCall& c) { return find_call(c, false, true); }},
    {"isdigit", all_digits},
    {"islower",
     [](const StringCall& c) {
       c.bound({});
       return Value(is_lower(c.self));
     }},
    {"isspace", all_spaces},
    {"isupper",
     [](const StringCall& c) {
       c.bound({});
       return Value(is_upper(c.self));
     }},
    {"join", join_call},
    {"lower", mapped<to_lower>},
    {"lstrip", [](const StringCall& c) { return strip_call(c, true, false); }},
    {"partition", [](const StringCall& c) { return partition_call(c, false); }},
    {"removeprefix", [](const StringCall& c) { return remove_affix(c, true); }},
    {"removesuffix", [](const StringCall& c) { return remove_affix(c, false); }},
    {"replace", replace_call},
    {"rfind", [](const StringCall& c) { return find_call(c, true, false); }},
    {"rindex", [](const StringCall& c) { return find_call(c, true, true); }},
    {"rpartition", [](const StringCall& c) { return partition_call(c, true); }},
    {"rsplit", [](const StringCall& c) { return split_call(c, true); }},
    {"rstrip", [](const StringCall& c) { return strip_call(c, false, true); }},
    {"split", [](const StringCall& c) { return split_call(c, false); }},
    {"splitlines", splitlines_call},
    {"startswith",
     [](const StringCall& c) {
       return affix_call(c,
                         [](std::string_view s, std::string_view p) { return s.starts_with(p); });
     }},
    {"strip", [](const StringCall& c) { return strip_call(c, true, true); }},
    {"title", mapped<python_title>},
    {"upper", mapped<to_upper>},
};

const NamedMethod* find_string_method(std::string_view name) {
  const auto* const found = std::find_if(std::begin(kStringMethods), std::end(kStringMethods),
                                         [&](const NamedMethod& m) { return m.name == name; });
  return found == std::end(kStringMethods) ? nullptr : found;
}

Value dict_call(Runtime& runtime, const Value& self, std::string_view name, const CallArgs& args) {
  Budget& budget = runtime.budget;
  const Dict& dict = self.dict();
  if (name == "get") {
    const auto bound = bind(name, args, {"key", "default"}, 1);
    if (bound[0]->is(Kind::kDict)) fail("a dict cannot be the key of a dict");
    const Value* found = find_entry(budget, dict, *bound[0]);
    if (found != nullptr) return *found;
    return bound[1] != nullptr ? *bound[1] : Value(None{});
  }
  bind(name, args, {});
  if (name == "copy") return self;
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries) {
    if (name == "keys") {
      items.push_back(key);
    } else if (name == "values") {
      items.push_back(value);
    } else {
      items.push_back(make_sequence(budget, {key, value}, Sequence::Type::kTuple));
    }
  }
  return make_sequence(budget, std::move(items), Sequence::Type::kView,
                       "dict_" + std::string(name));
}

Value sequence_call(Runtime& runtime, const Value& self, std::string_view name,
                    const CallArgs& args) {
  Budget& budget = runtime.budget;
  const std::vector<Value>& items = self.sequence().items;
  if (name == "copy") {
    bind(name, args, {});
    return self;
  }
  const auto bound = bind(name, args, {"value"}, 1);
  const auto same = [&](const Value& item) { return equal(budget, item, *bound[0]); };
  if (name == "count")
    return static_cast<std::int64_t>(std::count_if(items.begin(), items.end(), same));
  const auto found = std::find_if(items.begin(), items.end(), same);
  if (found == items.end()) fail("the value is not in the list");
  return static_cast<std::int64_t>(found - items.begin());
}

bool one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

MethodKind string_method_kind(std::string_view name) {
  if (find_string_method(name) != nullptr) return MethodKind::kCallable;
  const bool known =
      one_of(name, {"casefold",     "center",    "encode",      "expandtabs", "format",
                    "format_map",   "isalnum",   "isalpha",     "isascii",    "isdecimal",
                    "isidentifier", "isnumeric", "isprintable", "istitle",    "ljust",
                    "maketrans",    "rjust",     "swapcase",    "translate",  "zfill"});
  return known ? MethodKind::kUnsupported : MethodKind::kNone;
}

MethodKind sequence_method_kind(Sequence::Type type, std::string_view name) {
  switch (type) {
    case Sequence::Type::kList:
      if (one_of(name, {"copy", "count", "index"})) return MethodKind::kCallable;
      if (one_of(name,
                 {"append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort"})) {
        return MethodKind::kForbidden;
      }
      return MethodKind::kNone;
    case Sequence::Type::kTuple:
      return one_of(name, {"count", "index"}) ? MethodKind::kCallable : MethodKind::kNone;
    case Sequence::Type::kRange:
      return one_of(name, {"count", "index", "start", "stop", "step"}) ? MethodKind::kUnsupported
                                                                       : MethodKind::kNone;
    case Sequence::Type::kView:
      return one_of(name, {"isdisjoint", "mapping"}) ? MethodKind::kUnsupported : MethodKind::kNone;
  }
  return MethodKind::kNone;
}

}  // namespace

MethodKind find_method(const Value& self, std::string_view name) {
  switch (self.kind()) {
    case Kind::kString:
      return string_method_kind(name);
    case Kind::kDict:
      if (one_of(name, {"copy", "get", "items", "keys", "values"})) return MethodKind::kCallable;
      if (one_of(name, {"clear", "pop", "popitem", "setdefault", "update"})) {
        return MethodKind::kForbidden;
      }
      return name == "fromkeys" ? MethodKind::kUnsupported : MethodKind::kNone;
    case Kind::kSequence:
      return sequence_method_kind(self.sequence().type, name);
    default:
      return MethodKind::kNone;
  }
}

Value call_method(Runtime& runtime, const Value& self, std::string_view name,
                  const CallArgs& args) {
  runtime.budget.steps(1);
  switch (self.kind()) {
    case Kind::kString:
      runtime.budget.steps(self.string().size() / 16);
      return find_string_method(name)->method({runtime.budget, name, self.string(), args});
    case Kind::kDict:
      return dict_call(runtime, self, name, args);
    default:
      return sequence_call(runtime, self, name, args);
  }
}

}  // namespace onebit::text::jinja
