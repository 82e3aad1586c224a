// Products with a few tokens. What bounds them is reading S, so a block of threads takes one panel
// of 32 rows and its warps share out the columns: every warp asks for the signs of several blocks
// of 128 columns at once, before it even waits for the activations, and on a device of 132
// multiprocessors a 4096 × 4096 matrix is on its way as a whole.
//
// Results are rounded in the order of the columns all the same. A pass over as many columns as the
// warps hold leaves the exact sums of all its units (product_forms.cuh) in shared memory; then warp
// t, a lane a row, continues the result of token t through them.
#include "cuda/instructions.cuh"
#include "cuda/product_forms.cuh"
#include "cuda/product_kernels.h"

namespace onebit::cuda {
namespace {

using kernels::QuantizedRows;

constexpr int kWarps = 8;

/// The tokens of a block of threads.
struct TokenTile {
  std::int64_t first;
  int count;
};

/// Int8 activations, multiplied by the tensor cores, 8 tokens at the price of one.
struct Int8 {
  using Input = QuantizedRows;
  using Sum = std::int16_t;  ///< within ±128 · 128
  static constexpr int kTokens = 8;
  static constexpr int kMostInFlight = 4;
  /// Of a unit's sums for one token: 32 rows, and so much more that lanes 4 g + t, which write
  /// tokens 2 t and rows g, two to a word, meet no bank twice.
  static constexpr int kRowStride = 40;

  __device__ static float scale(const Input& x, std::int64_t token, std::int64_t block,
                                std::int64_t blocks) {
    return x.scales[token * blocks + block];
  }

  /// store(unit, token, row, sum) of the units of a block of columns; some lane calls it for each
  /// token of the tile and row of the panel, perhaps for tokens beyond too.
  template <int kUnitCols, class Store>
  __device__ static void sums(const LaneSigns& signs, const Input& x, std::int64_t cols,
                              const TokenTile& tile, int block, int lane, const Store& store) {
    const int g = lane / 4;
    const int t = lane % 4;
    const int stride = static_cast<int>(QuantizedRows::stride(cols));
    const std::int8_t* q = x.q + (tile.first + g) * stride + block * kBlockCols + 4 * t;
    // Stored rows end at a multiple of 64.
    const int stored = g < tile.count ? stride - block * kBlockCols : 0;
    std::uint32_t b[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      b[i] = 16 * i < stored ? *reinterpret_cast<const std::uint32_t*>(q + 16 * i) : 0;
    }
    const auto permute = [](std::uint32_t low, std::uint32_t high, std::uint32_t selector) {
      return __byte_perm(low, high, selector);
    };
    constexpr std::int32_t kZero[4] = {};
    std::int32_t d[2][4];
    std::uint32_t a[2][8];
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // 32 columns
      const int half = i % 2;
#pragma unroll
      for (int m = 0; m < 2; ++m) {  // 16 rows
        if (half == 0) expand_signs(signs.words[2 * m + i / 2], a[m], permute);
        const auto store_unit = [&](int unit) {
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            store(unit, 2 * t + e % 2, 16 * m + 8 * (e / 2) + g, static_cast<Sum>(d[m][e]));
          }
        };
        if constexpr (kUnitCols == 16) {
          multiply_16(d[m], a[m] + 4 * half, b[2 * i], kZero);
          store_unit(2 * i);
          multiply_16(d[m], a[m] + 4 * half + 2, b[2 * i + 1], kZero);
          store_unit(2 * i + 1);
        } else {
          const bool begins = 32 * i % kUnitCols == 0;
          multiply_32(d[m], a[m] + 4 * half, b[2 * i], b[2 * i + 1], begins ? kZero : d[m]);
          if (32 * (i + 1) % kUnitCols == 0) store_unit(32 * i / kUnitCols);
        }
      }
    }
  }
};

/// f32 activations: lane 4 g + t has 32 columns of the four rows g + 8 i, as the layout gives them.
/// Whatever kTile is, a sum is made in the same order. kVectors: four columns may be read as a
/// vector.
template <int kTile, bool kVectors>
struct Float {
  using Input = const float*;
  using Sum = float;
  static constexpr int kTokens = kTile;
  static constexpr int kMostInFlight = kTile == 1 ? 4 : 1;  // registers are short
  static constexpr int kRowStride = kPanelRows;

