// A tree walker. Scoping follows what Jinja's compiler makes of a template (idtracking.py,
// compiler.py): if is no scope of its own; for, macro, call, with, filter, generation and set
// blocks are.
#include "text/jinja_eval.h"

#include <algorithm>
#include <fmt/format.h>

#include "text/jinja_call.h"
#include "text/jinja_error.h"
#include "text/jinja_filters.h"
#include "text/jinja_loop.h"
#include "text/jinja_methods.h"
#include "text/jinja_ops.h"
#include "text/jinja_scope.h"
#include "text/jinja_tests.h"

namespace onebit::text::jinja {
namespace {

using ScopePtr = std::shared_ptr<Scope>;

/// How a statement ended.
enum class Flow { kNext, kBreak, kContinue };

bool ordered(std::string_view op, int order) {
  if (op == "<") return order < 0;
  if (op == "<=") return order <= 0;
  if (op == ">") return order > 0;
  return order >= 0;
}

class Evaluator {
 public:
  Evaluator(const Limits& limits, std::int64_t now) : runtime_(limits) { runtime_.now = now; }
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  /// Namespaces and macros may refer to each other in rings: cut them all. Everything is still held
  /// by the two lists meanwhile, so that no chain of any length is freed recursively.
  ~Evaluator() {
    for (const auto& made : runtime_.namespaces) made->attributes.clear();
    for (const auto& scope : captured_) scope->variables.clear();
    for (const auto& scope : captured_) scope->parent.reset();
  }

  std::string run(const Body& body, const Variables& variables) {
    auto scope = std::make_shared<Scope>(nullptr);
    for (const auto& [name, value] : variables) scope->set(budget(), name, value);
    Text out(budget());
    run_body(body, scope, out);
    return out.take();
  }

 private:
  Budget& budget() { return runtime_.budget; }

  // --- statements

