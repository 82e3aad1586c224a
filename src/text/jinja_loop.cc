// Follows LoopContext of jinja2/runtime.py.
#include "text/jinja_loop.h"

#include <utility>

#include "text/jinja_ops.h"

namespace onebit::text::jinja {

const Value* Loop::peek() {
  while (!ahead && next < items.size()) {
    const Value& item = items[next++];
    if (!keep || keep(item)) ahead = item;
  }
  return ahead ? &*ahead : nullptr;
}

bool Loop::advance() {
  if (peek() == nullptr) return false;
  ++index0;
  previous = std::exchange(current, std::exchange(ahead, std::nullopt));
  return true;
}

std::int64_t Loop::length() {
  if (keep) {
    std::vector<Value> kept;
    if (ahead) kept.push_back(*ahead);
    ahead.reset();
    while (peek() != nullptr) kept.push_back(*std::exchange(ahead, std::nullopt));
    items = std::move(kept);
    next = 0;
    keep = nullptr;
  }
  return index0 + 1 + (ahead ? 1 : 0) + static_cast<std::int64_t>(items.size() - next);
}

void Loop::end() {
  ended = true;
  keep = nullptr;
  next = items.size();
  ahead.reset();
  last_changed.reset();
}

Value loop_attribute(Budget& budget, const Value& value, std::string_view name) {
  Loop& loop = value.loop();
  if (name == "index") return loop.index0 + 1;
  if (name == "index0") return loop.index0;
  if (name == "first") return loop.index0 == 0;
  if (name == "last") return loop.peek() == nullptr;
  if (name == "length") return loop.length();
  if (name == "revindex") return loop.length() - loop.index0;
  if (name == "revindex0") return loop.length() - loop.index0 - 1;
  if (name == "depth") return std::int64_t{1};
  if (name == "depth0") return std::int64_t{0};
  if (name == "previtem") {
    return loop.previous ? *loop.previous : make_undefined(budget, "there is no previous item");
  }
  if (name == "nextitem") {
    const Value* next = loop.peek();
    return next != nullptr ? *next : make_undefined(budget, "there is no next item");
  }
  if (name == "cycle" || name == "changed") return make_method(budget, value, name);
  return make_undefined(budget, "a loop has no attribute '" + std::string(quotable(name)) + "'");
}

}  // namespace onebit::text::jinja
