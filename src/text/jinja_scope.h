// Variables while a template runs.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja_ast.h"
#include "text/jinja_budget.h"
#include "text/jinja_value.h"

namespace onebit::text::jinja {

/// One level of names: the template, a loop's round, a macro's call, a block. Reading looks
/// outwards; assigning never does, as in Jinja.
struct Scope {
  explicit Scope(std::shared_ptr<Scope> outer) : parent(std::move(outer)) {}

  const Value* find(Budget& budget, std::string_view name) const {
    std::uint64_t levels = 0;
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent.get()) {
      if (const Value* found = find_named(budget, scope->variables, name)) return found;
      if (++levels % 8 == 0) budget.steps(1);
    }
    return nullptr;
  }

  void set(Budget& budget, std::string_view name, Value value) {
    set_named(budget, variables, name, std::move(value));
  }

  std::shared_ptr<Scope> parent;
  std::vector<std::pair<std::string, Value>> variables;
  bool captured = false;  ///< a macro refers to it
};

/// A macro as a value: its code and where it was defined.
struct Macro {
  const MacroNode* node;
  std::shared_ptr<Scope> scope;
};

}  // namespace onebit::text::jinja
