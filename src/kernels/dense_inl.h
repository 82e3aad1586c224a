// Matrix products with f32 activations for one instruction set, generic over the stored weight.
// Included inside a target region and an unnamed namespace, after the set's vector functions:
//
//   V, kLanes                   vector of kLanes floats
//   kTileTokens                 tokens whose accumulators fit the registers, four rows each
//   load, load_part, store      n floats; load_part fills with zeros
//   zero, fma, reduce4          reduce4: the sums of four vectors, as a Quad
//   load_f16, load_bf16 (and _part), load_i8, load_u4     weights to f32
//
// The accumulators of an output y[t, r] are the kLanes lanes of one vector, summed over columns in
// order and then reduced, for each block of kMaxDepth columns: the same operations whatever the
// number of tokens and the range of rows, so that results do not depend on either.

/// Columns treated before the sums go to y: bounds the panel, and 16 rows of it stay in L2.
/// A prefetch's hint. L2 has more room for what is under way than L1.
constexpr int kIntoL2 = 2;
constexpr std::int64_t kMaxDepth = 1536;
/// Rows decoded to f32 at a time: 16 · 1536 floats are 96 KiB of stack.
constexpr std::int64_t kPanelRows = 16;
/// Tokens that a panel serves before the next is decoded: 96 · 1536 floats, 576 KiB, stay in L2.
constexpr std::int64_t kBlockTokens = 96;
static_assert(kBlockTokens % kTileTokens == 0);
/// Columns of a step of the inner loop: the block of the quantised types.
constexpr std::int64_t kStep = formats::kQuantBlock;
constexpr int kVectorsPerStep = static_cast<int>(kStep) / kLanes;
/// Four floats, as every instruction set's own type of them.
using Quad = float __attribute__((vector_size(16)));

// ---- one row of each stored type: at(b, i) gives columns 32 b + i kLanes …, part(c, n) n columns
// from c on, from(c) the row seen from column c (a multiple of 64) on, step(b) where at(b, 0) lies
// ----

struct F32Row {
  const float* p;
  ONEBIT_INLINE V at(std::int64_t b, int i) const { return load(p + b * kStep + i * kLanes); }
  ONEBIT_INLINE V part(std::int64_t c, std::int64_t n) const { return load_part(p + c, n); }
  ONEBIT_INLINE F32Row from(std::int64_t c) const { return {p + c}; }
  ONEBIT_INLINE const float* step(std::int64_t b) const { return p + b * kStep; }
};

struct F16Row {
  const f16_bits* p;
  ONEBIT_INLINE V at(std::int64_t b, int i) const { return load_f16(p + b * kStep + i * kLanes); }
  ONEBIT_INLINE V part(std::int64_t c, std::int64_t n) const { return load_f16_part(p + c, n); }
  ONEBIT_INLINE F16Row from(std::int64_t c) const { return {p + c}; }
  ONEBIT_INLINE const f16_bits* step(std::int64_t b) const { return p + b * kStep; }
};

struct BF16Row {
  const bf16_bits* p;
  ONEBIT_INLINE V at(std::int64_t b, int i) const { return load_bf16(p + b * kStep + i * kLanes); }
  ONEBIT_INLINE V part(std::int64_t c, std::int64_t n) const { return load_bf16_part(p + c, n); }
  ONEBIT_INLINE BF16Row from(std::int64_t c) const { return {p + c}; }
  ONEBIT_INLINE const bf16_bits* step(std::int64_t b) const { return p + b * kStep; }
};

struct Q8_0Row {
  const formats::BlockQ8_0* p;
  ONEBIT_INLINE V at(std::int64_t b, int i) const {
    return mul(broadcast_f16(p[b].d), load_i8(p[b].qs + i * kLanes));  // exact: 11 + 8 bits
  }
  ONEBIT_INLINE V part(std::int64_t, std::int64_t) const { return zero(); }  // whole blocks only
  ONEBIT_INLINE Q8_0Row from(std::int64_t c) const { return {p + c / kStep}; }
  ONEBIT_INLINE const formats::BlockQ8_0* step(std::int64_t b) const { return p + b; }
};

struct Q4_1Row {
  const formats::BlockQ4_1* p;
  ONEBIT_INLINE V at(std::int64_t b, int i) const {
    // d q is exact (11 + 4 bits), so that the fused form rounds as d q + m does.
    return fma(broadcast_f16(p[b].d), load_u4(p[b].qs, i), broadcast_f16(p[b].m));
  }
  ONEBIT_INLINE V part(std::int64_t, std::int64_t) const { return zero(); }  // whole blocks only
  ONEBIT_INLINE Q4_1Row from(std::int64_t c) const { return {p + c / kStep}; }
  ONEBIT_INLINE const formats::BlockQ4_1* step(std::int64_t b) const { return p + b; }
};

