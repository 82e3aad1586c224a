// The method `onebit` without training: S = sign(W), g and h by SVID.
#include <vector>

#include "formats/sign1.h"
#include "quant/method.h"

namespace onebit::quant {
namespace {

MatrixReport quantize_onebit(const MatrixTask& task, const MethodOptions& options,
                             arch::PackedWriter& writer, ThreadPool& pool) {
  const SvidResult start = svid(task.weights, task.out, task.in, options.svid, pool);
  const std::int64_t words_per_row = formats::sign1_row_words(task.in);
  std::vector<std::uint64_t> words(static_cast<std::size_t>(task.out * words_per_row));
  pool.parallel_for(task.out, 16, [&](std::int64_t begin, std::int64_t end, int) {
    for (std::int64_t r = begin; r < end; ++r) {
      formats::sign1_pack_row(task.weights.subspan(static_cast<std::size_t>(r * task.in),
                                                   static_cast<std::size_t>(task.in)),
                              std::span(words).subspan(static_cast<std::size_t>(r * words_per_row),
                                                       static_cast<std::size_t>(words_per_row)));
    }
  });
  writer.add_one_bit(task.role, task.layer, words, start.g, start.h);

  MatrixReport report;
  report.shape = {task.out, task.in};
  report.relative_error = start.relative_error;
  report.square_norm = start.square_norm;
  report.square_error = start.relative_error * start.square_norm;
  const std::uint64_t scale_bytes = formats::info(options.scales).block_bytes;
  report.stored_bytes =
      words.size() * sizeof(std::uint64_t) +
      scale_bytes * (static_cast<std::uint64_t>(task.in) + static_cast<std::uint64_t>(task.out));
  return report;
}

}  // namespace

extern const Method method_onebit = {
    .name = "onebit",
    .summary = "sign matrix and two scale vectors, W ≈ sign(W) ⊙ h gᵀ (SVID)",
    .quantize = quantize_onebit,
};

}  // namespace onebit::quant
