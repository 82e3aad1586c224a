// Fuzzes a teacher's saved log-probabilities: any bytes give rows that can be scored, or an Error.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/error.h"
#include "eval/divergence.h"
#include "eval/log_prob_file.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  constexpr std::int64_t kMaxValues = 1 << 16;  // keeps one input fast
  // Files are mapped at a page's beginning; fuzzers' bytes may begin anywhere.
  std::vector<std::uint32_t> aligned((size + 3) / 4);
  std::copy_n(data, size, reinterpret_cast<std::uint8_t*>(aligned.data()));
  try {
    const auto file =
        eval::LogProbFile::parse(std::as_bytes(std::span(aligned)).first(size), "base");
    if (file.vocab() > kMaxValues) return 0;
    const std::vector<float> model(static_cast<std::size_t>(file.vocab()), 0.5F);
    double sum = 0;
    for (std::int64_t i = 0; i < std::min(file.rows(), kMaxValues / file.vocab()); ++i) {
      const auto target = static_cast<text::TokenId>(i % file.vocab());
      sum += eval::score_position(model, file.row(i), target).kl;
    }
    volatile double sink = sum;
    static_cast<void>(sink);
  } catch (const Error&) {
  }
  return 0;
}
