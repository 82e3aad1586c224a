// The flags of commands that make a packed 1-bit model: its form, its start, its stored types.
#pragma once

#include <string>

#include "arch/checkpoint.h"
#include "cli/flags.h"

namespace onebit::cli {

struct OneBitFlags {
  std::string form = "foldable";
  std::string init = "nmf";
  std::string split = "rms";

  arch::Form parsed_form() const {
    return form == "paper" ? arch::Form::kPaper : arch::Form::kFoldable;
  }
};

inline void define_one_bit(CLI::App& app, OneBitFlags& flags) {
  define_choice(app, "--form", flags.form,
                "1-bit layers with the paper's LayerNorm on their output, or without it",
                {"paper", "foldable"});
  define_choice(app, "--init", flags.init, "how the scales of a matrix start",
                {"nmf", "svd", "copy"});
  define_choice(app, "--split", flags.split, "how input and output scales share their product",
                {"rms", "balanced", "in", "out"});
}

/// Stored types, as formats::parse_dtype reads them.
struct PackFlags {
  std::string embedding = "q8_0";
  std::string head = "q8_0";
  std::string scales = "f16";
};

inline void define_pack(CLI::App& app, PackFlags& flags) {
  const std::vector<std::string> dense = {"f32", "f16", "bf16", "q8_0"};
  define_choice(app, "--embed", flags.embedding, "type of the embedding (a tied head too)", dense);
  define_choice(app, "--head", flags.head, "type of the output matrix", dense);
  define_choice(app, "--scales", flags.scales, "type of the scales", {"f32", "f16"});
}

}  // namespace onebit::cli
