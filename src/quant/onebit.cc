// The method `onebit` without training: S = sign(W), g and h by SVID.
#include <map>
#include <vector>

#include "base/check.h"
#include "formats/sign1.h"
#include "quant/method.h"
#include "quant/svid_layer.h"

namespace onebit::quant {
namespace {

std::vector<std::uint64_t> pack_signs(const MatrixTask& task, ThreadPool& pool) {
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
  return words;
}

class OneBitQuantizer final : public Quantizer {
 public:
  OneBitQuantizer(const arch::Checkpoint& source, const MethodOptions& options, ThreadPool& pool)
      : source_(source),
        options_(options),
        pool_(pool),
        folds_(options.form == arch::Form::kFoldable),
        groups_(start_groups(source.config(), options.form)) {}

  /// Where scales are shared or fold into other tensors, all of the layer must be known first.
  void begin_layer(std::int64_t layer) override {
    if (!folds_) return;
    starts_.clear();
    folded_.clear();
    for (const StartGroup& group : groups_) {
      SharedSvidResult result =
          svid_group(source_, group, layer, options_.group_size, options_.svid, pool_);
      for (std::size_t i = 0; i < group.readers.size(); ++i) {
        starts_[group.readers[i]] = std::move(result.parts[i]);
      }
      folded_[*group.target] = std::move(result.g);
    }
  }

  void adjust(arch::Role role, std::int64_t, std::span<float> values) override {
    const auto found = folded_.find(role);
    if (found == folded_.end()) return;
    // A norm has one value for each of g, a matrix with groups of inputs a row of them.
    const std::size_t width = values.size() / found->second.size();
    for (std::size_t i = 0; i < values.size(); ++i) values[i] *= found->second[i / width];
  }

  MatrixReport add(const MatrixTask& task, arch::PackedWriter& writer) override {
    SharedSvidResult::Part start;
    std::vector<float> g;
    if (folds_) {
      start = starts_.at(task.role);
      adjust(task.role, task.layer, start.h);
    } else {
      SvidResult alone = svid(task.weights, task.out, task.in, options_.svid, pool_);
      start = {std::move(alone.h), alone.relative_error, alone.square_norm};
      g = std::move(alone.g);
    }
    const std::vector<std::uint64_t> words = pack_signs(task, pool_);
    writer.add_one_bit(task.role, task.layer, words, g, start.h);

    MatrixReport report;
    report.shape = {task.out, task.in};
    report.relative_error = start.relative_error;
    report.square_norm = start.square_norm;
    report.square_error = start.relative_error * start.square_norm;
    report.stored_bytes = words.size() * sizeof(std::uint64_t) +
                          formats::info(options_.scales).block_bytes * (g.size() + start.h.size());
    return report;
  }

 private:
  const arch::Checkpoint& source_;
  MethodOptions options_;
  ThreadPool& pool_;
  bool folds_;
  std::vector<StartGroup> groups_;
  std::map<arch::Role, SharedSvidResult::Part> starts_;  ///< of the layer under way
  std::map<arch::Role, std::vector<float>> folded_;      ///< g by what it folds into
};

std::unique_ptr<Quantizer> make_onebit(const arch::Checkpoint& source, const MethodOptions& options,
                                       ThreadPool& pool) {
  return std::make_unique<OneBitQuantizer>(source, options, pool);
}

}  // namespace

extern const Method method_onebit = {
    .name = "onebit",
    .summary = "sign matrix and two scale vectors, W ≈ sign(W) ⊙ h gᵀ (SVID)",
    .make = make_onebit,
};

}  // namespace onebit::quant
