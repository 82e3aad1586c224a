// Recursive descent, one function a rule.
#include "text/jinja_parser.h"

#include <algorithm>
#include <fmt/format.h>
#include <initializer_list>

#include "text/jinja_error.h"
#include "text/jinja_filters.h"
#include "text/jinja_lexer.h"
#include "text/jinja_tests.h"

namespace onebit::text::jinja {
namespace {

/// Trees deeper than this are refused: every level costs stack when parsed, evaluated and freed.
/// Jinja itself stops at about 300, where Python's recursion limit ends.
constexpr int kMaxDepth = 200;

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kData:
      return "text";
    case TokenKind::kBlockBegin:
      return "'{%'";
    case TokenKind::kBlockEnd:
      return "'%}'";
    case TokenKind::kVariableBegin:
      return "'{{'";
    case TokenKind::kVariableEnd:
      return "'}}'";
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kString:
      return "a string";
    default:
      return "'" + token.text + "'";
  }
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  Body run() { return body({}); }

 private:
  /// A level of nesting, left with the object.
  class Level {
   public:
    explicit Level(Parser& parser) : parser_(parser) {
      if (++parser_.level_ > kMaxDepth) parser_.too_deep();
    }
    ~Level() { --parser_.level_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;

   private:
    Parser& parser_;
  };

  [[noreturn]] void too_deep() const {
    throw TemplateError(ErrorCode::kResource, fmt::format("nested deeper than {}", kMaxDepth),
                        current().line);
  }
  [[noreturn]] void corrupt(const std::string& message) const {
    throw TemplateError(ErrorCode::kCorrupt, message, current().line);
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw TemplateError(ErrorCode::kUnsupported, what + " is not supported", current().line);
  }

  const Token& current() const { return tokens_[position_]; }
  const Token& following() const { return tokens_[std::min(position_ + 1, tokens_.size() - 1)]; }
  Token next() { return current().kind == TokenKind::kEnd ? current() : tokens_[position_++]; }

  bool at(TokenKind kind) const { return current().kind == kind; }
  bool at_operator(std::string_view op) const {
    return at(TokenKind::kOperator) && current().text == op;
  }
  bool at_name(std::string_view name) const {
    return at(TokenKind::kName) && current().text == name;
  }
  bool skip_operator(std::string_view op) {
    if (!at_operator(op)) return false;
    next();
    return true;
  }
  bool skip_name(std::string_view name) {
    if (!at_name(name)) return false;
    next();
    return true;
  }
  void expect_operator(std::string_view op) {
    if (!skip_operator(op))
      corrupt(fmt::format("found {}, expected '{}'", describe(current()), op));
  }
  void expect_name(std::string_view name) {
    if (!skip_name(name))
      corrupt(fmt::format("found {}, expected '{}'", describe(current()), name));
  }
  std::string expect_any_name() {
    if (!at(TokenKind::kName))
      corrupt(fmt::format("found {}, expected a name", describe(current())));
    return next().text;
  }
  void expect_block_end() {
    if (!at(TokenKind::kBlockEnd)) {
      corrupt(fmt::format("found {}, expected '%}}'", describe(current())));
    }
    next();
  }

  // --- statements