  __device__ static float scale(const Input&, std::int64_t, std::int64_t, std::int64_t) {
    return 1.0F;
  }

  template <int kUnitCols, class Store>
  __device__ static void sums(const LaneSigns& signs, const Input& x, std::int64_t cols,
                              const TokenTile& tile, int block, int lane, const Store& store) {
    const int g = lane / 4;
    const int t = lane % 4;
    const std::int64_t begin = std::int64_t{block} * kBlockCols + 4 * t;
    const int left = static_cast<int>(cols - begin);  // columns from the lane's first on
    const float* rows[kTile];
#pragma unroll
    for (int k = 0; k < kTile; ++k) {  // past the last token, it again
      rows[k] = x + (tile.first + (k < tile.count ? k : tile.count - 1)) * cols + begin;
    }
    float d[kTile][4] = {};
#pragma unroll 1  // or the loads of all columns at once would take more registers than there are
    for (int half = 0; half < 2; ++half) {
      const std::uint32_t words[2] = {half == 0 ? signs.words[0] : signs.words[1],
                                      half == 0 ? signs.words[2] : signs.words[3]};
#pragma unroll
      for (int j = 0; j < 4; ++j) {  // 16 columns
        const int col = 64 * half + 16 * j;
        float values[kTile][4];
#pragma unroll
        for (int k = 0; k < kTile; ++k) load(rows[k] + col, left - col, values[k]);
#pragma unroll
        for (int p = 0; p < 4; ++p) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const std::uint32_t negative = words[i / 2] << (31 - sign_place(8 * i, 16 * j + p).bit);
            const float sign = __uint_as_float((negative & 0x80000000U) | 0x3F800000U);
#pragma unroll
            for (int k = 0; k < kTile; ++k) d[k][i] = fmaf(sign, values[k][p], d[k][i]);
          }
        }
        if ((col + 16) % kUnitCols == 0) {
#pragma unroll
          for (int k = 0; k < kTile; ++k) {
            store(col / kUnitCols, k, g + 8 * t, sum_over_lanes(d[k], t));
#pragma unroll
            for (int i = 0; i < 4; ++i) d[k][i] = 0.0F;
          }
        }
      }
    }
  }

 private:
  /// Four columns, zeros where fewer are left.
  __device__ static void load(const float* from, int left, float (&values)[4]) {
    if constexpr (kVectors) {
      const float4 v = left > 0 ? *reinterpret_cast<const float4*>(from) : float4{};
      values[0] = v.x;
      values[1] = v.y;
      values[2] = v.z;
      values[3] = v.w;
    } else {
#pragma unroll
      for (int p = 0; p < 4; ++p) values[p] = p < left ? from[p] : 0.0F;
    }
  }

  /// Of d[i] of the four lanes t: lane t gets the sum of d[t], the same whatever t is.
  __device__ static float sum_over_lanes(const float (&d)[4], int t) {
    constexpr unsigned kAll = 0xFFFFFFFFU;
    const bool upper = t >= 2;
    const float low = __shfl_xor_sync(kAll, upper ? d[0] : d[2], 2) + (upper ? d[2] : d[0]);
    const float high = __shfl_xor_sync(kAll, upper ? d[1] : d[3], 2) + (upper ? d[3] : d[1]);
    const bool odd = t % 2 != 0;
    return __shfl_xor_sync(kAll, odd ? low : high, 1) + (odd ? high : low);
  }
};

