#include "cli/synth_file.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "arch/packed_writer.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/part_file.h"

namespace onebit::cli {
namespace {

using Json = PartFile::Json;

/// All that a sample depends on but its number.
Json header(const runtime::Model& model, const runtime::SynthOptions& options) {
  const runtime::SamplerOptions& sampling = options.sampling;
  return {{"program", arch::program_name()},
          {"model_identity", model.checkpoint().identity()},
          {"kernels", model.kernels().name},
          {"length", options.length},
          {"greedy", {options.greedy_least, options.greedy_most}},
          {"temperature", sampling.temperature},
          {"top_k", sampling.top_k},
          {"top_p", sampling.top_p},
          {"min_p", sampling.min_p},
          {"repeat_penalty", sampling.repeat_penalty},
          {"repeat_last_n", sampling.repeat_last_n},
          {"seed", sampling.seed}};
}

}  // namespace

runtime::SynthTotals write_samples(Context& context, runtime::Model& model,
                                   runtime::SynthOptions& options,
                                   const std::filesystem::path& path, const SynthParts& parts) {
  require_writable(path);
  bool restart = parts.restart;
  if (const std::optional<Json> found = PartFile::header_of(path); found && !restart) {
    if (parts.any_seed && found->contains("seed") && (*found)["seed"].is_number_unsigned()) {
      options.sampling.seed = (*found)["seed"].get<std::uint64_t>();
    }
    restart = parts.drop_other && *found != header(model, options);
  }
  runtime::SynthTotals before;
  PartFile part(path, header(model, options), restart, [&](const Json& row) {
    if (before.samples == options.samples) return;
    ++before.samples;
    before.tokens += static_cast<std::int64_t>(row.value("tokens", Json::array()).size());
  });
  options.first = before.samples;
  runtime::SynthTotals totals;
  try {
    const auto progress = context.console.progress("synth", "tokens");
    totals = runtime::synthesize(
        model, options,
        [&](const runtime::SynthSample& sample) {
          part.add({{"text", sample.text}, {"tokens", sample.tokens}});
        },
        *progress, context.interrupts.token());
  } catch (const Error& error) {
    std::error_code ignored;
    if (error.code() != ErrorCode::kInterrupted || !std::filesystem::exists(part.path(), ignored)) {
      throw;
    }
    throw Error(error.code(), fmt::format("{}; texts that are done are in {}, the same command "
                                          "goes on",
                                          error.what(), part.path().string()));
  }
  AtomicFile out(path);
  part.copy_to(out, options.samples);
  out.commit();
  part.remove();
  totals.samples += before.samples;
  totals.tokens += before.tokens;
  return totals;
}

}  // namespace onebit::cli
