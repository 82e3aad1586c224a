// Products with many tokens over int8 activations, by the tensor cores. A warp multiplies one panel
// of 32 rows by 64 tokens: it makes operands from signs once for all of them, and has its results
// in registers from the first column to the last, in whose order they are rounded. Signs are few
// bytes, activations eight times as many, so a block of threads is a tall tile: up to 8 panels
// share 64 tokens' activations in shared memory, which cp.async fills two blocks of 128 columns
// ahead.
#include "cuda/instructions.cuh"
#include "cuda/product_forms.cuh"
#include "cuda/product_kernels.h"

namespace onebit::cuda {
namespace {

using kernels::QuantizedRows;

constexpr int kTokens = 64;  // of a block of threads
constexpr int kTokenTiles = kTokens / 8;
constexpr int kMostWarps = 8;
constexpr int kLeastWarps = 2;  // a thread copies the scale of a token
static_assert(kLeastWarps * kLanes >= kTokens);
constexpr int kStages = 3;
constexpr int kChunk = 16;  // bytes that a thread copies at once
constexpr int kRowChunks = kBlockCols / kChunk;

/// A block of columns of the tokens.
struct Stage {
  alignas(128) std::int8_t q[kTokens * kBlockCols];
  float scales[kTokens];

  /// The chunks of a token are exchanged so that the same chunk of eight tokens, which a warp reads
  /// at once, lies in all banks.
  __device__ std::int8_t* chunk(int token, int i) {
    return q + token * kBlockCols + (i ^ token % kRowChunks) * kChunk;
  }
};

template <class Form>
__global__ void __launch_bounds__(kMostWarps* kLanes, 1)
    many_tokens(const Product w, const QuantizedRows x) {
  __shared__ Stage stages[kStages];
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  const int lane = thread % kLanes;
  const int g = lane / 4;
  const int t = lane % 4;
  const int blocks = static_cast<int>(QuantizedRows::blocks(w.cols));
  const int units = static_cast<int>((w.cols + Form::kUnitCols - 1) / Form::kUnitCols);
  const auto tiles = static_cast<unsigned>((w.tokens + kTokens - 1) / kTokens);
  const std::int64_t first = std::int64_t{blockIdx.x % tiles} * kTokens;
  const std::int64_t panel =
      std::int64_t{blockIdx.x / tiles} * (threads / kLanes) + thread / kLanes;
  // A warp beyond the last panel helps to copy, multiplies the last one again and writes nothing.
  const std::int64_t last_panel = sign_panels(w.rows) - 1;
  const std::int64_t read_panel = panel < last_panel ? panel : last_panel;

  // A thread copies the same chunk of every (threads / kRowChunks)th token, a multiple of 8: all of
  // them have the same place in their rows of a stage.
  const int count = static_cast<int>(w.tokens - first < kTokens ? w.tokens - first : kTokens);
  const int stride = static_cast<int>(QuantizedRows::stride(w.cols));
  const int first_copied = thread / kRowChunks;
  const std::int8_t* q = x.q + (first + first_copied) * stride + thread % kRowChunks * kChunk;
  const float* scales = x.scales + (first + thread) * blocks;
  const auto fill = [&](int block) {
    Stage& to = stages[block % kStages];
    const int col = block * kBlockCols;
    const bool stored = col + thread % kRowChunks * kChunk < stride;
    std::int8_t* chunk = to.chunk(first_copied, thread % kRowChunks);
    const std::int8_t* from = q + col;
    for (int token = first_copied; token < kTokens; token += threads / kRowChunks) {
      const bool there = stored && token < count;
      copy_16(chunk, there ? from : x.q, there);
      chunk += threads / kRowChunks * kBlockCols;
      from += std::int64_t{threads / kRowChunks} * stride;
    }
    if (thread < kTokens) {
      copy_4(to.scales + thread, thread < count ? scales + block : x.scales, thread < count);
    }
  };
  const LaneSigns* signs = w.signs + read_panel * blocks * kLanes + lane;
  const float* h = Form::kGrouped ? w.h + read_panel * units * kPanelRows + g : nullptr;
  const auto permute = [](std::uint32_t low, std::uint32_t high, std::uint32_t selector) {
    return __byte_perm(low, high, selector);
  };
  constexpr std::int32_t kBias[4] = {kFloatBias, kFloatBias, kFloatBias, kFloatBias};

  let_next_start();
  LaneSigns now = load_signs(signs);
  wait_for_previous();
#pragma unroll
  for (int s = 0; s < kStages - 1; ++s) {
    if (s < blocks) fill(s);
    close_copies();
  }
  float results[2][kTokenTiles][4] = {};  // rows 16 m + g + 8 (e / 2), tokens 8 n + 2 t + e % 2
#pragma unroll 1
  for (int block = 0; block < blocks; ++block) {
    wait_for_copies<kStages - 2>();
    __syncthreads();  // all threads' copies are there, and all have read what is filled next
    if (block + kStages - 1 < blocks) fill(block + kStages - 1);
    close_copies();
    LaneSigns next = {};
    if (block + 1 < blocks) next = load_signs(signs + std::int64_t{block + 1} * kLanes);

    Stage& stage = stages[block % kStages];
    std::int32_t sums[2][kTokenTiles][4];
    std::uint32_t a[2][8];
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // 32 columns
      if (i % 2 == 0) {
#pragma unroll
        for (int m = 0; m < 2; ++m) expand_signs(now.words[2 * m + i / 2], a[m], permute);
      }
      constexpr int kEnding = Form::kUnitCols == 16 ? 2 : 1;  // units that can end here
      const int first_unit = block * (kBlockCols / Form::kUnitCols) + 32 * i / Form::kUnitCols;
      const bool ends = 32 * (i + 1) % Form::kUnitCols == 0;
      float unit_h[kEnding][2][2] = {};  // of rows 16 m + 8 k + g
      if (Form::kGrouped && ends) {
#pragma unroll
        for (int j = 0; j < kEnding * 4; ++j) {
          if (first_unit + j / 4 < units) {
            unit_h[j / 4][j / 2 % 2][j % 2] =
                __ldg(h + std::int64_t{first_unit + j / 4} * kPanelRows + j % 4 * 8);
          }
        }
      }
      const auto finish = [&](int m, int n, int j) {
        // Past the last column even nothing must be added: -0 + 0 is not -0.
        if (Form::kGrouped && first_unit + j >= units) return;
        const float2 scale = *reinterpret_cast<const float2*>(stage.scales + 8 * n + 2 * t);
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float sum = __int_as_float(sums[m][n][e]) - kFloatBiasValue;
          results[m][n][e] = Form::next(results[m][n][e], sum, e % 2 == 0 ? scale.x : scale.y,
                                        unit_h[j][m][e / 2]);
        }
      };
#pragma unroll
      for (int pair = 0; pair < kTokenTiles / 2; ++pair) {
        std::uint32_t b[4];  // of tokens 16 pair + g their two halves, then of those 8 further
        load_matrices(b, stage.chunk(16 * pair + lane / 16 * 8 + lane % 8, 2 * i + lane / 8 % 2));
#pragma unroll
        for (int m = 0; m < 2; ++m) {
#pragma unroll
          for (int k = 0; k < 2; ++k) {
            const int n = 2 * pair + k;
            const std::uint32_t* regs = a[m] + i % 2 * 4;
            if constexpr (Form::kUnitCols == 16) {
              multiply_16(sums[m][n], regs, b[2 * k], kBias);
              finish(m, n, 0);
              multiply_16(sums[m][n], regs + 2, b[2 * k + 1], kBias);
              finish(m, n, 1);
            } else {
              const bool begins = 32 * i % Form::kUnitCols == 0;
              multiply_32(sums[m][n], regs, b[2 * k], b[2 * k + 1], begins ? kBias : sums[m][n]);
              if (ends) finish(m, n, 0);
            }
          }
        }
      }
    }
    now = next;
  }
#pragma unroll
  for (int m = 0; m < 2; ++m) {
#pragma unroll
    for (int n = 0; n < kTokenTiles; ++n) {
#pragma unroll
      for (int e = 0; e < 4; ++e) {
        const std::int64_t row = panel * kPanelRows + 16 * m + 8 * (e / 2) + g;
        const std::int64_t token = first + 8 * n + 2 * t + e % 2;
        if (row < w.rows && token < w.tokens) {
          w.y[token * w.ldy + row] = Form::last(results[m][n][e], w.h, row);
        }
      }
    }
  }
}

}  // namespace

void many_tokens_i8(const DeviceSigns& w, const QuantizedRows& x, std::int64_t tokens, float* y,
                    std::int64_t ldy, cudaStream_t stream) {
  const std::int64_t tiles = (tokens + kTokens - 1) / kTokens;
  const std::int64_t panels = sign_panels(w.rows());
  // As tall as leaves every multiprocessor a tile.
  int warps = kMostWarps;
  while (warps > kLeastWarps && (panels + warps - 1) / warps * tiles < w.device().multiprocessors) {
    warps /= 2;
  }
  with_form(w, [&](auto form) {
    launch(w.device(), many_tokens<decltype(form)>, (panels + warps - 1) / warps * tiles,
           warps * kLanes, stream, product_of(w, tokens, y, ldy), x);
  });
}

}  // namespace onebit::cuda
