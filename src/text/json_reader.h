// Checked access to the JSON of tokenizer files: errors name the file and the place.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace onebit::text {

using Json = nlohmann::json;

/// Throws Error{kCorrupt} for text that is not a JSON object.
Json parse_json(std::string_view text, std::string_view file);

/// The member of that name; null where there is none or `json` is no object.
const Json& member(const Json& json, const char* name);

/// These throw Error{kCorrupt} for absence and for another type, except get_bool: nothing when
/// absent or null. `where` is the part of the file.
const Json& require_object(const Json& json, std::string_view file, std::string_view where);
const Json& require_array(const Json& json, const char* name, std::string_view file,
                          std::string_view where);
std::string require_string(const Json& json, const char* name, std::string_view file,
                           std::string_view where);
TokenId require_id(const Json& json, const char* name, std::string_view file,
                   std::string_view where);
std::optional<bool> get_bool(const Json& json, const char* name, std::string_view file);

/// A number as a token id. Throws Error{kCorrupt}.
TokenId to_id(const Json& json, std::string_view file, std::string_view where);

}  // namespace onebit::text
