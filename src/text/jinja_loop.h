// The state of a running loop, which is also the template's variable `loop`.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <vector>

#include "text/jinja_value.h"

namespace onebit::text::jinja {

/// A loop's filter (`for x in y if condition`) runs only when an item is asked for, since the
/// condition may depend on what the body has set meanwhile; last, nextitem and length look ahead.
struct Loop {
  std::vector<Value> items;                ///< all, before the filter
  std::function<bool(const Value&)> keep;  ///< the filter; empty: keep all
  std::size_t next = 0;                    ///< first item not yet looked at
  std::int64_t index0 = -1;
  std::optional<Value> ahead;  ///< looked at and kept, not yet given out
  std::optional<Value> current, previous;
  std::optional<std::vector<Value>> last_changed;  ///< what loop.changed saw last
  int depth = 1;
  bool ended = false;

  /// Moves to the next item; false at the end.
  bool advance();
  /// Looks at the next item without moving; null at the end.
  const Value* peek();
  /// Number of items that pass the filter (all of them are tested now).
  std::int64_t length();
  /// Lets go of what the loop refers to: its filter uses variables that end with it, and what
  /// `changed` saw may be the loop itself.
  void end();
};

}  // namespace onebit::text::jinja
