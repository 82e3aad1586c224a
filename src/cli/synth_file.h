// Self-generated text on disk: what `synth` writes, and `distill` where it is given no data.
#pragma once

#include <filesystem>

#include "cli/command.h"
#include "runtime/synth.h"

namespace onebit::cli {

/// Writes a JSONL row {"text", "tokens"} a sample, with progress; whole or not at all. Throws as
/// runtime::synthesize; Error{kIo}, before the work where the place cannot be written.
runtime::SynthTotals write_samples(Context& context, runtime::Model& model,
                                   const runtime::SynthOptions& options,
                                   const std::filesystem::path& path);

}  // namespace onebit::cli
