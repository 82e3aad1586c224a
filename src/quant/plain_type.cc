#include "quant/plain_type.h"

#include "formats/dequantize.h"
#include "quant/code_quantizer.h"

namespace onebit::quant {
namespace {

class TypeQuantizer final : public Quantizer {
 public:
  explicit TypeQuantizer(formats::DType type) : type_(type) {}

  arch::Storage storage(const arch::TensorId&, const formats::Shape&) const override {
    return type_;
  }

  MatrixReport add(const MatrixTask& task, arch::PackedWriter& writer) override {
    FakeQuantized fake = fake_quantize(task);
    writer.add_dense(task.role, task.layer, task.weights);
    return std::move(fake.report);
  }

  FakeQuantized fake_quantize(const MatrixTask& task) override {
    require_finite(task);
    FakeQuantized result;
    result.weights.resize(task.weights.size());
    std::vector<std::byte> stored(task.weights.size() * formats::info(type_).block_bytes);
    formats::quantize(type_, task.weights, stored);
    formats::dequantize(type_, stored, result.weights);
    result.report.shape = {task.out, task.in};
    result.report.stored_bytes = stored.size();
    measure_error(task, result.weights, result.report);
    return result;
  }

 private:
  formats::DType type_;
};

}  // namespace

std::unique_ptr<Quantizer> make_plain_type(formats::DType type) {
  return std::make_unique<TypeQuantizer>(type);
}

}  // namespace onebit::quant
