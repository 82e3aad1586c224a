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

/// A prefetch's hint. L2 has more room for what is under way than L1.
constexpr int kIntoL2 = 2;
/// Columns treated before the sums go to y: bounds the panel, and 16 rows of it stay in L2.
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

/// What is asked for ahead of its use, of the rows that one token multiplies. Between what two
/// kinds of CPU like best on pages of 4 KiB: Zen 4 1 KiB, an Intel Xeon 4 KiB.
constexpr std::int64_t kDenseAheadBytes = 2048;

/// out[r] = the sum of sums[r]'s lanes, r < valid; added to what is there if `accumulate`.
ONEBIT_INLINE void put_sums(V (&sums)[4], float* out, std::int64_t valid, bool accumulate) {
  Quad four = reduce4(sums[0], sums[1], sums[2], sums[3]);
  if (valid >= 4) {
    if (accumulate) {
      Quad before;
      __builtin_memcpy(&before, out, sizeof(before));
      four = before + four;
    }
    __builtin_memcpy(out, &four, sizeof(four));
  } else {
    for (int r = 0; r < valid; ++r) out[r] = accumulate ? out[r] + four[r] : four[r];
  }
}

/// y[t, r], r < valid, of four rows and T tokens over n columns; added to what is there if
/// `accumulate`.
template <int T, class Row>
void gemm_tile(const Row (&row_references)[4], const float* x, std::int64_t ldx, std::int64_t n,
               float* y, std::int64_t ldy, std::int64_t valid, bool accumulate) {
  constexpr int kRows = 4;
  Row rows[kRows];
  ONEBIT_UNROLL
  for (int r = 0; r < kRows; ++r) rows[r] = row_references[r];
  V sums[T][kRows];
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) {
    ONEBIT_UNROLL
    for (int r = 0; r < kRows; ++r) sums[t][r] = zero();
  }
  const std::int64_t steps = n / kStep;
  for (std::int64_t b = 0; b < steps; ++b) {
    ONEBIT_UNROLL
    for (int i = 0; i < kVectorsPerStep; ++i) {
      V w[kRows];
      ONEBIT_UNROLL
      for (int r = 0; r < kRows; ++r) w[r] = rows[r].at(b, i);
      ONEBIT_UNROLL
      for (int t = 0; t < T; ++t) {
        const V xt = load(x + t * ldx + b * kStep + i * kLanes);
        ONEBIT_UNROLL
        for (int r = 0; r < kRows; ++r) sums[t][r] = fma(w[r], xt, sums[t][r]);
      }
    }
  }
  for (std::int64_t c = steps * kStep; c < n; c += kLanes) {
    const std::int64_t count = n - c < kLanes ? n - c : kLanes;
    V w[kRows];
    ONEBIT_UNROLL
    for (int r = 0; r < kRows; ++r) w[r] = rows[r].part(c, count);
    ONEBIT_UNROLL
    for (int t = 0; t < T; ++t) {
      const V xt = load_part(x + t * ldx + c, count);
      ONEBIT_UNROLL
      for (int r = 0; r < kRows; ++r) sums[t][r] = fma(w[r], xt, sums[t][r]);
    }
  }
  ONEBIT_UNROLL
  for (int t = 0; t < T; ++t) put_sums(sums[t], y + t * ldy, valid, accumulate);
}

/// The tile's sums of one row and one token, with the same operations.
template <class Row>
ONEBIT_INLINE V row_sums(const Row& row, const float* x, std::int64_t n) {
  V sums = zero();
  const std::int64_t steps = n / kStep;
  for (std::int64_t b = 0; b < steps; ++b) {
    const auto* ahead = reinterpret_cast<const std::byte*>(row.step(b)) + kDenseAheadBytes;
    __builtin_prefetch(ahead, 0, kIntoL2);
    if constexpr (kStep * sizeof(*row.p) == 128) __builtin_prefetch(ahead + 64, 0, kIntoL2);
    ONEBIT_UNROLL
    for (int i = 0; i < kVectorsPerStep; ++i) {
      sums = fma(row.at(b, i), load(x + b * kStep + i * kLanes), sums);
    }
  }
  for (std::int64_t c = steps * kStep; c < n; c += kLanes) {
    const std::int64_t count = n - c < kLanes ? n - c : kLanes;
    sums = fma(row.part(c, count), load_part(x + c, count), sums);
  }
  return sums;
}