template <class Activations, class Form>
__global__ void __launch_bounds__(kWarps* kLanes, 2)
    few_tokens(const Product w, const typename Activations::Input x) {
  using Sum = typename Activations::Sum;
  constexpr int kTokens = Activations::kTokens;
  constexpr int kUnits = kBlockCols / Form::kUnitCols;  // of a block of columns
  // Blocks whose signs a warp has in flight: such that the sums of a pass fit shared memory.
  constexpr int kFitting = kUnits > 4 ? 1 : 4 / kUnits;
  constexpr int kInFlight =
      kFitting < Activations::kMostInFlight ? kFitting : Activations::kMostInFlight;
  constexpr int kPassBlocks = kWarps * kInFlight;
  __shared__ Sum sums[kPassBlocks * kUnits][kTokens][Activations::kRowStride];
  __shared__ float scales[kTokens][kPassBlocks];

  const int lane = static_cast<int>(threadIdx.x) % kLanes;
  const int warp = static_cast<int>(threadIdx.x) / kLanes;
  const int blocks = static_cast<int>(QuantizedRows::blocks(w.cols));
  const int units = static_cast<int>((w.cols + Form::kUnitCols - 1) / Form::kUnitCols);
  const auto tiles = static_cast<unsigned>((w.tokens + kTokens - 1) / kTokens);
  const std::int64_t panel = blockIdx.x / tiles;
  const std::int64_t first = std::int64_t{blockIdx.x % tiles} * kTokens;
  const TokenTile tile = {
      first, static_cast<int>(w.tokens - first < kTokens ? w.tokens - first : kTokens)};

  const LaneSigns* signs = w.signs + panel * blocks * kLanes + lane;
  LaneSigns now[kInFlight];
  LaneSigns next[kInFlight];
  const auto load = [&](LaneSigns(&to)[kInFlight], int pass) {
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int block = pass + warp + i * kWarps;
      if (block < blocks) to[i] = load_signs(signs + std::int64_t{block} * kLanes);
    }
  };
  let_next_start();
  load(now, 0);
  load(next, kPassBlocks);
  wait_for_previous();

  float result = 0.0F;  // of token `warp` and row `lane`
  const float* h = Form::kGrouped ? w.h + panel * units * kPanelRows + lane : nullptr;
  for (int pass = 0; pass < blocks; pass += kPassBlocks) {
    if (warp < tile.count && lane < kPassBlocks && pass + lane < blocks) {
      scales[warp][lane] = Activations::scale(x, tile.first + warp, pass + lane, blocks);
    }
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) {
      const int in_pass = warp + i * kWarps;
      if (pass + in_pass < blocks) {
        const auto store = [&](int unit, int token, int row, Sum sum) {
          if (token < tile.count) sums[in_pass * kUnits + unit][token][row] = sum;
        };
        Activations::template sums<Form::kUnitCols>(now[i], x, w.cols, tile, pass + in_pass, lane,
                                                    store);
      }
    }
    __syncthreads();
    if (warp < tile.count) {
      const int left = units - pass * kUnits;
      const int count = left < kPassBlocks * kUnits ? left : kPassBlocks * kUnits;
#pragma unroll 8
      for (int u = 0; u < count; ++u) {
        const float group_h =
            Form::kGrouped ? __ldg(h + std::int64_t{pass * kUnits + u} * kPanelRows) : 0.0F;
        result = Form::next(result, static_cast<float>(sums[u][warp][lane]),
                            scales[warp][u / kUnits], group_h);
      }
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kInFlight; ++i) now[i] = next[i];
    load(next, pass + 2 * kPassBlocks);
  }
  const std::int64_t row = panel * kPanelRows + lane;
  if (warp < tile.count && row < w.rows) {
    w.y[(tile.first + warp) * w.ldy + row] = Form::last(result, w.h, row);
  }
}

template <class Activations, class Form>
void start(const DeviceSigns& w, const typename Activations::Input& x, std::int64_t tokens,
           float* y, std::int64_t ldy, cudaStream_t stream) {
  const std::int64_t tiles = (tokens + Activations::kTokens - 1) / Activations::kTokens;
  launch(w.device(), few_tokens<Activations, Form>, sign_panels(w.rows()) * tiles, kWarps * kLanes,
         stream, product_of(w, tokens, y, ldy), x);
}

}  // namespace

void few_tokens_i8(const DeviceSigns& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                   std::int64_t ldy, cudaStream_t stream) {
  with_form(w, [&](auto form) { start<Int8, decltype(form)>(w, x, tokens, y, ldy, stream); });
}

void few_tokens_f32(const DeviceSigns& w, const float* x, std::int64_t tokens, float* y,
                    std::int64_t ldy, cudaStream_t stream) {
  const bool vectors = w.cols() % 4 == 0 && reinterpret_cast<std::uintptr_t>(x) % 16 == 0;
  with_form(w, [&](auto form) {
    using Form = decltype(form);
    if (!vectors) {
      start<Float<4, false>, Form>(w, x, tokens, y, ldy, stream);
    } else if (tokens == 1) {
      start<Float<1, true>, Form>(w, x, tokens, y, ldy, stream);
    } else {
      start<Float<4, true>, Form>(w, x, tokens, y, ldy, stream);
    }
  });
}

}  // namespace onebit::cuda
