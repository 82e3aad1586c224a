#include "quant/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <memory>
#include <string>
#include <torch/utils.h>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "eval/statistics.h"
#include "nn/decoder.h"
#include "nn/load.h"
#include "quant/fake_linear.h"
#include "quant/quantize_model.h"
#include "quant/reference_logits.h"

namespace onebit::quant {
namespace {

using arch::TensorId;
using torch::Tensor;

// Windows go through the model side by side up to so many positions: enough rows to keep the
// products busy; the activations of a block for more would only take memory.
constexpr std::int64_t kBatchPositions = 2048;

double square_sum(const Tensor& values) {
  return values.square().sum(-1).sum(torch::kFloat64).item<double>();
}

/// A quantised matrix in the place of the full one, which it holds itself against.
class Probe final : public nn::Linear {
 public:
  Probe(nn::Linear& full, const FakeQuantized& quantized, torch::ScalarType compute)
      : full_(full), quantised_(quantized, compute) {}

  Tensor forward(const Tensor& x) override {
    const Tensor y = quantised_.forward(x);
    const Tensor full = full_.forward(x);
    square_error_ += square_sum(full - y);
    square_norm_ += square_sum(full);
    return y;
  }

  void collect(const std::string&, std::vector<nn::Parameter>&) const override {}

  double output_error() const { return square_norm_ > 0 ? square_error_ / square_norm_ : 0; }

 private:
  nn::Linear& full_;
  FakeLinear quantised_;
  double square_error_ = 0;
  double square_norm_ = 0;
};

/// Has a probe in a model for as long as it lives.
class Substitution {
 public:
  Substitution(nn::DecoderModel& model, const TensorId& id, const FakeQuantized& quantized)
      : model_(model), id_(id) {
    const formats::Shape& shape = quantized.report.shape;
    ONEBIT_CHECK(shape.size() == 2 && std::ssize(quantized.weights) == shape[0] * shape[1]);
    auto probe =
        std::make_unique<Probe>(model.linear(id.role, id.layer), quantized, model.compute());
    probe_ = probe.get();
    full_ = model.exchange(id.role, id.layer, std::move(probe));
  }
  ~Substitution() { model_.exchange(id_.role, id_.layer, std::move(full_)); }
  Substitution(const Substitution&) = delete;
  Substitution& operator=(const Substitution&) = delete;

  double output_error() const { return probe_->output_error(); }

 private:
  nn::DecoderModel& model_;
  TensorId id_;
  const Probe* probe_ = nullptr;
  std::unique_ptr<nn::Linear> full_;
};

/// The blocks of a full-precision model: the last ones, which every pass comes through, in memory
/// as far as `bytes` go, others only while someone holds them.
class Blocks {
 public:
  Blocks(const arch::Checkpoint& source, torch::ScalarType compute, std::uint64_t bytes)
      : source_(source), compute_(compute) {
    const auto block = static_cast<std::uint64_t>(arch::count_parameters(source.config()).linear /
                                                  source.config().layers) *
                       torch::elementSize(compute);
    kept_.resize(std::min<std::uint64_t>(bytes / std::max<std::uint64_t>(block, 1),
                                         static_cast<std::uint64_t>(source.config().layers)));
  }

  std::shared_ptr<nn::DecoderModel> at(std::int64_t layer) {
    const std::int64_t index = layer - (source_.config().layers - std::ssize(kept_));
    if (index < 0) return nn::load_block(source_, compute_, layer);
    std::shared_ptr<nn::DecoderModel>& kept = kept_[static_cast<std::size_t>(index)];
    if (!kept) kept = nn::load_block(source_, compute_, layer);
    return kept;
  }

 private:
  const arch::Checkpoint& source_;
  torch::ScalarType compute_;
  std::vector<std::shared_ptr<nn::DecoderModel>> kept_;  ///< of the last layers, once loaded
};

/// Windows that go through the model side by side.
struct Batch {
  Tensor x;  ///< [windows, c − 1, D]: the residual stream before the block under way
  ReferenceLogits reference;
};

/// One matrix by one setting.
struct Job {
  TensorId matrix;
  std::size_t setting;
};

std::vector<Job> jobs_of(const arch::ModelConfig& config, const SensitivityOptions& options) {
  std::vector<Job> jobs;
  for (const TensorId& id : arch::tensor_ids(config)) {
    if (!arch::find_tensor(*config.arch, id.role)->linear) continue;
    for (std::size_t s = 0; s < options.settings.size(); ++s) {
      if (!options.wanted || options.wanted(id, s)) jobs.push_back({id, s});
    }
  }
  return jobs;
}

class Measurement {
 public:
  Measurement(const arch::Checkpoint& source, const TokenWindows& windows,
              const SensitivityOptions& options, Progress& progress, const std::stop_token& stop)
      : source_(source),
        config_(source.config()),
        options_(options),
        windows_(windows),
        progress_(progress),
        stop_(stop),
        pool_(options.threads),
        jobs_(jobs_of(source.config(), options)),
        ends_(nn::load_ends(source, options.compute)),
        blocks_(source, options.compute, options.model_bytes) {
    for (const Setting& setting : options.settings) {
      quantizers_.push_back(setting.method->make(source, setting.options, pool_));
    }
    const auto block = static_cast<double>(arch::count_parameters(config_).linear) /
                       static_cast<double>(config_.layers);
    const auto head = static_cast<double>(config_.vocab) * static_cast<double>(config_.dim);
    head_cost_ = static_cast<std::uint64_t>(std::max(1.0, std::round(head / block)));
    total_ = cost_from(0);
    for (const Job& job : jobs_) total_ += cost_from(job.matrix.layer);
    total_ *= static_cast<std::uint64_t>(batch_count());
  }

