// Self-generated text on disk: what `synth` writes, and `distill` where it is given no data.
#pragma once

#include <filesystem>

#include "cli/command.h"
#include "runtime/synth.h"

namespace onebit::cli {

/// What becomes of the texts that an earlier process has left in PATH.part.
struct SynthParts {
  bool restart = false;     ///< they are dropped
  bool any_seed = false;    ///< where they differ in the seed alone, theirs is taken
  bool drop_other = false;  ///< those of other settings are dropped, with a warning, and no error
  bool keep = false;        ///< they stay where all are written too: PATH can be written again
};

/// Writes a JSONL row {"text", "tokens"} a sample, with progress; whole or not at all. What is done
/// stays in PATH.part until then, and the next call with the same options goes on with it.
/// options.first becomes what was there, options.sampling.seed what was used. Gives the totals of
/// the whole file, but of `generated` those of this call. Throws as runtime::synthesize and
/// PartFile; Error{kIo}, before the work where the place cannot be written.
runtime::SynthTotals write_samples(Context& context, runtime::Model& model,
                                   runtime::SynthOptions& options,
                                   const std::filesystem::path& path, const SynthParts& parts);

}  // namespace onebit::cli
