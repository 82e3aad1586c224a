// Fuzzes what lies beside results and in the folders of runs: samples and metrics, a line an
// object.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/error.h"
#include "report/input.h"
#include "report/paired.h"
#include "report/run_curves.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  report::TrainingRun run;
  run.rows = report::parse_metrics(text);
  for (const report::CurvePanel& panel : report::kCurvePanels) {
    report::thinned(report::curve_points(run, panel.key, 3), 10);
  }
  try {
    for (const auto& [task, samples] : report::parse_samples(text, "samples.jsonl")) {
      const auto pairs = report::score_pairs(samples, samples, "acc");
      if (!pairs.empty()) report::paired_difference(pairs).p();
    }
  } catch (const Error&) {
  }
  return 0;
}
