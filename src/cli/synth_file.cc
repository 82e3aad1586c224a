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

constexpr const char* kSeed = "seed";

/// All that a sample depends on but its number.
Json header(const runtime::Model& model, const runtime::SynthOptions& options) {
  const runtime::SamplerOptions& sampling = options.sampling;
  return {{"program", arch::program_name()},
          {"model_identity", model.checkpoint().identity()},
          {"kernels", model.kernels().name},
          {"activations", word_of(model.activations())},
          {"kv_type", word_of(model.kv_type())},
          {"length", options.length},
          {"greedy", {options.greedy_least, options.greedy_most}},
          {"temperature", sampling.temperature},
          {"top_k", sampling.top_k},
          {"top_p", sampling.top_p},
          {"min_p", sampling.min_p},
          {"repeat_penalty", sampling.repeat_penalty},
          {"repeat_last_n", sampling.repeat_last_n},
          {kSeed, sampling.seed}};
}

/// Whether what is in PATH.part is to be dropped. Takes its seed, where any will do and nothing
/// else differs.
bool is_dropped(Console& console, const runtime::Model& model, runtime::SynthOptions& options,
                const std::filesystem::path& path, const SynthParts& parts) {
  const std::filesystem::path part = PartFile::path_of(path);
  if (parts.restart || !std::filesystem::exists(part)) return parts.restart;
  const std::optional<Json> found = PartFile::header_of(path);
  Json wanted = header(model, options);
  if (parts.any_seed && found && found->contains(kSeed) && (*found)[kSeed].is_number_unsigned()) {
    wanted[kSeed] = (*found)[kSeed];
  }
  const std::string differs =
      found ? PartFile::difference(*found, wanted) : std::string("no header of a run");
  if (differs.empty()) options.sampling.seed = wanted[kSeed].get<std::uint64_t>();
  if (differs.empty() || !parts.drop_other) return false;
  console.message(LogLevel::kWarning, fmt::format("{}: dropped, the texts of another run: found {}",
                                                  part.string(), differs));
  return true;
}

}  // namespace

runtime::SynthTotals write_samples(Context& context, runtime::Model& model,
                                   runtime::SynthOptions& options,
                                   const std::filesystem::path& path, const SynthParts& parts) {
  require_writable(path);
  const bool restart = is_dropped(context.console, model, options, path, parts);
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
    throw Error(
        error.code(),
        fmt::format("{}; texts that are done are in {}, the same command {}goes on", error.what(),
                    part.path().string(), parts.restart ? "without --restart " : ""));
  }
  AtomicFile out(path);
  part.copy_to(out, options.samples);
  out.commit();
  if (!parts.keep) part.remove();
  totals.samples += before.samples;
  totals.tokens += before.tokens;
  return totals;
}

}  // namespace onebit::cli