  Flow run_body(const Body& body, const ScopePtr& scope, Text& out) {
    for (const Statement& statement : body) {
      const Flow flow = run_statement(statement, scope, out);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

  Flow run_statement(const Statement& statement, const ScopePtr& scope, Text& out) {
    const Budget::Level level(budget());
    budget().steps(1);
    try {
      return dispatch(statement, scope, out);
    } catch (TemplateError& error) {
      if (error.line() == 0) error.set_line(statement.line);
      throw;
    }
  }

  Flow dispatch(const Statement& statement, const ScopePtr& scope, Text& out) {
    switch (statement.kind) {
      case StatementKind::kText:
        out.append(statement.text);
        return Flow::kNext;
      case StatementKind::kPrint:
        append_text(out, eval(*statement.value, scope));
        return Flow::kNext;
      case StatementKind::kIf:
        for (const Branch& branch : statement.branches) {
          if (truthy(eval(*branch.condition, scope))) return run_body(branch.body, scope, out);
        }
        return run_body(statement.otherwise, scope, out);
      case StatementKind::kFor:
        return run_for(statement, scope, out);
      case StatementKind::kSet:
        assign(statement.target, eval(*statement.value, scope), *scope);
        return Flow::kNext;
      case StatementKind::kSetBlock:
      case StatementKind::kFilterBlock:
        return run_captured(statement, scope, out);
      case StatementKind::kMacro:
        scope->set(budget(), statement.macro->name, make_macro(*statement.macro, scope));
        return Flow::kNext;
      case StatementKind::kCallBlock:
        append_text(out, run_call_block(statement, scope));
        return Flow::kNext;
      case StatementKind::kGeneration:
        return run_body(statement.body, inner(scope), out);
      case StatementKind::kWith:
        return run_with(statement, scope, out);
      case StatementKind::kBreak:
        return Flow::kBreak;
      case StatementKind::kContinue:
        return Flow::kContinue;
    }
    return Flow::kNext;
  }

  static ScopePtr inner(const ScopePtr& scope) { return std::make_shared<Scope>(scope); }

  Flow run_with(const Statement& statement, const ScopePtr& scope, Text& out) {
    const ScopePtr own = inner(scope);
    for (const auto& [target, value] : statement.assignments) {
      assign(target, eval(*value, scope), *own);
    }
    return run_body(statement.body, own, out);
  }

  /// The output of a set or filter block, filtered, goes to a variable or to `out`.
  Flow run_captured(const Statement& statement, const ScopePtr& scope, Text& out) {
    Text captured(budget());
    const ScopePtr own = inner(scope);
    const Flow flow = run_body(statement.body, own, captured);
    if (flow != Flow::kNext) return flow;
    Value value = captured.take();
    if (statement.value) value = filter_chain(*statement.value, value, own);
    if (statement.kind == StatementKind::kSetBlock) {
      assign(statement.target, std::move(value), *scope);
    } else {
      append_text(out, value);
    }
    return Flow::kNext;
  }

  Value filter_chain(const Expr& filter, const Value& operand, const ScopePtr& scope) {
    const Expr* inside = filter.children[0].get();
    return apply_filter(runtime_, filter.name,
                        inside != nullptr ? filter_chain(*inside, operand, scope) : operand,
                        arguments(filter.arguments, scope));
  }

  Flow run_for(const Statement& statement, const ScopePtr& scope, Text& out) {
    const Value over = eval(*statement.value, scope);
    auto loop = std::make_shared<Loop>();
    loop->items = items_of(budget(), over);
    budget().bytes(256);
    loop->depth = budget().container_depth(depth_of(over));
    if (statement.condition) {
      loop->keep = [&](const Value& item) {
        budget().steps(1);
        const ScopePtr own = inner(scope);
        assign(statement.target, item, *own);
        return truthy(eval(*statement.condition, own));
      };
    }
    struct End {
      Loop& loop;
      ~End() { loop.end(); }
    } const end{*loop};

    bool any = false;
    while (loop->advance()) {
      any = true;
      budget().steps(1);
      const ScopePtr own = inner(scope);
      own->set(budget(), "loop", loop);
      assign(statement.target, *loop->current, *own);
      if (run_body(statement.body, own, out) == Flow::kBreak) break;
    }
    return any ? Flow::kNext : run_body(statement.otherwise, inner(scope), out);
  }

  void assign(const Target& target, Value value, Scope& scope) {
    if (!target.items.empty()) {
      std::vector<Value> items = items_of(budget(), value);
      if (items.size() != target.items.size()) {
        fail(fmt::format("{} values to unpack, expected {}", items.size(), target.items.size()));
      }
      for (std::size_t i = 0; i < items.size(); ++i) {
        assign(target.items[i], std::move(items[i]), scope);
      }
    } else if (!target.attribute.empty()) {
      const Value* object = scope.find(budget(), target.name);
      if (object == nullptr || !object->is(Kind::kNamespace)) {
        fail(fmt::format("'{}' is no namespace: its attribute cannot be set", target.name));
      }
      if (target.attribute.starts_with('_')) fail("a name in a namespace begins with '_'");
      budget().bytes(64);
      set_named(budget(), object->name_space().attributes, target.attribute, std::move(value));
    } else {
      scope.set(budget(), target.name, std::move(value));
    }
  }

  // --- macros

  Value make_macro(const MacroNode& node, const ScopePtr& scope) {
    budget().bytes(512);
    for (ScopePtr level = scope; level != nullptr && !level->captured; level = level->parent) {
      level->captured = true;
      captured_.push_back(level);
    }
    return std::make_shared<const Macro>(Macro{&node, scope});
  }

  Value run_call_block(const Statement& statement, const ScopePtr& scope) {
    const Expr& call = *statement.value;
    CallArgs args = arguments(call.arguments, scope);
    args.named.emplace_back("caller", make_macro(*statement.macro, scope));
    return call_value(eval(*call.children[0], scope), std::move(args));
  }

  /// Binds as Macro.__call__ of jinja2/runtime.py, then runs the body.
  Value call_macro(const Macro& macro, CallArgs args) {
    const MacroNode& node = *macro.node;
    const ScopePtr scope = inner(macro.scope);
    const std::size_t count = node.parameters.size();
    bool has_caller_parameter = false;
    for (std::size_t i = 0; i < count; ++i) {
      const Parameter& parameter = node.parameters[i];
      has_caller_parameter |= parameter.name == "caller";
      if (i < args.positional.size()) {
        scope->set(budget(), parameter.name, args.positional[i]);
      } else if (std::optional<Value> named = take(args, parameter.name)) {
        scope->set(budget(), parameter.name, std::move(*named));
      } else if (parameter.default_value) {
        scope->set(budget(), parameter.name, eval(*parameter.default_value, scope));
      } else {
        scope->set(budget(), parameter.name,
                   make_undefined(budget(), fmt::format("parameter '{}' was not provided",
                                                        quotable(parameter.name))));
      }
    }
    if (node.uses_caller && !has_caller_parameter) {
      std::optional<Value> caller = take(args, "caller");
      scope->set(budget(), "caller",
                 caller ? std::move(*caller) : make_undefined(budget(), "no caller is defined"));
    }
    bind_rest(node, args, *scope);
    Text out(budget());
    run_body(node.body, scope, out);
    return out.take();
  }

  /// More arguments than parameters: varargs and kwargs, where the body names them.
  void bind_rest(const MacroNode& node, CallArgs& args, Scope& scope) {
    const std::size_t count = node.parameters.size();
    if (node.uses_kwargs) {
      std::vector<std::pair<Value, Value>> entries;
      for (auto& [name, value] : args.named) {
        budget().bytes(64 + name.size());
        set_entry(budget(), entries, name, std::move(value));
      }
      scope.set(budget(), "kwargs", make_dict(budget(), std::move(entries)));
    } else if (!args.named.empty()) {
      fail(fmt::format("macro '{}' has no argument '{}'", node.name, args.named[0].first));
    }
    std::vector<Value> rest;
    if (args.positional.size() > count) {
      rest.assign(args.positional.begin() + static_cast<std::ptrdiff_t>(count),
                  args.positional.end());
    }
    if (node.uses_varargs) {
      scope.set(budget(), "varargs",
                make_sequence(budget(), std::move(rest), Sequence::Type::kTuple));
    } else if (!rest.empty()) {
      fail(fmt::format("macro '{}' takes at most {} arguments, found {}", node.name, count,
                       args.positional.size()));
    }
  }

  std::optional<Value> take(CallArgs& args, std::string_view name) {
    if (find_named(budget(), args.named, name) == nullptr) return std::nullopt;
    const auto found = std::find_if(args.named.begin(), args.named.end(),
                                    [&](const auto& named) { return named.first == name; });
    budget().steps(args.named.size() / 8);  // those after it move up
    Value value = std::move(found->second);
    args.named.erase(found);
    return value;
  }

  // --- expressions

  Value eval(const Expr& expr, const ScopePtr& scope) {
    const Budget::Level level(budget());
    budget().steps(1);
    try {
      return dispatch(expr, scope);
    } catch (TemplateError& error) {
      if (error.line() == 0) error.set_line(expr.line);
      throw;
    }
  }

  Value child(const Expr& expr, std::size_t index, const ScopePtr& scope) {
    return eval(*expr.children[index], scope);
  }

  Value dispatch(const Expr& expr, const ScopePtr& scope) {
    switch (expr.kind) {
      case ExprKind::kConstant:
        return expr.constant;
      case ExprKind::kName:
        return look_up(expr.name, scope);
      case ExprKind::kList:
      case ExprKind::kTuple:
        return eval_sequence(expr, scope);
      case ExprKind::kDict:
        return eval_dict(expr, scope);
      case ExprKind::kAnd:
      case ExprKind::kOr: {
        Value left = child(expr, 0, scope);
        return truthy(left) == (expr.kind == ExprKind::kAnd) ? child(expr, 1, scope) : left;
      }
      case ExprKind::kNot:
        return !truthy(child(expr, 0, scope));
      case ExprKind::kNegate:
        return negate(child(expr, 0, scope));
      case ExprKind::kPlus:
        return negate(negate(child(expr, 0, scope)));
      case ExprKind::kBinary: {
        const Value left = child(expr, 0, scope);
        return binary_operation(budget(), expr.name, left, child(expr, 1, scope));
      }
      case ExprKind::kConcat:
        return eval_concat(expr, scope);
      case ExprKind::kCompare:
        return eval_compare(expr, scope);
      case ExprKind::kCondition:
        return eval_condition(expr, scope);
      case ExprKind::kAttribute:
        return get_attribute(budget(), child(expr, 0, scope), expr.name);
      case ExprKind::kItem: {
        const Value object = child(expr, 0, scope);
        return get_item(budget(), object, child(expr, 1, scope));
      }
      case ExprKind::kSlice:
        return eval_slice(expr, scope);
      case ExprKind::kCall:
        return eval_call(expr, scope);
      case ExprKind::kFilter:
        return eval_filter(expr, scope);
      case ExprKind::kTest: {
        const Value operand = child(expr, 0, scope);
        return apply_test(runtime_, expr.name, operand, arguments(expr.arguments, scope));
      }
    }
    return Value();
  }

  Value look_up(const std::string& name, const ScopePtr& scope) {
    if (const Value* found = scope->find(budget(), name)) return *found;
    if (is_function(name)) {
      budget().bytes(64);
      return std::make_shared<const Function>(Function{name});
    }
    return make_undefined(budget(), fmt::format("'{}' is undefined", quotable(name)));
  }

  Value eval_sequence(const Expr& expr, const ScopePtr& scope) {
    std::vector<Value> items;
    for (const ExprPtr& item : expr.children) items.push_back(eval(*item, scope));
    return make_sequence(
        budget(), std::move(items),
        expr.kind == ExprKind::kList ? Sequence::Type::kList : Sequence::Type::kTuple);
  }

  Value eval_dict(const Expr& expr, const ScopePtr& scope) {
    std::vector<std::pair<Value, Value>> entries;
    for (std::size_t i = 0; i < expr.children.size(); i += 2) {
      Value key = child(expr, i, scope);
      set_entry(budget(), entries, std::move(key), child(expr, i + 1, scope));
    }
    return make_dict(budget(), std::move(entries));
  }

  Value eval_concat(const Expr& expr, const ScopePtr& scope) {
    Text out(budget());
    for (const ExprPtr& part : expr.children) append_text(out, eval(*part, scope));
    return out.take();
  }

  Value eval_compare(const Expr& expr, const ScopePtr& scope) {
    Value left = child(expr, 0, scope);
    for (std::size_t i = 0; i < expr.operators.size(); ++i) {
      Value right = child(expr, i + 1, scope);
      if (!holds(expr.operators[i], left, right)) return false;
      left = std::move(right);
    }
    return true;
  }

  bool holds(std::string_view op, const Value& left, const Value& right) {
    if (op == "==") return equal(budget(), left, right);
    if (op == "!=") return !equal(budget(), left, right);
    if (op == "in") return contains(budget(), right, left);
    if (op == "notin") return !contains(budget(), right, left);
    return ordered(op, compare(budget(), left, right));
  }

  Value eval_condition(const Expr& expr, const ScopePtr& scope) {
    if (truthy(child(expr, 0, scope))) return child(expr, 1, scope);
    if (expr.children[2]) return child(expr, 2, scope);
    return make_undefined(budget(), "the inline if is false and has no else");
  }

  Value eval_slice(const Expr& expr, const ScopePtr& scope) {
    const Value object = child(expr, 0, scope);
    const auto bound = [&](std::size_t i) {
      return expr.children[i] ? child(expr, i, scope) : Value(None{});
    };
    const Value start = bound(1);
    const Value stop = bound(2);
    return get_slice(budget(), object, start, stop, bound(3));
  }

  Value eval_call(const Expr& expr, const ScopePtr& scope) {
    const Value callee = child(expr, 0, scope);
    return call_value(callee, arguments(expr.arguments, scope));
  }

  Value eval_filter(const Expr& expr, const ScopePtr& scope) {
    const Value operand = child(expr, 0, scope);
    return apply_filter(runtime_, expr.name, operand, arguments(expr.arguments, scope));
  }

  Value call_value(const Value& callee, CallArgs args) {
    switch (callee.kind()) {
      case Kind::kMacro:
        return call_macro(callee.macro(), std::move(args));
      case Kind::kFunction:
        return call_function(runtime_, callee.function().name, args);
      case Kind::kMethod: {
        const Method& method = callee.method();
        if (method.self.is(Kind::kLoop)) return call_loop(method.self.loop(), method.name, args);
        return call_method(runtime_, method.self, method.name, args);
      }
      case Kind::kUndefined:
        fail(callee.why_undefined());
      default:
        fail(fmt::format("a {} cannot be called", type_name(callee)));
    }
  }

  Value call_loop(Loop& loop, std::string_view name, const CallArgs& args) {
    if (loop.ended) unsupported("calling a loop that has ended");
    if (!args.named.empty()) fail(fmt::format("loop.{} takes no named arguments", name));
    if (name == "cycle") {
      if (args.positional.empty()) fail("loop.cycle lacks its arguments");
      return args.positional[static_cast<std::size_t>(loop.index0) % args.positional.size()];
    }
    const bool changed =
        !loop.last_changed || loop.last_changed->size() != args.positional.size() ||
        !std::equal(args.positional.begin(), args.positional.end(), loop.last_changed->begin(),
                    [&](const Value& a, const Value& b) { return equal(budget(), a, b); });
    if (changed) loop.last_changed = args.positional;
    return changed;
  }

  CallArgs arguments(const Arguments& from, const ScopePtr& scope) {
    CallArgs out;
    for (const ExprPtr& value : from.positional) out.positional.push_back(eval(*value, scope));
    const auto add = [&](const std::string& name, Value value) {
      budget().bytes(64 + name.size());
      out.named.emplace_back(name, std::move(value));
    };
    for (const auto& [name, value] : from.named) add(name, eval(*value, scope));
    if (from.star) {
      for (Value& value : items_of(budget(), eval(*from.star, scope))) {
        out.positional.push_back(std::move(value));
      }
    }
    if (from.double_star) {
      const Value more = eval(*from.double_star, scope);
      if (!more.is(Kind::kDict)) fail("** takes a mapping");
      for (const auto& [key, value] : more.dict().entries) {
        add(need_string(key, "a key of **"), value);
      }
    }
    return out;
  }

  Runtime runtime_;
  std::vector<ScopePtr> captured_;  ///< scopes that macros refer to
};

}  // namespace

std::string render(const Body& body, const Variables& variables, const Limits& limits,
                   std::int64_t now) {
  return Evaluator(limits, now).run(body, variables);
}

}  // namespace onebit::text::jinja