/// A matrix in memory: row(r).
template <class Row, class Stored>
struct Matrix {
  const Stored* w;
  std::int64_t stride;  ///< in elements of `Stored`
  ONEBIT_INLINE Row row(std::int64_t r) const { return {w + r * stride}; }
};

/// From how many tokens on it pays to decode rows to a panel first. For f32, whose decoding is a
/// copy, the gain is that rows whose distance is a power of two no longer share cache sets.
template <class Row>
constexpr std::int64_t kPanelTokens = 3;
template <>
constexpr std::int64_t kPanelTokens<F32Row> = 32;

/// sums[t, r] of R rows and T tokens over n columns go to y[t · ldy + r], r < valid; added to what
/// is there if `accumulate`. One token reads each row once: what lies `ahead` elements further on
/// is asked for, for the next tile.
template <int R, int T, class Row>
void gemm_tile(const Row* row_pointers, std::int64_t ahead, const float* x, std::int64_t ldx,
               std::int64_t n, float* y, std::int64_t ldy, std::int64_t valid, bool accumulate) {
  Row rows[R];
  ONEBIT_UNROLL
  for (int r = 0; r < R; ++r) rows[r] = row_pointers[r];
  V sums[T][R];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int r = 0; r < R; ++r) sums[t][r] = zero();
  }
  const std::int64_t steps = n / kStep;
  for (std::int64_t b = 0; b < steps; ++b) {
    if constexpr (T == 1) {
      ONEBIT_UNROLL
      for (int r = 0; r < R; ++r) {
        const auto* next = rows[r].step(b) + ahead;
        __builtin_prefetch(next, 0, kIntoL2);
        if constexpr (kStep * sizeof(*next) == 128) {
          __builtin_prefetch(next + kStep / 2, 0, kIntoL2);
        }
      }
    }
    ONEBIT_UNROLL
    for (int i = 0; i < kVectorsPerStep; ++i) {
      V w[R];
      ONEBIT_UNROLL
      for (int r = 0; r < R; ++r) w[r] = rows[r].at(b, i);
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        const V xt = load(x + t * ldx + b * kStep + i * kLanes);
        ONEBIT_UNROLL
        for (int r = 0; r < R; ++r) sums[t][r] = fma(w[r], xt, sums[t][r]);
      }
    }
  }
  for (std::int64_t c = steps * kStep; c < n; c += kLanes) {
    const std::int64_t count = n - c < kLanes ? n - c : kLanes;
    V w[R];
    ONEBIT_UNROLL
    for (int r = 0; r < R; ++r) w[r] = rows[r].part(c, count);
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      const V xt = load_part(x + t * ldx + c, count);
      ONEBIT_UNROLL
      for (int r = 0; r < R; ++r) sums[t][r] = fma(w[r], xt, sums[t][r]);
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int r = 0; r < R; r += 4) {
      Quad four = reduce4(sums[t][r], sums[t][r + 1], sums[t][r + 2], sums[t][r + 3]);
      float* out = y + t * ldy + r;
      if (r + 4 <= valid) {
        if (accumulate) {
          Quad before;
          __builtin_memcpy(&before, out, sizeof(before));
          four = before + four;
        }
        __builtin_memcpy(out, &four, sizeof(four));
      } else {
        for (int i = 0; r + i < valid; ++i) out[i] = accumulate ? out[i] + four[i] : four[i];
      }
    }
  }
}

/// T tokens and all rows of [row_begin, row_end), R at a time. Beyond the last row a tile repeats
/// it and throws the repetition away.
template <int R, int T, class Row, class Stored>
void gemm_rows(const Matrix<Row, Stored>& w, std::int64_t k, const float* x, std::int64_t ldx,
               std::int64_t n, float* y, std::int64_t ldy, std::int64_t row_begin,
               std::int64_t row_end, bool accumulate) {
  for (std::int64_t r = row_begin; r < row_end; r += R) {
    const std::int64_t valid = row_end - r < R ? row_end - r : R;
    Row rows[R];
    for (std::int64_t i = 0; i < R; ++i) rows[i] = w.row(r + (i < valid ? i : valid - 1)).from(k);
    gemm_tile<R, T>(rows, R * w.stride, x, ldx, n, y + r, ldy, valid, accumulate);
  }
}

/// gemm_rows for tokens <= T.
template <int T, class Row, class Stored>
void gemm_tokens(const Matrix<Row, Stored>& w, std::int64_t k, const float* x, std::int64_t ldx,
                 std::int64_t n, std::int64_t tokens, float* y, std::int64_t ldy,
                 std::int64_t row_begin, std::int64_t row_end, bool accumulate) {
  if constexpr (T == 1) {
    // Alone, a token needs more rows to have enough sums under way: fma takes 4 cycles, two start
    // in each.
    gemm_rows<8, 1>(w, k, x, ldx, n, y, ldy, row_begin, row_end, accumulate);
  } else if (tokens == T) {
    gemm_rows<4, T>(w, k, x, ldx, n, y, ldy, row_begin, row_end, accumulate);
  } else {
    gemm_tokens<T - 1>(w, k, x, ldx, n, tokens, y, ldy, row_begin, row_end, accumulate);
  }
}

