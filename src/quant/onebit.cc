// The method `onebit` without training: S = sign(W), g and h by SVID.
#include <algorithm>
#include <map>
#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "formats/sign1.h"
#include "quant/method.h"
#include "quant/svid_layer.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {1};

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
        groups_(start_groups(source.config(), options.form)) {
    arch::require_group_size(options.form, options.group_size);
  }

  arch::Storage storage(const arch::TensorId&, const formats::Shape&) const override {
    return arch::OneBitStorage{};
  }

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
    Scales scales = solve(task);
    if (folds_) {
      adjust(task.role, task.layer, scales.start.h);
      scales.g.clear();  // in the tensor that it folds into
    }
    writer.add_one_bit(task.role, task.layer, pack_signs(task, pool_), scales.g, scales.start.h);
    return report_of(task, scales.start);
  }

  FakeQuantized fake_quantize(const MatrixTask& task) override {
    Scales scales = solve(task);
    round(scales.start.h);
    if (!folds_) round(scales.g);
    FakeQuantized result;
    result.weights.resize(task.weights.size());
    result.output_norm = options_.form == arch::Form::kPaper;
    result.report = report_of(task, scales.start);
    const std::int64_t groups = arch::group_count(task.in, options_.group_size);
    const std::int64_t width = options_.group_size > 0 ? options_.group_size : task.in;
    pool_.parallel_for(task.out, 16, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        const auto row = static_cast<std::size_t>(r * task.in);
        for (std::int64_t c = 0; c < task.in; ++c) {
          const auto i = row + static_cast<std::size_t>(c);
          const float level = scales.start.h[static_cast<std::size_t>(r * groups + c / width)] *
                              scales.g[static_cast<std::size_t>(c)];
          result.weights[i] = task.weights[i] < 0.0F ? -level : level;
        }
      }
    });
    return result;
  }

 private:
  /// The scales of one matrix by itself: g of every input, nothing folded.
  struct Scales {
    SharedSvidResult::Part start;
    std::vector<float> g;
  };

  Scales solve(const MatrixTask& task) const {
    if (folds_) return {starts_.at(task.role), shared_scales(task)};
    SvidResult alone = svid(task.weights, task.out, task.in, options_.svid, pool_);
    return {{std::move(alone.h), alone.relative_error, alone.square_norm}, std::move(alone.g)};
  }

  /// What the matrix reads of the g that it shares.
  std::vector<float> shared_scales(const MatrixTask& task) const {
    const auto group = std::find_if(groups_.begin(), groups_.end(), [&](const StartGroup& g) {
      return std::find(g.readers.begin(), g.readers.end(), task.role) != g.readers.end();
    });
    ONEBIT_CHECK(group != groups_.end());
    const std::vector<float>& shared = folded_.at(*group->target);
    if (group->tie.empty()) return shared;
    std::vector<float> g(static_cast<std::size_t>(task.in));
    for (std::size_t j = 0; j < g.size(); ++j) {
      g[j] = shared[static_cast<std::size_t>(group->tie[j])];
    }
    return g;
  }

  MatrixReport report_of(const MatrixTask& task, const SharedSvidResult::Part& start) const {
    const std::size_t scales = start.h.size() + (folds_ ? 0 : static_cast<std::size_t>(task.in));
    MatrixReport report;
    report.shape = {task.out, task.in};
    report.relative_error = start.relative_error;
    report.square_norm = start.square_norm;
    report.square_error = start.relative_error * start.square_norm;
    report.stored_bytes = static_cast<std::uint64_t>(task.out * formats::sign1_row_words(task.in)) *
                              sizeof(std::uint64_t) +
                          formats::info(options_.scales).block_bytes * scales;
    return report;
  }

  /// To what a file holds.
  void round(std::vector<float>& scales) const {
    if (options_.scales != formats::DType::kF16) return;
    for (float& scale : scales) scale = f16_to_f32(f32_to_f16(scale));
  }

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
    .bits = kBits,
    .make = make_onebit,
};

}  // namespace onebit::quant
