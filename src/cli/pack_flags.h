// The flags of commands that make a packed model: the types of what it stores.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <vector>

#include "arch/model_config.h"
#include "cli/flags.h"

namespace onebit::cli {

/// Stored types, as formats::parse_dtype reads them.
struct PackFlags {
  std::string embedding = "q8_0";
  std::string head = "q8_0";
  std::string scales = "f16";

  struct Entry {
    const char* name;  ///< of the flag, and of a run's record of it
    std::string PackFlags::*type;
    const char* about;
    std::vector<std::string_view> types;
  };
  static std::array<Entry, 3> entries() {
    const std::vector<std::string_view> dense = {"f32", "f16", "bf16", "q8_0", "q4_0"};
    return {{{"embed", &PackFlags::embedding, "type of the embedding (a tied head too)", dense},
             {"head", &PackFlags::head, "type of the output matrix", dense},
             {"scales", &PackFlags::scales, "type of the scales", {"f32", "f16"}}}};
  }
};

inline void define_pack(CLI::App& app, PackFlags& flags) {
  for (const PackFlags::Entry& entry : PackFlags::entries()) {
    define_choice(app, fmt::format("--{}", entry.name).c_str(), flags.*entry.type, entry.about,
                  entry.types);
  }
}

/// Throws UsageError for a type of the output matrix that a model without one cannot have: `given`
/// on the command line, where the embedding, which stands for it, has another.
inline void require_head(bool given, const arch::ModelConfig& config, const PackFlags& flags) {
  if (!given || !config.tied_head || flags.head == flags.embedding) return;
  throw UsageError(fmt::format(
      "--head: found {} for a model whose output matrix is its embedding, expected --embed {}",
      flags.head, flags.head));
}

}  // namespace onebit::cli
