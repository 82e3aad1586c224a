// Activations rounded on a GPU against the scalar kernel, bit for bit.
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "cuda/products.h"
#include "cuda/test_gpu.h"
#include "kernels/kernels.h"

namespace onebit::cuda {
namespace {

using kernels::QuantizedRows;
using kernels::random_floats;
using kernels::size;

class CudaQuantize : public GpuTest {
 protected:
  /// x [tokens, n], g [n] or empty.
  void check_quantize(const std::vector<float>& x, const std::vector<float>& g,
                      std::int64_t tokens) {
    const std::int64_t n = static_cast<std::int64_t>(x.size()) / tokens;
    const std::int64_t stride = QuantizedRows::stride(n);
    const std::int64_t blocks = QuantizedRows::blocks(n);
    std::vector<std::int8_t> want_q(size(tokens * stride + 1), 99);
    std::vector<float> want_scales(size(tokens * blocks + 1), -77.25F);
    const DeviceBuffer<std::int8_t> q = on_device(want_q);  // canaries in every byte
    const DeviceBuffer<float> scales = on_device(want_scales);
    for (std::int64_t t = 0; t < tokens; ++t) {
      kernels::kernels_by_name("scalar").quantize_i8(
          x.data() + t * n, g.empty() ? nullptr : g.data(), n, want_q.data() + t * stride,
          want_scales.data() + t * blocks);
    }
    const DeviceBuffer<float> device_x = on_device(x);
    const DeviceBuffer<float> device_g = on_device(g);
    quantize_i8(device_, device_x.data(), device_g.data(), tokens, n, q.data(), scales.data(),
                stream_);
    EXPECT_EQ(read(q), want_q);
    const std::vector<float> got = read(scales);
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (std::isnan(want_scales[i]) && std::isnan(got[i])) continue;
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want_scales[i]));
    }
  }
};

TEST_F(CudaQuantize, Random) {
  Rng rng(41);
  for (const std::int64_t n : {1, 2, 3, 31, 63, 64, 65, 127, 128, 129, 576, 1531, 4097}) {
    for (const std::int64_t tokens : {1, 2, 7, 65}) {
      for (const float magnitude : {1.0F, 1e-35F, 1e-38F, 1e37F}) {
        SCOPED_TRACE(testing::Message() << n << " values, " << tokens << " tokens, " << magnitude);
        std::vector<float> x = random_floats(rng, tokens * n);
        for (float& v : x) v *= magnitude;
        check_quantize(x, {}, tokens);
        check_quantize(x, random_floats(rng, n), tokens);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_F(CudaQuantize, TiesAndExtremes) {
  // max = 127 in every block makes the scale 1, so that halves are ties.
  std::vector<float> ties;
  for (int i = -253; i <= 253; ++i) {
    if (static_cast<std::int64_t>(ties.size()) % kernels::kActivationBlock == 0) {
      ties.push_back(127.0F);
    }
    ties.push_back(static_cast<float>(i) / 2);
  }
  check_quantize(ties, {}, 1);
  const float largest = std::numeric_limits<float>::max();
  const float least = std::numeric_limits<float>::denorm_min();
  check_quantize({0.0F, -0.0F, 0.0F}, {}, 1);
  check_quantize({largest, -largest, 1.0F, largest / 2}, {}, 1);
  check_quantize({least, -least, 190 * least}, {}, 1);
  check_quantize({kernels::kQuantizeZeroBelow, -kernels::kQuantizeZeroBelow / 2, least}, {}, 1);
  check_quantize({std::nextafter(kernels::kQuantizeZeroBelow, 0.0F), 1e-38F}, {}, 1);
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float bad : {inf, -inf, nan, -nan}) {
    for (const std::size_t where : {0U, 15U, 70U, 130U}) {
      std::vector<float> x(3 * 131, 1.0F);
      x[131 + where] = bad;  // of the second token
      check_quantize(x, {}, 3);
    }
  }
}

}  // namespace
}  // namespace onebit::cuda
