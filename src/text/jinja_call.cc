// Argument binding and the global functions.
#include "text/jinja_call.h"

#include <algorithm>
#include <ctime>
#include <fmt/format.h>

#include "text/jinja_error.h"
#include "text/jinja_ops.h"

namespace onebit::text::jinja {
namespace {

/// Jinja's sandbox allows no longer range.
constexpr std::int64_t kMaxRange = 100'000;

Value make_range(Runtime& runtime, const CallArgs& args) {
  if (!args.named.empty() || args.positional.empty() || args.positional.size() > 3) {
    fail("range takes one to three arguments");
  }
  std::vector<std::int64_t> bounds;
  for (const Value& value : args.positional) {
    bounds.push_back(need_integer(value, "an argument of range"));
  }
  const std::int64_t start = bounds.size() > 1 ? bounds[0] : 0;
  const std::int64_t stop = bounds.size() > 1 ? bounds[1] : bounds[0];
  const std::int64_t step = bounds.size() > 2 ? bounds[2] : 1;
  if (step == 0) fail("the step of range is 0");
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<std::int64_t>(items.size()) == kMaxRange) {
      fail(fmt::format("a range of more than {} numbers", kMaxRange));
    }
    items.emplace_back(i);
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  std::string label = step == 1 ? fmt::format("range({}, {})", start, stop)
                                : fmt::format("range({}, {}, {})", start, stop, step);
  return make_sequence(runtime.budget, std::move(items), Sequence::Type::kRange, std::move(label));
}

/// dict(mapping or pairs, **named)
std::vector<std::pair<Value, Value>> dict_entries(Runtime& runtime, std::string_view callee,
                                                  const CallArgs& args) {
  Budget& budget = runtime.budget;
  std::vector<std::pair<Value, Value>> entries;
  if (args.positional.size() > 1) fail(fmt::format("{} takes one positional argument", callee));
  if (!args.positional.empty()) {
    const Value& from = args.positional[0];
    if (from.is_undefined()) fail(from.why_undefined());
    if (from.is(Kind::kDict)) {
      budget.bytes(from.dict().entries.size() * 2 * sizeof(Value));
      entries = from.dict().entries;
    } else {
      for (const Value& pair : items_of(budget, from)) {
        std::vector<Value> two = items_of(budget, pair);
        if (two.size() != 2)
          fail(fmt::format("{} takes pairs, found {} items", callee, two.size()));
        set_entry(budget, entries, std::move(two[0]), std::move(two[1]));
      }
    }
  }
  for (const auto& [name, value] : args.named) {
    budget.bytes(64 + name.size());
    set_entry(budget, entries, name, value);
  }
  return entries;
}

Value make_namespace(Runtime& runtime, const CallArgs& args) {
  auto made = std::make_shared<Namespace>();
  Budget& budget = runtime.budget;
  budget.bytes(256);
  for (auto& [key, value] : dict_entries(runtime, "namespace", args)) {
    const std::string& name = need_string(key, "a name in a namespace");
    if (name.starts_with('_')) fail("a name in a namespace begins with '_'");
    budget.bytes(64);
    set_named(budget, made->attributes, name, std::move(value));
  }
  runtime.namespaces.push_back(made);
  return made;
}

Value strftime_now(Runtime& runtime, const CallArgs& args) {
  const auto bound = bind("strftime_now", args, {"format"}, 1);
  const std::string& format = need_string(*bound[0], "the format of strftime_now");
  constexpr std::size_t kMaxTime = 4096;
  runtime.budget.bytes(kMaxTime + format.size());
  const auto now = static_cast<std::time_t>(runtime.now);
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(kMaxTime, '\0');
  // A character in front tells an empty result from one that does not fit.
  out.resize(std::strftime(out.data(), out.size(), ("x" + format).c_str(), &local));
  if (out.empty()) fail("the result of strftime_now is too long");
  return make_text(runtime.budget, std::string_view(out).substr(1));
}

[[noreturn]] void raise_exception(Runtime& runtime, const CallArgs& args) {
  const auto bound = bind("raise_exception", args, {"message"}, 1);
  fail(to_text(runtime.budget, *bound[0]));
}

constexpr std::string_view kFunctions[] = {"range", "namespace", "dict", "raise_exception",
                                           "strftime_now"};

}  // namespace

std::vector<const Value*> bind(std::string_view callee, const CallArgs& args,
                               std::initializer_list<std::string_view> parameters,
                               std::size_t required) {
  std::vector<const Value*> bound(parameters.size(), nullptr);
  if (args.positional.size() > parameters.size()) {
    fail(fmt::format("{} takes at most {} arguments, found {}", callee, parameters.size(),
                     args.positional.size()));
  }
  for (std::size_t i = 0; i < args.positional.size(); ++i) bound[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto* const found = std::find(parameters.begin(), parameters.end(), name);
    if (found == parameters.end()) fail(fmt::format("{} has no argument '{}'", callee, name));
    const Value*& slot = bound[static_cast<std::size_t>(found - parameters.begin())];
    if (slot != nullptr) fail(fmt::format("{} is given '{}' twice", callee, name));
    slot = &value;
  }
  for (std::size_t i = 0; i < required; ++i) {
    if (bound[i] == nullptr) {
      fail(fmt::format("{} lacks its argument '{}'", callee, *(parameters.begin() + i)));
    }
  }
  return bound;
}

bool is_function(std::string_view name) {
  return std::find(std::begin(kFunctions), std::end(kFunctions), name) != std::end(kFunctions);
}

Value call_function(Runtime& runtime, std::string_view name, const CallArgs& args) {
  if (name == "range") return make_range(runtime, args);
  if (name == "namespace") return make_namespace(runtime, args);
  if (name == "dict") return make_dict(runtime.budget, dict_entries(runtime, "dict", args));
  if (name == "strftime_now") return strftime_now(runtime, args);
  raise_exception(runtime, args);
}

}  // namespace onebit::text::jinja
