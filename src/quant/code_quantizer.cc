#include "quant/code_quantizer.h"

#include <cmath>
#include <fmt/format.h>
#include <utility>

#include "base/error.h"

namespace onebit::quant {

void require_finite(const MatrixTask& task) {
  for (std::size_t i = 0; i < task.weights.size(); ++i) {
    if (std::isfinite(task.weights[i])) continue;
    const auto index = static_cast<std::int64_t>(i);
    throw Error(ErrorCode::kNumeric,
                fmt::format("weight [{}, {}]: found {}, expected a finite number", index / task.in,
                            index % task.in, task.weights[i]));
  }
}

void measure_error(const MatrixTask& task, std::span<const float> fake, MatrixReport& report) {
  for (std::size_t i = 0; i < fake.size(); ++i) {
    const double w = task.weights[i];
    const double difference = w - fake[i];
    report.square_norm += w * w;
    report.square_error += difference * difference;
  }
  report.relative_error = report.square_norm > 0 ? report.square_error / report.square_norm : 0;
}

CodeQuantizer::Coded CodeQuantizer::code(const MatrixTask& task, Known known) {
  require_finite(task);
  const formats::Shape shape = {task.out, task.in};
  const arch::TensorId id = {task.role, task.layer};
  const arch::CodeSpec how = spec(id, shape);
  Coded result;
  const bool found = known && known->first == id;
  result.values = found ? std::move(known->second) : quantize(task);
  result.fake.weights.resize(task.weights.size());
  arch::dequantize(how, result.values, result.fake.weights);
  MatrixReport& report = result.fake.report;
  report.shape = shape;
  report.stored_bytes = arch::code_bytes(how, task.out, task.in, scales_);
  MatrixTask coded = task;
  coded.weights = coded_weights(task);
  measure_error(coded, result.fake.weights, report);
  return result;
}

MatrixReport CodeQuantizer::add(const MatrixTask& task, arch::PackedWriter& writer) {
  Coded coded = code(task, std::exchange(last_, {}));
  writer.add_codes(task.role, task.layer, coded.values);
  return std::move(coded.fake.report);
}

FakeQuantized CodeQuantizer::fake_quantize(const MatrixTask& task) {
  Coded coded = code(task, {});
  last_.emplace(arch::TensorId{task.role, task.layer}, std::move(coded.values));
  return std::move(coded.fake);
}

}  // namespace onebit::quant
