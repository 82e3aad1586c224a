// The flags of commands that make a packed model: the types of what it stores.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/flags.h"

namespace onebit::cli {

/// Stored types, as formats::parse_dtype reads them.
struct PackFlags {
  std::string embedding = "q8_0";
  std::string head = "q8_0";
  std::string scales = "f16";
};

inline void define_pack(CLI::App& app, PackFlags& flags) {
  const std::vector<std::string_view> dense = {"f32", "f16", "bf16", "q8_0", "q4_0"};
  define_choice(app, "--embed", flags.embedding, "type of the embedding (a tied head too)", dense);
  define_choice(app, "--head", flags.head, "type of the output matrix", dense);
  define_choice(app, "--scales", flags.scales, "type of the scales", {"f32", "f16"});
}

}  // namespace onebit::cli
