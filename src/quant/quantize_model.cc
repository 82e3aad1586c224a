#include "quant/quantize_model.h"

#include <fmt/format.h>
#include <vector>

#include "base/check.h"

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

Error located(const Error& error, const arch::Checkpoint& source, std::string_view matrix) {
  return {error.code(), fmt::format("{}: {}: {}", source.path().string(), matrix, error.what())};
}

void require_full_precision(const arch::Checkpoint& source) {
  if (!source.provenance()) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: found a model already quantised by method '{}', expected a "
                          "full-precision model",
                          source.path().string(), source.provenance()->method));
}

QuantizeTotals quantize_model(const arch::Checkpoint& source, const std::filesystem::path& out,
                              const QuantizeOptions& options, const OnMatrix& on_matrix,
                              Progress& progress, const std::stop_token& stop) {
  ONEBIT_CHECK(options.method != nullptr);
  require_full_precision(source);
  const arch::ModelConfig& config = source.config();
  arch::PackOptions pack;
  pack.provenance =
      arch::provenance_of(source, std::string(options.method->name), options.method_options.form,
                          options.method_options.group_size);
  pack.embedding = options.embedding;
  pack.head = options.head;
  pack.scales = options.method_options.scales;
  arch::PackedWriter writer(out, source, pack);
  ThreadPool pool(options.threads);
  const std::unique_ptr<Quantizer> quantizer =
      options.method->make(source, options.method_options, pool);

  const std::uint64_t total = writer.order().size();
  std::uint64_t done = 0;
  QuantizeTotals totals;
  double square_error = 0;
  double square_norm = 0;
  std::int64_t layer = -1;
  for (const arch::TensorId& id : writer.order()) {
    if (stop.stop_requested()) {
      throw Error(ErrorCode::kInterrupted,
                  fmt::format("interrupted after {} of {} tensors; nothing written", done, total));
    }
    const arch::TensorSpec& tensor = *arch::find_tensor(*config.arch, id.role);
    const std::string name = arch::gguf_name(tensor, id.layer);
    progress.update(done++, total, name);
    if (id.layer != layer) {
      layer = id.layer;
      if (layer >= 0) quantizer->begin_layer(layer);
    }
    std::vector<float> values = read(source, tensor, id.layer);
    if (!writer.is_one_bit(id)) {
      quantizer->adjust(id.role, id.layer, values);
      writer.add_dense(id.role, id.layer, values);
      continue;
    }
    const formats::Shape shape = arch::shape_of(config, tensor);
    MatrixReport report;
    try {
      report = quantizer->add({id.role, id.layer, shape[0], shape[1], values}, writer);
    } catch (const Error& error) {
      throw located(error, source, name);
    }
    report.name = name;
    ++totals.matrices;
    totals.weights += shape[0] * shape[1];
    totals.matrix_bytes += report.stored_bytes;
    square_error += report.square_error;
    square_norm += report.square_norm;
    on_matrix(report);
  }
  progress.update(done, total, "writing");
  writer.finish();
  totals.relative_error = square_norm > 0 ? square_error / square_norm : 0;
  totals.parameters = arch::count_parameters(config).total();
  totals.file_bytes = std::filesystem::file_size(out);
  return totals;
}

}  // namespace onebit::quant
