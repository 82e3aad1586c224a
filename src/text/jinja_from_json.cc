// Variables of a template from JSON, as an HTTP request or a test brings them.
#include <nlohmann/json.hpp>

#include "text/jinja_error.h"
#include "text/jinja_eval.h"
#include "text/jinja_ops.h"

namespace onebit::text::jinja {
namespace {

using Json = nlohmann::ordered_json;

Value convert(Budget& budget, const Json& json) {
  const Budget::Level level(budget);
  switch (json.type()) {
    case Json::value_t::null:
      return None{};
    case Json::value_t::boolean:
      return json.get<bool>();
    case Json::value_t::number_integer:
      return json.get<std::int64_t>();
    case Json::value_t::number_unsigned:
      if (json.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
        unsupported("an integer beyond 64 bits");
      }
      return json.get<std::int64_t>();
    case Json::value_t::number_float:
      return json.get<double>();
    case Json::value_t::string:
      return json.get<std::string>();
    case Json::value_t::array: {
      std::vector<Value> items;
      for (const Json& item : json) items.push_back(convert(budget, item));
      return make_sequence(budget, std::move(items));
    }
    case Json::value_t::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, value] : json.items()) {
        entries.emplace_back(Value(key), convert(budget, value));
      }
      return make_dict(budget, std::move(entries));
    }
    default:
      fail("the JSON holds what is no JSON value");
  }
}

}  // namespace

Value from_json(Budget& budget, std::string_view json) {
  const Json parsed = Json::parse(json, nullptr, false);
  if (parsed.is_discarded()) fail("not JSON");
  return convert(budget, parsed);
}

}  // namespace onebit::text::jinja
