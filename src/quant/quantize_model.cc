#include "quant/quantize_model.h"

#include <fmt/format.h>
#include <vector>

#include "base/check.h"
#include "base/error.h"

namespace onebit::quant {
namespace {

std::vector<float> read(const arch::Checkpoint& source, const arch::TensorSpec& tensor,
                        std::int64_t layer) {
  const auto count = formats::element_count(arch::shape_of(source.config(), tensor));
  std::vector<float> values(*count);
  source.read_f32(tensor.role, layer, values);
  source.release(tensor.role, layer);
  return values;
}

}  // namespace

QuantizeTotals quantize_model(const arch::Checkpoint& source, const std::filesystem::path& out,
                              const QuantizeOptions& options, const OnMatrix& on_matrix,
                              Progress& progress, std::stop_token stop) {
  ONEBIT_CHECK(options.method != nullptr);
  if (source.provenance()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: found a model already quantised by method '{}', expected a "
                            "full-precision model",
                            source.path().string(), source.provenance()->method));
  }
  const arch::ModelConfig& config = source.config();
  arch::PackOptions pack;
  pack.provenance = {.method = std::string(options.method->name),
                     .form = options.method_options.form,
                     .source_name = source.name(),
                     .source_sha256 = source.sha256(),
                     .program = "onebit " ONEBIT_VERSION};
  pack.embedding = options.embedding;
  pack.head = options.head;
  pack.scales = options.method_options.scales;
  arch::PackedWriter writer(out, source, pack);
  ThreadPool pool(options.threads);

  std::uint64_t total = 0;
  for (const arch::TensorSpec& tensor : config.arch->tensors) {
    total += tensor.per_layer ? static_cast<std::uint64_t>(config.layers) : 1U;
  }
  std::uint64_t done = 0;
  QuantizeTotals totals;
  double square_error = 0;
  double square_norm = 0;
  const auto add = [&](const arch::TensorSpec& tensor, std::int64_t layer) {
    if (stop.stop_requested()) {
      throw Error(ErrorCode::kInterrupted,
                  fmt::format("interrupted after {} of {} tensors; nothing written", done, total));
    }
    const std::string name = arch::gguf_name(tensor, layer);
    progress.update(done++, total, name);
    if (tensor.role == arch::Role::kOutput && config.tied_head) return;
    const std::vector<float> values = read(source, tensor, layer);
    if (!tensor.linear) {
      writer.add_dense(tensor.role, layer, values);
      return;
    }
    const formats::Shape shape = arch::shape_of(config, tensor);
    MatrixReport report;
    try {
      report = options.method->quantize({tensor.role, layer, shape[0], shape[1], values},
                                        options.method_options, writer, pool);
    } catch (const Error& error) {
      throw Error(error.code(),
                  fmt::format("{}: {}: {}", source.path().string(), name, error.what()));
    }
    report.name = name;
    ++totals.matrices;
    totals.weights += shape[0] * shape[1];
    totals.matrix_bytes += report.stored_bytes;
    square_error += report.square_error;
    square_norm += report.square_norm;
    on_matrix(report);
  };
  for (const arch::TensorSpec& tensor : config.arch->tensors) {
    if (!tensor.per_layer) add(tensor, -1);
  }
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    for (const arch::TensorSpec& tensor : config.arch->tensors) {
      if (tensor.per_layer) add(tensor, layer);
    }
  }
  progress.update(done, total, "writing");
  writer.finish();
  totals.relative_error = square_norm > 0 ? square_error / square_norm : 0;
  totals.parameters = arch::count_parameters(config).total();
  totals.file_bytes = std::filesystem::file_size(out);
  return totals;
}

}  // namespace onebit::quant
