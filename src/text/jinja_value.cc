// The parts of Value that need the complete types.
#include "text/jinja_value.h"

#include <algorithm>

#include "text/jinja_loop.h"

namespace onebit::text::jinja {

std::string Value::why_undefined() const {
  const auto& why = std::get<Undefined>(data_).why;
  return why ? *why : "the value is undefined";
}

const void* Value::identity() const noexcept {
  return std::visit(
      [](const auto& data) -> const void* {
        if constexpr (requires { data.get(); }) {
          return data.get();
        } else {
          return nullptr;
        }
      },
      data_);
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "undefined";
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return "bool";
    case Kind::kInt:
      return "int";
    case Kind::kFloat:
      return "float";
    case Kind::kString:
      return "str";
    case Kind::kSequence:
      switch (value.sequence().type) {
        case Sequence::Type::kList:
          return "list";
        case Sequence::Type::kTuple:
          return "tuple";
        case Sequence::Type::kRange:
          return "range";
        case Sequence::Type::kView:
          return value.sequence().label;
      }
      return "sequence";
    case Kind::kDict:
      return "dict";
    case Kind::kNamespace:
      return "namespace";
    case Kind::kIterator:
      return "generator";
    case Kind::kLoop:
      return "loop";
    case Kind::kMacro:
      return "macro";
    case Kind::kMethod:
      return "method";
    case Kind::kFunction:
      return "function";
  }
  return "value";
}

int depth_of(const Value& value) {
  switch (value.kind()) {
    case Kind::kSequence:
      return value.sequence().depth;
    case Kind::kDict:
      return value.dict().depth;
    case Kind::kIterator:
      return value.iterator().depth;
    case Kind::kMethod:
      return value.method().depth;
    case Kind::kLoop:
      return value.loop().depth;
    default:
      return 0;  // namespaces and macros are owned by the rendering, and end with it
  }
}

bool truthy(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
    case Kind::kNone:
      return false;
    case Kind::kBool:
    case Kind::kInt:
      return value.integer() != 0;
    case Kind::kFloat:
      return value.real() != 0;
    case Kind::kString:
      return !value.string().empty();
    case Kind::kSequence:
      return !value.sequence().items.empty();
    case Kind::kDict:
      return !value.dict().entries.empty();
    default:
      return true;
  }
}

}  // namespace onebit::text::jinja