/// The rows of a tile: r and the next three; the last row again where there are fewer.
template <class Row, class Stored>
ONEBIT_INLINE void tile_rows(const Matrix<Row, Stored>& w, std::int64_t k, std::int64_t r,
                             std::int64_t valid, Row (&rows)[4]) {
  for (std::int64_t i = 0; i < 4; ++i) rows[i] = w.row(r + (i < valid ? i : valid - 1)).from(k);
}

/// T tokens and all rows of [row_begin, row_end).
template <int T, class Row, class Stored>
void gemm_rows(const Matrix<Row, Stored>& w, std::int64_t k, const float* x, std::int64_t ldx,
               std::int64_t n, float* y, std::int64_t ldy, std::int64_t row_begin,
               std::int64_t row_end, bool accumulate) {
  for (std::int64_t r = row_begin; r < row_end; r += 4) {
    const std::int64_t valid = row_end - r < 4 ? row_end - r : 4;
    Row rows[4];
    tile_rows(w, k, r, valid, rows);
    gemm_tile<T>(rows, x, ldx, n, y + r, ldy, valid, accumulate);
  }
}

/// gemm_rows for tokens <= T.
template <int T, class Row, class Stored>
void gemm_tokens(const Matrix<Row, Stored>& w, std::int64_t k, const float* x, std::int64_t ldx,
                 std::int64_t n, std::int64_t tokens, float* y, std::int64_t ldy,
                 std::int64_t row_begin, std::int64_t row_end, bool accumulate) {
  if constexpr (T > 1) {
    if (tokens < T) {
      gemm_tokens<T - 1>(w, k, x, ldx, n, tokens, y, ldy, row_begin, row_end, accumulate);
      return;
    }
  }
  gemm_rows<T>(w, k, x, ldx, n, y, ldy, row_begin, row_end, accumulate);
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

/// Columns whose sums go to y together: the same however many tokens there are.
ONEBIT_INLINE std::int64_t depth_of(std::int64_t in) {
  const std::int64_t blocks = (in + kMaxDepth - 1) / kMaxDepth;
  return ((in + blocks - 1) / blocks + 63) / 64 * 64;
}

/// One token waits for memory: it reads row after row, in one stream, which the hardware follows
/// better than one for each row of a tile.
template <class Row, class Stored>
void gemv_dense(const Matrix<Row, Stored>& w, std::int64_t in, const float* x, float* y,
                std::int64_t row_begin, std::int64_t row_end) {
  const std::int64_t depth = depth_of(in);
  for (std::int64_t r = row_begin; r < row_end; r += 4) {
    const std::int64_t valid = row_end - r < 4 ? row_end - r : 4;
    for (std::int64_t k = 0; k < in; k += depth) {
      const std::int64_t n = in - k < depth ? in - k : depth;
      Row rows[4];
      tile_rows(w, k, r, valid, rows);
      V sums[4] = {row_sums(rows[0], x + k, n), row_sums(rows[1], x + k, n),
                   row_sums(rows[2], x + k, n), row_sums(rows[3], x + k, n)};
      put_sums(sums, y + r, valid, k != 0);
    }
  }
}

template <class Row, class Stored>
void gemm_dense(const Matrix<Row, Stored>& w, std::int64_t in, const float* x, std::int64_t tokens,
                float* y, std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) {
  if (tokens == 1) {
    gemv_dense(w, in, x, y, row_begin, row_end);
    return;
  }
  const std::int64_t depth = depth_of(in);
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
