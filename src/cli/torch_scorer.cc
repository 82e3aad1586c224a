#include "cli/torch_scorer.h"

#include <ATen/Parallel.h>
#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/utils.h>
#include <torch/version.h>
#include <utility>
#include <vector>

#include "cli/runtime_scorer.h"
#include "cli/scorer_source.h"
#include "cli/torch_errors.h"
#include "nn/load.h"

namespace onebit::cli {
namespace {

using torch::Tensor;

/// Tokens that run together, padding included, if a single sequence is not longer.
constexpr std::int64_t kTokens = 2048;

/// Rows of logits at a time.
constexpr std::int64_t kLogitRows = 64;

class TorchSource final : public ScorerSource {
 public:
  explicit TorchSource(const std::string& path)
      : checkpoint_(arch::Checkpoint::open(path)),
        model_(checkpoint_.provenance() ? nn::load_packed(checkpoint_, torch::kFloat32,
                                                          nn::SignGradient::kTanh, nn::kLatentScale)
                                        : nn::load_dense(checkpoint_, torch::kFloat32)),
        scorer_(*model_) {}

  eval::Scorer& scorer() override { return scorer_; }
  const arch::Checkpoint& checkpoint() const override { return checkpoint_; }

  nlohmann::ordered_json settings() const override {
    return {{"engine", word_of(Engine::kTorch)},
            {"activations", word_of(runtime::Activations::kF32)},
            {"kv_type", word_of(runtime::KvType::kF32)},
            {"threads", at::get_num_threads()},
            {"kernels", fmt::format("libtorch {}", TORCH_VERSION)}};
  }

 private:
  arch::Checkpoint checkpoint_;
  std::unique_ptr<nn::DecoderModel> model_;
  TorchScorer scorer_;
};

}  // namespace

std::unique_ptr<ScorerSource> open_torch_scorer(const Context& /*context*/,
                                                const ScorerFlags& flags) {
  if (flags.runtime.threads > 0) at::set_num_threads(flags.runtime.threads);
  const std::string& path = flags.runtime.model;
  return with_torch_errors(
      fmt::format("{}: found no memory for the model in f32; --engine runtime needs less", path),
      [&] { return std::make_unique<TorchSource>(path); });
}

/// A sequence that is run, for itself and for those that it begins with: nodes [begin, end) of the
/// plan, one after the other.
struct TorchScorer::Row {
  std::size_t begin;
  std::size_t end;
  std::int64_t tokens;
};

void TorchScorer::score(std::span<const text::TokenId> tokens, std::int64_t first,
                        const eval::LogitsSink& sink) {
  const runtime::WantedSequence whole = {tokens, first};
  run({&whole, 1}, [&](std::size_t, std::int64_t position, std::span<const float> logits) {
    sink(position, logits);
  });
}

void TorchScorer::score_batch(std::span<const eval::Sequence> sequences,
                              const eval::BatchSink& sink) {
  run(wanted(sequences), sink);
}

void TorchScorer::run(std::span<const runtime::WantedSequence> sequences,
                      const runtime::SequenceSink& sink) {
  runtime::check_sequences(sequences, model_.config());
  const runtime::PrefixPlan plan(sequences, runtime::PrefixPlan::kNeverShare);
  std::vector<Row> rows;
  for (std::size_t i = 0; i < plan.nodes().size(); ++i) {
    if (plan.nodes()[i].parent < 0) rows.push_back({i, i, 0});
    rows.back().end = i + 1;
    rows.back().tokens = plan.nodes()[i].end;
  }
  // The longest first: what does not fit into memory is known at once.
  std::stable_sort(rows.begin(), rows.end(),
                   [](const Row& a, const Row& b) { return a.tokens > b.tokens; });
  for (std::span<const Row> left = rows; !left.empty();) {
    const std::int64_t fit = std::max(std::int64_t{1}, kTokens / left.front().tokens);
    const std::size_t count = std::min(left.size(), static_cast<std::size_t>(fit));
    run_rows(plan, left.first(count), sink);
    left = left.subspan(count);
  }
}

void TorchScorer::run_rows(const runtime::PrefixPlan& plan, std::span<const Row> rows,
                           const runtime::SequenceSink& sink) {
  const torch::NoGradGuard no_grad;
  const std::int64_t length = rows.front().tokens;
  const std::int64_t vocab = vocab_size();
  struct Wanted {
    const runtime::PrefixNode* node;
    std::int64_t position;
  };
  std::vector<Wanted> wanted;
  std::vector<std::int64_t> states;  // of those, in [rows · length, D]
  Tensor ids = torch::zeros({std::ssize(rows), length}, torch::kInt64);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const auto start = static_cast<std::int64_t>(r) * length;
    const std::span<const runtime::PrefixNode> nodes =
        plan.nodes().subspan(rows[r].begin, rows[r].end - rows[r].begin);
    const std::span<const text::TokenId> tokens = plan.path(nodes.back(), 0, rows[r].tokens);
    std::copy(tokens.begin(), tokens.end(), ids.mutable_data_ptr<std::int64_t>() + start);
    for (const runtime::PrefixNode& node : nodes) {
      for (std::int64_t position = node.first; position < node.end; ++position) {
        wanted.push_back({&node, position});
        states.push_back(start + position);
      }
    }
  }
  const auto logits_of = [&](std::size_t begin, std::size_t count, const Tensor& hidden) {
    const Tensor index = torch::tensor(at::ArrayRef<std::int64_t>(states.data() + begin, count));
    return torch::linear(hidden.index_select(0, index), model_.head())
        .to(torch::kFloat32)
        .contiguous();
  };
  const std::string no_memory =
      fmt::format("not enough memory for {} x {} tokens on libtorch; --engine runtime needs less",
                  rows.size(), length);
  const Tensor hidden =
      with_torch_errors(no_memory, [&] { return model_.forward(ids, {}).hidden.flatten(0, 1); });
  for (std::size_t begin = 0; begin < wanted.size();) {
    const std::size_t count = std::min(wanted.size() - begin, static_cast<std::size_t>(kLogitRows));
    const Tensor logits =
        with_torch_errors(no_memory, [&] { return logits_of(begin, count, hidden); });
    const float* row = logits.const_data_ptr<float>();
    for (std::size_t i = begin; i < begin + count; ++i, row += vocab) {
      plan.deliver(*wanted[i].node, wanted[i].position, {row, static_cast<std::size_t>(vocab)},
                   sink);
    }
    begin += count;
  }
}

}  // namespace onebit::cli
