#include "cli/synth_file.h"

#include <nlohmann/json.hpp>

#include "base/atomic_file.h"

namespace onebit::cli {

runtime::SynthTotals write_samples(Context& context, runtime::Model& model,
                                   const runtime::SynthOptions& options,
                                   const std::filesystem::path& path) {
  AtomicFile out(path);
  runtime::SynthTotals totals;
  {
    const auto progress = context.console.progress("synth", "tokens");
    totals = runtime::synthesize(
        model, options,
        [&](const runtime::SynthSample& sample) {
          const nlohmann::ordered_json row = {{"text", sample.text}, {"tokens", sample.tokens}};
          out.write(row.dump() + '\n');
        },
        *progress, context.interrupts.token());
  }
  out.commit();
  return totals;
}

}  // namespace onebit::cli
