// The flags of commands that make a packed 1-bit model: its form, its start, its stored types.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "cli/flags.h"

namespace onebit::cli {

/// Each may be optional: then it has no default.
template <class Form, class Init, class Split>
void define_one_bit(CLI::App& app, Form& form, Init& init, Split& split) {
  define_choice(app, "--form", form,
                "1-bit layers with the paper's LayerNorm on their output, or without it");
  define_choice(app, "--init", init, "how the scales of a matrix start");
  define_choice(app, "--split", split, "how input and output scales share their product");
}

/// Stored types, as formats::parse_dtype reads them.
struct PackFlags {
  std::string embedding = "q8_0";
  std::string head = "q8_0";
  std::string scales = "f16";
};

inline void define_pack(CLI::App& app, PackFlags& flags) {
  const std::vector<std::string_view> dense = {"f32", "f16", "bf16", "q8_0"};
  define_choice(app, "--embed", flags.embedding, "type of the embedding (a tied head too)", dense);
  define_choice(app, "--head", flags.head, "type of the output matrix", dense);
  define_choice(app, "--scales", flags.scales, "type of the scales", {"f32", "f16"});
}

}  // namespace onebit::cli