  void run(const OnBaseline& on_baseline, const OnSensitivity& on_row) {
    const torch::NoGradGuard no_grad;
    on_baseline(begin());
    auto job = jobs_.begin();
    for (std::int64_t layer = 0; job != jobs_.end(); ++layer) {
      const auto end = std::find_if(job, jobs_.end(),
                                    [&](const Job& other) { return other.matrix.layer != layer; });
      block_ = blocks_.at(layer);
      begin_layer(layer, {job, end});
      std::vector<float> weights;
      const TensorId* read = nullptr;
      for (; job != end; ++job) {
        if (read == nullptr || *read != job->matrix) weights = read_weights(job->matrix);
        read = &job->matrix;
        on_row(measure(*job, weights));
        ++measured_;
      }
      if (job != jobs_.end()) advance(layer);
    }
  }

 private:
  std::int64_t window_count() const { return std::ssize(windows_.tokens) / windows_.window; }

  std::int64_t batch_windows() const {
    return std::max<std::int64_t>(1, kBatchPositions / windows_.window);
  }

  std::int64_t batch_count() const {
    return (window_count() + batch_windows() - 1) / batch_windows();
  }

  /// What one batch costs from a layer on, in blocks.
  std::uint64_t cost_from(std::int64_t layer) const {
    return static_cast<std::uint64_t>(config_.layers - layer) + head_cost_;
  }

  void tell(std::uint64_t blocks, std::string_view note) {
    done_ += blocks;
    progress_.update(done_, total_, note);
    if (!stop_.stop_requested()) return;
    throw Error(ErrorCode::kInterrupted,
                fmt::format("interrupted after {} of {} measurements", measured_, jobs_.size()));
  }

  /// The hidden states [N, D] of batches, whose residual streams before block `first` are `xs`: all
  /// of them through one block after the other, so that each is loaded once.
  std::vector<Tensor> hidden_from(std::int64_t first, std::vector<Tensor> xs,
                                  std::string_view note) {
    for (std::int64_t layer = first; layer < config_.layers; ++layer) {
      const std::shared_ptr<nn::DecoderModel> block =
          layer == first && block_ ? block_ : blocks_.at(layer);
      for (Tensor& x : xs) {
        x = block->forward_block(layer, x);
        tell(1, note);
      }
    }
    for (Tensor& x : xs) x = ends_->finish(x).flatten(0, 1);
    return xs;
  }

  /// Fills batches_ and measures the model itself.
  SensitivityBaseline begin() {
    const Tensor windows =
        torch::tensor(at::ArrayRef<text::TokenId>(windows_.tokens.data(), windows_.tokens.size()),
                      torch::kInt64)
            .view({-1, windows_.window});
    const std::int64_t last = windows_.window - 1;
    const std::uint64_t logits = static_cast<std::uint64_t>(window_count() * last) *
                                 static_cast<std::uint64_t>(config_.vocab) *
                                 static_cast<std::uint64_t>(torch::elementSize(options_.compute));
    const std::vector<Tensor> batches = windows.split(batch_windows());
    std::vector<Tensor> embedded;
    embedded.reserve(batches.size());
    for (const Tensor& some : batches) {
      embedded.push_back(ends_->embed(some.narrow(1, 0, last).contiguous()));
    }
    const std::vector<Tensor> hidden = hidden_from(0, embedded, "full precision");
    std::vector<double> nll;
    for (std::size_t i = 0; i < batches.size(); ++i) {
      ReferenceLogits reference(hidden[i], ends_->head(), batches[i].narrow(1, 1, last).flatten(),
                                logits <= options_.logits_bytes);
      tell(head_cost_, "full precision");
      nll.insert(nll.end(), reference.nll().begin(), reference.nll().end());
      batches_.push_back({embedded[i], std::move(reference)});
    }
    const eval::MeanError mean = eval::mean_error(nll);
    require_finite(mean.mean, "of the full-precision model");
    const double ppl = std::exp(mean.mean);
    return {std::ssize(nll), ppl, ppl * mean.error};
  }

