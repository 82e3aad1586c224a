// libFuzzer: any bytes as a model in a GGUF file, dense or packed. What is accepted has every
// tensor of its architecture, all of whose values can be read, and rotary frequencies.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "arch/checkpoint.h"
#include "base/check.h"
#include "base/error.h"

namespace onebit::arch {
namespace {

void read(const Checkpoint& model, const TensorId& id) {
  const ModelConfig& config = model.config();
  const formats::Shape shape = shape_of(config, *find_tensor(*config.arch, id.role));
  const auto dense = model.dense(id.role, id.layer);
  try {
    const auto one_bit = model.one_bit(id.role, id.layer);
    const auto codes = model.codes(id.role, id.layer);
    const auto factors = model.low_rank(id.role, id.layer);
    ONEBIT_CHECK(int{dense.has_value()} + int{one_bit.has_value()} + int{codes.has_value()} +
                     int{factors.has_value()} ==
                 1);
    if (factors) {
      std::vector<float> values(*formats::element_count(shape));
      model.read_f32(id.role, id.layer, values);
    }
    if (codes) {
      std::vector<float> values(*formats::element_count(shape));
      dequantize(*codes, values);
    }
    if (one_bit) {
      ONEBIT_CHECK(std::ssize(one_bit->h) == shape[0] * group_count(shape[1], one_bit->group_size));
      ONEBIT_CHECK(one_bit->g.empty() || std::ssize(one_bit->g) == shape[1]);
      std::uint64_t bits = 0;
      for (std::int64_t r = 0; r < shape[0]; ++r) {
        for (std::int64_t w = 0; w < formats::sign1_row_words(shape[1]); ++w) {
          bits ^= one_bit->sign.row(r)[w];
        }
      }
      volatile std::uint64_t sink = bits;
      static_cast<void>(sink);
    }
  } catch (const Error&) {  // values that no scale or padding may have
  }
  if (dense) {
    std::vector<float> values(*formats::element_count(shape));
    model.read_f32(id.role, id.layer, values);
  }
  model.release(id.role, id.layer);
}

}  // namespace
}  // namespace onebit::arch

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  // GGUF aligns tensors in the file, and a mapped file begins on a page.
  std::vector<std::uint64_t> words((size + 7) / 8);
  if (size > 0) std::memcpy(words.data(), data, size);
  try {
    const auto model =
        arch::Checkpoint::parse_gguf(std::as_bytes(std::span(words)).first(size), "f.gguf");
    for (const arch::TensorId& id : arch::tensor_ids(model.config())) arch::read(model, id);
    ONEBIT_CHECK(std::ssize(arch::rope_frequencies(model.config())) == model.config().head_dim / 2);
    ONEBIT_CHECK(model.file_bytes() == size);
  } catch (const Error&) {
  }
  return 0;
}
