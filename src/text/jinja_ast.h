// The tree that the parser makes of a template and the evaluator walks.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja_value.h"

namespace onebit::text::jinja {

struct Expr;
struct Statement;
using ExprPtr = std::unique_ptr<Expr>;
using Body = std::vector<Statement>;

/// The arguments of a call, a filter or a test.
struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         ///< *args, or null
  ExprPtr double_star;  ///< **kwargs, or null
};

enum class ExprKind {
  kConstant,
  kName,       ///< name
  kList,       ///< children
  kTuple,      ///< children
  kDict,       ///< children: key, value, key, value ...
  kAnd,        ///< children: left, right
  kOr,         ///< children: left, right
  kNot,        ///< children: operand
  kNegate,     ///< children: operand
  kPlus,       ///< children: operand
  kBinary,     ///< name: + - * / // % **; children: left, right
  kConcat,     ///< children
  kCompare,    ///< children: operands; operators between them: == != < <= > >= in notin
  kCondition,  ///< children: condition, value, other (may be null)
  kAttribute,  ///< children: object; name
  kItem,       ///< children: object, key
  kSlice,      ///< children: object, start, stop, step (the last three may be null)
  kCall,       ///< children: callee; arguments
  kFilter,     ///< children: operand (null inside filter and set blocks); name, arguments
  kTest,       ///< children: operand; name, arguments
};

struct Expr {
  ExprKind kind;
  int line;
  int depth = 1;  ///< of the tree below: bounded, since it is evaluated and freed recursively
  std::string name;
  Value constant;
  std::vector<ExprPtr> children;
  std::vector<std::string> operators;
  Arguments arguments;
};

/// What set and for assign to: a name, an attribute of a namespace, or a tuple of targets.
struct Target {
  std::string name;
  std::string attribute;      ///< of namespace `name`; "" for the name itself
  std::vector<Target> items;  ///< of a tuple, when not empty
};

struct Parameter {
  std::string name;
  ExprPtr default_value;  ///< null: none
};

/// A macro's or a call block's own function.
struct MacroNode {
  std::string name;
  int line = 0;
  std::vector<Parameter> parameters;
  Body body;
  bool uses_caller = false;  ///< the body names `caller`, `varargs`, `kwargs`
  bool uses_varargs = false;
  bool uses_kwargs = false;
};

enum class StatementKind {
  kText,         ///< text
  kPrint,        ///< value
  kIf,           ///< branches, otherwise
  kFor,          ///< target, value (what it loops over), condition, body, otherwise
  kSet,          ///< target, value
  kSetBlock,     ///< target, value (filters over the block, or null), body
  kMacro,        ///< macro
  kCallBlock,    ///< value (the call), macro (the block as `caller`)
  kFilterBlock,  ///< value (the filters), body
  kGeneration,   ///< body: text that the model made (training marks it; rendering does not)
  kWith,         ///< assignments, body
  kBreak,
  kContinue,
};

struct Branch {
  ExprPtr condition;
  Body body;
};

struct Statement {
  StatementKind kind;
  int line;
  std::string text;
  ExprPtr value;
  ExprPtr condition;
  Target target;
  std::vector<Branch> branches;
  std::vector<std::pair<Target, ExprPtr>> assignments;
  Body body;
  Body otherwise;
  std::unique_ptr<MacroNode> macro;
};

}  // namespace onebit::text::jinja