  void begin_layer(std::int64_t layer, std::span<const Job> jobs) {
    for (std::size_t s = 0; s < quantizers_.size(); ++s) {
      const bool needed =
          std::any_of(jobs.begin(), jobs.end(), [&](const Job& job) { return job.setting == s; });
      if (needed) quantizers_[s]->begin_layer(layer);
    }
  }

  void advance(std::int64_t layer) {
    for (Batch& batch : batches_) batch.x = block_->forward_block(layer, batch.x);
  }

  const arch::TensorSpec& spec_of(const TensorId& id) const {
    return *arch::find_tensor(*config_.arch, id.role);
  }

  std::vector<float> read_weights(const TensorId& id) const {
    std::vector<float> weights(*formats::element_count(arch::shape_of(config_, spec_of(id))));
    source_.read_f32(id.role, id.layer, weights);
    source_.release(id.role, id.layer);
    return weights;
  }

  FakeQuantized quantise(const Job& job, const std::string& name, std::span<const float> weights) {
    const formats::Shape shape = arch::shape_of(config_, spec_of(job.matrix));
    try {
      return quantizers_[job.setting]->fake_quantize(
          {job.matrix.role, job.matrix.layer, shape[0], shape[1], weights, stop_});
    } catch (const Error& error) {
      throw located(error, source_, name);
    }
  }

  Sensitivity measure(const Job& job, std::span<const float> weights) {
    const std::string name = arch::gguf_name(spec_of(job.matrix), job.matrix.layer);
    const FakeQuantized quantized = quantise(job, name, weights);
    Sensitivity row;
    row.matrix = job.matrix;
    row.setting = job.setting;
    row.report = quantized.report;
    row.report.name = name;
    row.source_bytes = source_.dense(job.matrix.role, job.matrix.layer)->view.data.size();

    PositionScores scores;
    {
      const Substitution substitution(*block_, job.matrix, quantized);
      std::vector<Tensor> streams;
      streams.reserve(batches_.size());
      for (const Batch& batch : batches_) streams.push_back(batch.x);
      const std::vector<Tensor> hidden = hidden_from(job.matrix.layer, std::move(streams), name);
      for (std::size_t i = 0; i < batches_.size(); ++i) {
        batches_[i].reference.compare(hidden[i], scores);
        tell(head_cost_, name);
      }
      row.output_error = substitution.output_error();
    }
    const eval::MeanError kl = eval::mean_error(scores.kl);
    const eval::MeanError nll = eval::mean_error(scores.nll);
    require_finite(kl.mean, fmt::format("with {} quantised by method {}", name,
                                        options_.settings[job.setting].method->name));
    row.kl_mean = std::max(0.0, kl.mean);  // below zero by rounding only
    row.kl_stderr = kl.error;
    row.kl_p99 = std::max(0.0, eval::quantile(scores.kl, 0.99));
    row.ppl = std::exp(nll.mean);
    row.ppl_stderr = row.ppl * nll.error;
    return row;
  }

  void require_finite(double value, std::string_view whose) const {
    if (std::isfinite(value)) return;
    throw Error(ErrorCode::kNumeric,
                fmt::format("{}: logits {}: found NaN or infinity, expected finite numbers",
                            source_.path().string(), whose));
  }

  const arch::Checkpoint& source_;
  const arch::ModelConfig& config_;
  const SensitivityOptions& options_;
  TokenWindows windows_;
  Progress& progress_;
  const std::stop_token& stop_;
  ThreadPool pool_;
  std::vector<Job> jobs_;
  std::vector<std::unique_ptr<Quantizer>> quantizers_;  ///< one a setting
  std::unique_ptr<nn::DecoderModel> ends_;
  Blocks blocks_;
  std::shared_ptr<nn::DecoderModel> block_;  ///< the one under way
  std::vector<Batch> batches_;
  std::uint64_t head_cost_ = 0;  ///< of final norm and logits, in blocks
  std::uint64_t done_ = 0;       ///< blocks
  std::uint64_t total_ = 0;
  std::size_t measured_ = 0;  ///< jobs
};

}  // namespace

void measure_sensitivity(const arch::Checkpoint& source, const TokenWindows& windows,
                         const SensitivityOptions& options, const OnBaseline& on_baseline,
                         const OnSensitivity& on_row, Progress& progress,
                         const std::stop_token& stop) {
  const auto tokens = std::ssize(windows.tokens);
  ONEBIT_CHECK(windows.window >= 2 && windows.window <= source.config().context);
  ONEBIT_CHECK(tokens > 0 && tokens % windows.window == 0);
  ONEBIT_CHECK(options.compute == torch::kFloat32 || options.compute == torch::kFloat64);
  require_full_precision(source);
  Measurement(source, windows, options, progress, stop).run(on_baseline, on_row);
}

}  // namespace onebit::quant