/// Columns [k, k + n) of x and w, all tokens, one panel of rows.
template <class Row, class Stored>
void gemm_panel(const Matrix<Row, Stored>& w, std::int64_t k, const float* x, std::int64_t ldx,
                std::int64_t n, std::int64_t tokens, float* y, std::int64_t ldy,
                std::int64_t row_begin, std::int64_t row_end, bool accumulate) {
  for (std::int64_t t = 0; t < tokens; t += kTileTokens) {
    const std::int64_t count = tokens - t < kTileTokens ? tokens - t : kTileTokens;
    gemm_tokens<kTileTokens>(w, k, x + t * ldx, ldx, n, count, y + t * ldy, ldy, row_begin, row_end,
                             accumulate);
  }
}

/// n columns of a row as f32, with zeros up to a multiple of kLanes.
template <class Row>
void decode_row(const Row& row, std::int64_t n, float* out) {
  const std::int64_t steps = n / kStep;
  for (std::int64_t b = 0; b < steps; ++b) {
    ONEBIT_UNROLL
    for (int i = 0; i < kVectorsPerStep; ++i) store(out + b * kStep + i * kLanes, row.at(b, i));
  }
  for (std::int64_t c = steps * kStep; c < n; c += kLanes) {
    store(out + c, row.part(c, n - c < kLanes ? n - c : kLanes));
  }
}

template <class Row, class Stored>
void gemm_decoded_panel(const Matrix<Row, Stored>& w, std::int64_t k, const float* x,
                        std::int64_t ldx, std::int64_t n, std::int64_t tokens, float* y,
                        std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end,
                        bool accumulate) {
  alignas(64) float panel[kPanelRows * kMaxDepth];
  const std::int64_t stride = (n + kLanes - 1) / kLanes * kLanes;
  for (std::int64_t r = row_begin; r < row_end; ++r) {
    decode_row(w.row(r).from(k), n, panel + (r - row_begin) * stride);
  }
  gemm_panel(Matrix<F32Row, float>{panel, stride}, 0, x, ldx, n, tokens, y + row_begin, ldy, 0,
             row_end - row_begin, accumulate);
}

template <class Row, class Stored>
void gemm_dense(const Matrix<Row, Stored>& w, std::int64_t in, const float* x, std::int64_t tokens,
                float* y, std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) {
  const std::int64_t blocks = (in + kMaxDepth - 1) / kMaxDepth;
  const std::int64_t depth = ((in + blocks - 1) / blocks + 63) / 64 * 64;
  for (std::int64_t k = 0; k < in; k += depth) {
    const std::int64_t n = in - k < depth ? in - k : depth;
    for (std::int64_t t = 0; t < tokens; t += kBlockTokens) {
      const std::int64_t count = tokens - t < kBlockTokens ? tokens - t : kBlockTokens;
      const float* xt = x + t * in + k;
      float* yt = y + t * ldy;
      for (std::int64_t r = row_begin; r < row_end; r += kPanelRows) {
        const std::int64_t end = row_end - r < kPanelRows ? row_end : r + kPanelRows;
        if (count >= kPanelTokens<Row>) {
          gemm_decoded_panel(w, k, xt, in, n, count, yt, ldy, r, end, k != 0);
        } else {
          gemm_panel(w, k, xt, in, n, count, yt, ldy, r, end, k != 0);
        }
      }
    }
  }
}

// ---- the functions of KernelSet ----

void gemm_f32(const float* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
              std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_dense(Matrix<F32Row, float>{w, in}, in, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_f16(const f16_bits* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
              std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_dense(Matrix<F16Row, f16_bits>{w, in}, in, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_bf16(const bf16_bits* w, std::int64_t in, const float* x, std::int64_t tokens, float* y,
               std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_dense(Matrix<BF16Row, bf16_bits>{w, in}, in, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_q8_0(const formats::BlockQ8_0* w, std::int64_t in, const float* x, std::int64_t tokens,
               float* y, std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_dense(Matrix<Q8_0Row, formats::BlockQ8_0>{w, in / kStep}, in, x, tokens, y, ldy, row_begin,
             row_end);
}

void gemm_q4_1(const formats::BlockQ4_1* w, std::int64_t in, const float* x, std::int64_t tokens,
               float* y, std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_dense(Matrix<Q4_1Row, formats::BlockQ4_1>{w, in / kStep}, in, x, tokens, y, ldy, row_begin,
             row_end);
}
