// Arguments of calls to the built-in functions, filters, tests and methods.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_budget.h"
#include "text/jinja_value.h"

namespace onebit::text::jinja {

struct CallArgs {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

/// What built-ins may use of the rendering they are part of.
struct Runtime {
  explicit Runtime(const Limits& limits) : budget(limits) {}

  Budget budget;
  std::int64_t now = 0;  ///< seconds since 1970, for strftime_now
  /// Every namespace made: emptied at the end, since namespaces can hold each other in a ring.
  std::vector<std::shared_ptr<Namespace>> namespaces;
};

/// The arguments in the order of `parameters`, null where left out. Fails, naming `callee`, on too
/// many, unknown, double or (of the first `required`) missing ones. Valid as long as `args`.
std::vector<const Value*> bind(std::string_view callee, const CallArgs& args,
                               std::initializer_list<std::string_view> parameters,
                               std::size_t required = 0);

/// Calls range, namespace, dict, raise_exception or strftime_now.
Value call_function(Runtime& runtime, std::string_view name, const CallArgs& args);

/// Whether it is the name of a global function.
bool is_function(std::string_view name);

}  // namespace onebit::text::jinja