  /// Up to a block tag named one of `ends`, which becomes current; to the end of the template when
  /// `ends` is empty.
  Body body(std::initializer_list<std::string_view> ends) {
    const Level level(*this);
    Body out;
    for (;;) {
      const int line = current().line;
      if (at(TokenKind::kEnd)) {
        if (ends.size() == 0) return out;
        corrupt(fmt::format("the template ends inside a block, expected '{}'", *(ends.end() - 1)));
      } else if (at(TokenKind::kData)) {
        out.push_back(make(StatementKind::kText, line));
        out.back().text = next().text;
      } else if (at(TokenKind::kVariableBegin)) {
        next();
        out.push_back(make(StatementKind::kPrint, line));
        out.back().value = tuple();
        if (!at(TokenKind::kVariableEnd)) {
          corrupt(fmt::format("found {}, expected '}}}}'", describe(current())));
        }
        next();
      } else {
        next();  // '{%': the lexer gives nothing else here
        if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return at_name(end); }))
          return out;
        out.push_back(statement());
        expect_block_end();
      }
    }
  }

  /// A block's body from the end of its opening tag to its closing tag's name, which is consumed.
  Body block(std::string_view end) {
    open_block();
    Body out = body({end});
    next();
    return out;
  }

  void open_block() {
    skip_operator(":");
    expect_block_end();
  }

  static Statement make(StatementKind kind, int line) {
    Statement statement{};
    statement.kind = kind;
    statement.line = line;
    return statement;
  }

  Statement statement() {
    if (!at(TokenKind::kName)) {
      corrupt(fmt::format("found {}, expected the name of a statement", describe(current())));
    }
    const std::string name = current().text;
    const int line = current().line;
    if (name == "if") return if_statement();
    if (name == "for") return for_statement();
    if (name == "set") return set_statement();
    if (name == "macro") return macro_statement();
    if (name == "call") return call_statement();
    if (name == "with") return with_statement();
    if (name == "break" || name == "continue") return loop_control(name);
    if (name == "generation") {
      next();
      Statement out = make(StatementKind::kGeneration, line);
      out.body = own_scope("endgeneration");
      return out;
    }
    if (name == "filter") {
      next();
      Statement out = make(StatementKind::kFilterBlock, line);
      out.value = filter(nullptr);
      while (skip_operator("|")) out.value = filter(std::move(out.value));
      out.body = block("endfilter");
      return out;
    }
    for (const std::string_view known :
         {"block", "extends", "print", "include", "from", "import", "autoescape", "do", "trans"}) {
      if (name == known) refuse(fmt::format("the statement '{}'", name));
    }
    corrupt(fmt::format("found '{}', expected a statement", name));
  }

  Statement loop_control(const std::string& name) {
    if (loops_ == 0) corrupt(fmt::format("'{}' outside a loop", name));
    const int line = next().line;
    return make(name == "break" ? StatementKind::kBreak : StatementKind::kContinue, line);
  }

  /// A body that break and continue cannot leave.
  Body own_scope(std::string_view end) {
    const int loops = std::exchange(loops_, 0);
    Body out = block(end);
    loops_ = loops;
    return out;
  }

  Statement if_statement() {
    Statement out = make(StatementKind::kIf, current().line);
    do {
      next();
      Branch branch;
      branch.condition = tuple(false);
      open_block();
      branch.body = body({"elif", "else", "endif"});
      out.branches.push_back(std::move(branch));
    } while (at_name("elif"));
    if (next().text == "else") out.otherwise = block("endif");
    return out;
  }

  Statement for_statement() {
    Statement out = make(StatementKind::kFor, next().line);
    out.target = target(false, "in");
    expect_name("in");
    out.value = tuple(false, "recursive");
    if (skip_name("if")) out.condition = expression();
    if (at_name("recursive")) refuse("a recursive loop");
    open_block();
    ++loops_;
    out.body = body({"else", "endfor"});
    --loops_;
    if (next().text == "else") out.otherwise = block("endfor");
    return out;
  }

  Statement set_statement() {
    const int line = next().line;
    Target to = target(true, "");
    Statement out = make(StatementKind::kSet, line);
    out.target = std::move(to);
    if (skip_operator("=")) {
      out.value = tuple();
      return out;
    }
    out.kind = StatementKind::kSetBlock;
    while (skip_operator("|")) out.value = filter(std::move(out.value));
    out.body = block("endset");
    return out;
  }

  Statement with_statement() {
    Statement out = make(StatementKind::kWith, next().line);
    while (!at(TokenKind::kBlockEnd)) {
      if (!out.assignments.empty()) expect_operator(",");
      Target to = target(false, "");
      expect_operator("=");
      ExprPtr value = expression();
      out.assignments.emplace_back(std::move(to), std::move(value));
    }
    out.body = block("endwith");
    return out;
  }

  Statement macro_statement() {
    Statement out = make(StatementKind::kMacro, next().line);
    out.macro = std::make_unique<MacroNode>();
    out.macro->line = out.line;
    out.macro->name = expect_any_name();
    signature(*out.macro);
    macro_body(*out.macro, "endmacro");
    return out;
  }

  Statement call_statement() {
    Statement out = make(StatementKind::kCallBlock, next().line);
    out.macro = std::make_unique<MacroNode>();
    out.macro->line = out.line;
    out.macro->name = "caller";
    if (at_operator("(")) signature(*out.macro);
    out.value = expression();
    if (out.value->kind != ExprKind::kCall) corrupt("a call block without a call");
    macro_body(*out.macro, "endcall");
    return out;
  }

  void signature(MacroNode& macro) {
    expect_operator("(");
    while (!at_operator(")")) {
      if (!macro.parameters.empty()) expect_operator(",");
      Parameter parameter;
      parameter.name = expect_any_name();
      if (skip_operator("=")) {
        parameter.default_value = expression();
      } else if (!macro.parameters.empty() && macro.parameters.back().default_value) {
        corrupt(fmt::format("parameter '{}' without a default follows one with a default",
                            parameter.name));
      }
      macro.parameters.push_back(std::move(parameter));
    }
    next();
  }

  void macro_body(MacroNode& macro, std::string_view end) {
    macros_.push_back(&macro);
    macro.body = own_scope(end);
    macros_.pop_back();
  }

  // --- assignment targets

  Target target(bool with_attributes, std::string_view end) {
    Target first = single_target(with_attributes);
    if (!at_operator(",")) return first;
    Target all;
    all.items.push_back(std::move(first));
    while (skip_operator(",")) {
      if (at_name(end) || at_operator("=") || at_operator(")") || at(TokenKind::kBlockEnd)) break;
      all.items.push_back(single_target(with_attributes));
    }
    return all;
  }

  Target single_target(bool with_attributes) {
    const Level level(*this);
    if (skip_operator("(")) {
      Target inner = target(with_attributes, "");
      expect_operator(")");
      return inner;
    }
    Target out;
    out.name = expect_any_name();
    for (const std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
      if (out.name == constant) corrupt(fmt::format("an assignment to '{}'", constant));
    }
    if (out.name == "loop" && !with_attributes) corrupt("an assignment to the name 'loop'");
    if (with_attributes && skip_operator(".")) out.attribute = expect_any_name();
    return out;
  }

  // --- expressions

  ExprPtr node(ExprKind kind, int line) const {
    auto out = std::make_unique<Expr>();
    out->kind = kind;
    out->line = line;
    return out;
  }

  void adopt(Expr& parent, ExprPtr child) {
    if (child) {
      parent.depth = std::max(parent.depth, child->depth + 1);
      if (parent.depth > kMaxDepth) too_deep();
    }
    parent.children.push_back(std::move(child));
  }

  ExprPtr binary(ExprKind kind, int line, ExprPtr left, ExprPtr right, std::string name = "") {
    ExprPtr out = node(kind, line);
    out->name = std::move(name);
    adopt(*out, std::move(left));
    adopt(*out, std::move(right));
    return out;
  }

  /// An expression, or several with commas between as a tuple.
  ExprPtr tuple(bool with_condition = true, std::string_view end = "", bool in_brackets = false) {
    const int line = current().line;
    std::vector<ExprPtr> items;
    bool has_comma = false;
    for (;;) {
      if (at(TokenKind::kVariableEnd) || at(TokenKind::kBlockEnd) || at_operator(")") ||
          (!end.empty() && at_name(end))) {
        break;
      }
      items.push_back(with_condition ? expression() : or_expression());
      if (!skip_operator(",")) break;
      has_comma = true;
    }
    if (!has_comma) {
      if (!items.empty()) return std::move(items[0]);
      if (!in_brackets) {
        corrupt(fmt::format("found {}, expected an expression", describe(current())));
      }
    }
    ExprPtr out = node(ExprKind::kTuple, line);
    for (ExprPtr& item : items) adopt(*out, std::move(item));
    return out;
  }

  ExprPtr expression() {
    const Level level(*this);
    ExprPtr value = or_expression();
    while (at_name("if")) {
      const int line = next().line;
      ExprPtr out = node(ExprKind::kCondition, line);
      adopt(*out, or_expression());
      adopt(*out, std::move(value));
      adopt(*out, skip_name("else") ? expression() : nullptr);
      value = std::move(out);
    }
    return value;
  }

  ExprPtr or_expression() {
    ExprPtr left = and_expression();
    while (at_name("or")) {
      const int line = next().line;
      left = binary(ExprKind::kOr, line, std::move(left), and_expression());
    }
    return left;
  }

  ExprPtr and_expression() {
    ExprPtr left = not_expression();
    while (at_name("and")) {
      const int line = next().line;
      left = binary(ExprKind::kAnd, line, std::move(left), not_expression());
    }
    return left;
  }

  ExprPtr not_expression() {
    if (!at_name("not")) return comparison();
    const Level level(*this);
    ExprPtr out = node(ExprKind::kNot, next().line);
    adopt(*out, not_expression());
    return out;
  }

  std::string comparison_operator() {
    for (const std::string_view op : {"==", "!=", "<", "<=", ">", ">="}) {
      if (skip_operator(op)) return std::string(op);
    }
    if (skip_name("in")) return "in";
    if (at_name("not") && following().kind == TokenKind::kName && following().text == "in") {
      next();
      next();
      return "notin";
    }
    return "";
  }

  ExprPtr comparison() {
    const int line = current().line;
    ExprPtr first = sum();
    std::string op = comparison_operator();
    if (op.empty()) return first;
    ExprPtr out = node(ExprKind::kCompare, line);
    adopt(*out, std::move(first));
    for (; !op.empty(); op = comparison_operator()) {
      out->operators.push_back(op);
      adopt(*out, sum());
    }
    return out;
  }

  ExprPtr sum() {
    ExprPtr left = concatenation();
    while (at_operator("+") || at_operator("-")) {
      const Token op = next();
      left = binary(ExprKind::kBinary, op.line, std::move(left), concatenation(), op.text);
    }
    return left;
  }

  ExprPtr concatenation() {
    ExprPtr first = product();
    if (!at_operator("~")) return first;
    ExprPtr out = node(ExprKind::kConcat, current().line);
    adopt(*out, std::move(first));
    while (skip_operator("~")) adopt(*out, product());
    return out;
  }

  ExprPtr product() {
    ExprPtr left = power();
    while (at_operator("*") || at_operator("/") || at_operator("//") || at_operator("%")) {
      const Token op = next();
      left = binary(ExprKind::kBinary, op.line, std::move(left), power(), op.text);
    }
    return left;
  }

  ExprPtr power() {
    ExprPtr left = unary(true);
    while (at_operator("**")) {
      const Token op = next();
      left = binary(ExprKind::kBinary, op.line, std::move(left), unary(true), op.text);
    }
    return left;
  }

  /// Jinja's own order: -x.y is (-x).y, while in -x|f the filter comes last.
  ExprPtr unary(bool with_filters) {
    const Level level(*this);
    ExprPtr out;
    if (at_operator("-") || at_operator("+")) {
      const Token op = next();
      out = node(op.text == "-" ? ExprKind::kNegate : ExprKind::kPlus, op.line);
      adopt(*out, unary(false));
    } else {
      out = primary();
    }
    out = postfix(std::move(out));
    return with_filters ? filters_and_tests(std::move(out)) : std::move(out);
  }

  ExprPtr constant(int line, Value value) {
    ExprPtr out = node(ExprKind::kConstant, line);
    out->constant = std::move(value);
    return out;
  }

  ExprPtr primary() {
    const Token token = current();
    switch (token.kind) {
      case TokenKind::kName:
        next();
        return name(token);
      case TokenKind::kString: {
        std::string text;
        while (at(TokenKind::kString)) text += next().text;
        return constant(token.line, std::move(text));
      }
      case TokenKind::kInteger:
        next();
        return constant(token.line, token.integer);
      case TokenKind::kFloat:
        next();
        return constant(token.line, token.real);
      default:
        break;
    }
    if (skip_operator("(")) {
      ExprPtr inner = tuple(true, "", true);
      expect_operator(")");
      return inner;
    }
    if (at_operator("[")) return list();
    if (at_operator("{")) return dict();
    corrupt(fmt::format("found {}, expected an expression", describe(token)));
  }

  ExprPtr name(const Token& token) {
    if (token.text == "true" || token.text == "True") return constant(token.line, true);
    if (token.text == "false" || token.text == "False") return constant(token.line, false);
    if (token.text == "none" || token.text == "None") return constant(token.line, None{});
    for (MacroNode* macro : macros_) {
      macro->uses_caller |= token.text == "caller";
      macro->uses_varargs |= token.text == "varargs";
      macro->uses_kwargs |= token.text == "kwargs";
    }
    ExprPtr out = node(ExprKind::kName, token.line);
    out->name = token.text;
    return out;
  }

  ExprPtr list() {
    ExprPtr out = node(ExprKind::kList, next().line);
    while (!at_operator("]")) {
      if (!out->children.empty()) expect_operator(",");
      if (at_operator("]")) break;
      adopt(*out, expression());
    }
    next();
    return out;
  }

  ExprPtr dict() {
    ExprPtr out = node(ExprKind::kDict, next().line);
    while (!at_operator("}")) {
      if (!out->children.empty()) expect_operator(",");
      if (at_operator("}")) break;
      adopt(*out, expression());
      expect_operator(":");
      adopt(*out, expression());
    }
    next();
    return out;
  }

  ExprPtr postfix(ExprPtr out) {
    for (;;) {
      if (at_operator(".")) {
        out = attribute(std::move(out));
      } else if (at_operator("[")) {
        out = item(std::move(out));
      } else if (at_operator("(")) {
        out = call(std::move(out));
      } else {
        return out;
      }
    }
  }

  ExprPtr attribute(ExprPtr object) {
    const int line = next().line;
    const Token token = next();
    if (token.kind == TokenKind::kInteger) {
      return binary(ExprKind::kItem, line, std::move(object), constant(line, token.integer));
    }
    if (token.kind != TokenKind::kName) {
      corrupt(fmt::format("found {} after '.', expected a name", describe(token)));
    }
    ExprPtr out = node(ExprKind::kAttribute, line);
    out->name = token.text;
    adopt(*out, std::move(object));
    return out;
  }

  ExprPtr item(ExprPtr object) {
    const int line = next().line;
    const auto bound = [&]() -> ExprPtr {
      return at_operator(":") || at_operator("]") ? nullptr : expression();
    };
    ExprPtr key = bound();
    if (!skip_operator(":")) {
      if (at_operator(",")) refuse("a subscript with a comma");
      if (!key) corrupt("an empty subscript");
      expect_operator("]");
      return binary(ExprKind::kItem, line, std::move(object), std::move(key));
    }
    ExprPtr out = node(ExprKind::kSlice, line);
    adopt(*out, std::move(object));
    adopt(*out, std::move(key));
    adopt(*out, bound());
    adopt(*out, skip_operator(":") ? bound() : nullptr);
    if (at_operator(",")) refuse("a subscript with a comma");
    expect_operator("]");
    return out;
  }

  ExprPtr call(ExprPtr callee) {
    ExprPtr out = node(ExprKind::kCall, current().line);
    adopt(*out, std::move(callee));
    arguments(*out);
    return out;
  }

  void arguments(Expr& to) {
    const auto argument = [&] {
      ExprPtr value = expression();
      to.depth = std::max(to.depth, value->depth + 1);
      if (to.depth > kMaxDepth) too_deep();
      return value;
    };
    Arguments& out = to.arguments;
    expect_operator("(");
    for (bool first = true; !at_operator(")"); first = false) {
      if (!first) {
        expect_operator(",");
        if (at_operator(")")) break;
      }
      if (skip_operator("**")) {
        if (out.double_star) corrupt("two ** arguments in a call");
        out.double_star = argument();
      } else if (skip_operator("*")) {
        if (out.star || out.double_star) corrupt("a * argument at the wrong place in a call");
        out.star = argument();
      } else if (at(TokenKind::kName) && following().kind == TokenKind::kOperator &&
                 following().text == "=") {
        if (out.double_star) corrupt("a named argument after ** in a call");
        std::string key = next().text;
        next();
        out.named.emplace_back(std::move(key), argument());
      } else {
        if (out.star || out.double_star || !out.named.empty()) {
          corrupt("a positional argument after a named one in a call");
        }
        out.positional.push_back(argument());
      }
    }
    next();
  }

  ExprPtr filters_and_tests(ExprPtr out) {
    for (;;) {
      if (skip_operator("|")) {
        out = filter(std::move(out));
      } else if (at_name("is")) {
        out = test(std::move(out));
      } else if (at_operator("(")) {
        out = call(std::move(out));
      } else {
        return out;
      }
    }
  }

  /// A filter's or a test's name, which may hold dots.
  std::string dotted_name() {
    std::string name = expect_any_name();
    while (skip_operator(".")) name += "." + expect_any_name();
    return name;
  }

  ExprPtr filter(ExprPtr operand) {
    ExprPtr out = node(ExprKind::kFilter, current().line);
    out->name = dotted_name();
    if (!is_filter(out->name)) refuse(fmt::format("the filter '{}'", out->name));
    adopt(*out, std::move(operand));
    if (at_operator("(")) arguments(*out);
    return out;
  }

  ExprPtr test(ExprPtr operand) {
    ExprPtr out = node(ExprKind::kTest, next().line);
    const bool negated = skip_name("not");
    out->name = dotted_name();
    if (!is_test(out->name)) refuse(fmt::format("the test '{}'", out->name));
    adopt(*out, std::move(operand));
    if (at_operator("(")) {
      arguments(*out);
    } else if (at(TokenKind::kString) || at(TokenKind::kInteger) || at(TokenKind::kFloat) ||
               at_operator("[") || at_operator("{") ||
               (at(TokenKind::kName) && !at_name("else") && !at_name("or") && !at_name("and"))) {
      if (at_name("is")) corrupt("two tests in a row");
      ExprPtr argument = postfix(primary());
      out->depth = std::max(out->depth, argument->depth + 1);
      if (out->depth > kMaxDepth) too_deep();
      out->arguments.positional.push_back(std::move(argument));
    }
    if (!negated) return out;
    ExprPtr wrapped = node(ExprKind::kNot, out->line);
    adopt(*wrapped, std::move(out));
    return wrapped;
  }

  std::vector<Token> tokens_;
  std::size_t position_ = 0;
  int level_ = 0;
  int loops_ = 0;                   ///< loops that break and continue could leave
  std::vector<MacroNode*> macros_;  ///< whose bodies are being parsed
};

}  // namespace

Body parse(std::string_view source) { return Parser(tokenize(source)).run(); }

}  // namespace onebit::text::jinja
