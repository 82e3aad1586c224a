#include "eval/log_prob_row.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "eval/vector_exp.h"

namespace onebit::eval {
namespace {

using Short4 = std::uint16_t __attribute__((vector_size(8)));

constexpr float kSteps = 65535.0F;
constexpr float kRound =
    12582912.0F;  // 1.5 · 2^23: adding it rounds to a whole number, half to even

float least_of(std::span<const float> logits) noexcept {
  Float4 least = {logits[0], logits[0], logits[0], logits[0]};
  std::size_t i = 0;
  for (; i + 4 <= logits.size(); i += 4) {
    const Float4 z = load4(&logits[i]);
    least = z < least ? z : least;
  }
  float result = std::min(std::min(least[0], least[1]), std::min(least[2], least[3]));
  for (; i < logits.size(); ++i) result = std::min(result, logits[i]);
  return result;
}

}  // namespace

void encode_log_probs(std::span<const float> logits, const LogSumExp& sums, RowKind kind,
                      std::span<std::uint16_t> row) noexcept {
  const float max = logits[sums.top];
  const float floor = std::max(least_of(logits), max - span_of(kind));
  const float scale = (max - floor) / kSteps;
  const auto least = static_cast<float>(static_cast<double>(floor) - sums.value);
  std::memcpy(&row[0], &scale, sizeof(scale));
  std::memcpy(&row[2], &least, sizeof(least));
  std::uint16_t* codes = &row[4];
  std::fill(codes, row.data() + row.size(), std::uint16_t{0});
  if (scale < std::numeric_limits<float>::min()) return;  // all equal, or as good as
  const float inverse = 1.0F / scale;
  std::size_t i = 0;
  for (; i + 4 <= logits.size(); i += 4) {
    const Float4 z = load4(&logits[i]);
    const Float4 rounded = keep(z > floor, (z - floor) * inverse) + kRound;
    const Uint4 words = __builtin_bit_cast(Uint4, rounded) & 0xFFFFU;
    const Short4 four = __builtin_convertvector(words, Short4);
    std::memcpy(codes + i, &four, sizeof(four));
  }
  for (; i < logits.size(); ++i) {
    const float steps = logits[i] > floor ? (logits[i] - floor) * inverse : 0.0F;
    codes[i] = static_cast<std::uint16_t>(std::nearbyint(steps));
  }
}

LogProbRow decode_log_probs(std::span<const std::uint16_t> words, std::int64_t vocab,
                            RowKind kind) noexcept {
  LogProbRow row;
  row.kind = kind;
  std::memcpy(&row.scale, &words[0], sizeof(row.scale));
  std::memcpy(&row.least, &words[2], sizeof(row.least));
  row.codes = words.subspan(4, static_cast<std::size_t>(vocab));
  return row;
}

bool plausible(const LogProbRow& row) noexcept {
  constexpr float kSlack = 1e-2F;
  const float uniform = -std::log(static_cast<float>(row.codes.size()));
  const float greatest = row.scale * kSteps + row.least;
  if (!(row.scale >= 0 && row.scale <= span_of(row.kind) / kSteps + 1e-6F)) return false;
  return greatest >= uniform - kSlack && greatest <= (row.scale == 0 ? uniform : 0.0F) + kSlack;
}

}  // namespace onebit::eval
