// Panels of S for the instruction sets that multiply it by tables: four signs choose one of 16 sums
// of four activations; the sums are computed once a token and looked up for every row. Included
// inside a target region and an unnamed namespace, after the vector functions and
//
//   kSignPanelRows              rows that lie together
//   sign_byte(r, j)             where byte j of a step's dword of row r lies among those of a panel
//
// and followed by the set's tables and tiles, and by sign_gemm_inl.h.
//
// Layout: panels of rows; for every 32 columns (a step) a dword of each row, whose bit i is column
// i of the step: eight nibbles, each the index into the table of its four columns.

constexpr std::int64_t kStepCols = 32;
constexpr std::int64_t kStepBytes = kSignPanelRows * 4;
/// What the stack gives to the tables.
constexpr std::int64_t kTableBytes = 128 * 1024;
/// Columns of tables for several tokens: those of two tokens and a panel of S stay in L1.
constexpr std::int64_t kBlockCols = 1024;
/// Columns of tables for one token, which then reads S in one stream.
constexpr std::int64_t kLongBlockCols = 4096;
/// Bytes further on that are asked for: twice the memory's latency at the speed of this loop. Into
/// L2, since only as many lines can be on their way to L1 as on a Zen 4 give 16 GB/s (of 32); from
/// L2 they come in time by themselves.
constexpr std::int64_t kPrefetchBytes = 8192;

constexpr std::int64_t round_up(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

/// Steps of a row: rows are padded to whole words of 64 columns.
ONEBIT_INLINE std::int64_t steps_of(std::int64_t cols) {
  return formats::sign1_row_words(cols) * 2;
}

std::int64_t sign_bytes(std::int64_t rows, std::int64_t cols) noexcept {
  return round_up(rows, kSignPanelRows) / kSignPanelRows * steps_of(cols) * kStepBytes;
}

/// A step of a panel, a dword a row.
ONEBIT_INLINE void put_step(const std::uint32_t* dwords, std::byte* out) {
  for (std::int64_t r = 0; r < kSignPanelRows; ++r) {
    ONEBIT_UNROLL
    for (int j = 0; j < 4; ++j) out[sign_byte(r, j)] = static_cast<std::byte>(dwords[r] >> (8 * j));
  }
}

void pack_signs(const formats::Sign1View& s, std::byte* out, std::int64_t row_begin,
                std::int64_t row_end) noexcept {
  const std::int64_t words = formats::sign1_row_words(s.cols);
  for (std::int64_t r = row_begin; r < row_end; r += kSignPanelRows) {
    std::byte* panel = out + r * words * 8;
    const std::int64_t rows = row_end - r < kSignPanelRows ? row_end - r : kSignPanelRows;
    for (std::int64_t i = 0; i < words; ++i) {
      std::uint32_t steps[2][kSignPanelRows] = {};
      for (std::int64_t row = 0; row < rows; ++row) {
        const std::uint64_t word = s.words[(r + row) * words + i];
        steps[0][row] = static_cast<std::uint32_t>(word);
        steps[1][row] = static_cast<std::uint32_t>(word >> 32);
      }
      put_step(steps[0], panel + 2 * i * kStepBytes);
      put_step(steps[1], panel + (2 * i + 1) * kStepBytes);
    }
  }
}

/// Groups of a row with its padding.
ONEBIT_INLINE std::int64_t groups_of(std::int64_t cols, std::int64_t group_size) {
  return round_up(steps_of(cols) * kStepCols, group_size) / group_size;
}

std::int64_t scale_count(std::int64_t rows, std::int64_t cols, std::int64_t group_size) noexcept {
  return round_up(rows, kSignPanelRows) * groups_of(cols, group_size);
}

/// [panel, group, row of the panel]; zeros beyond the last row and column.
void pack_scales(const float* h, std::int64_t rows, std::int64_t cols, std::int64_t group_size,
                 float* out) noexcept {
  const std::int64_t groups = (cols + group_size - 1) / group_size;
  const std::int64_t padded = groups_of(cols, group_size);
  for (std::int64_t r = 0; r < round_up(rows, kSignPanelRows); ++r) {
    for (std::int64_t g = 0; g < padded; ++g) {
      out[(r / kSignPanelRows * padded + g) * kSignPanelRows + r % kSignPanelRows] =
          r < rows && g < groups ? h[r * groups + g] : 0.0F;
    }
  }
}

constexpr SignLayout kLayout = {kSignPanelRows, sign_bytes, pack_signs, scale_count, pack_scales};
constexpr const SignLayout* kSigns = &kLayout;

/// A block of steps of one panel, and what is read after it.
struct PanelBlock {
  const std::byte* p;
  const std::byte* next;
  std::int64_t steps;
  ONEBIT_INLINE const std::byte* at(std::int64_t step) const { return p + step * kStepBytes; }
  ONEBIT_INLINE void prefetch(std::int64_t step) const {
    constexpr std::int64_t kAhead = kPrefetchBytes / kStepBytes;
    const std::byte* to = step + kAhead < steps ? p + (step + kAhead) * kStepBytes
                                                : next + (step + kAhead - steps) * kStepBytes;
    ONEBIT_UNROLL
    for (std::int64_t i = 0; i < kStepBytes; i += 64) __builtin_prefetch(to + i, 0, kIntoL2);
  }
};

/// The rows [begin, end) of a panel that a tile writes.
struct PanelRows {
  std::int64_t begin;
  std::int64_t end;
};

/// Steps of a block of activations, which have a scale in common.
constexpr std::int64_t kBlockSteps = kActivationBlock / kStepCols;

/// Tables of int8 activations for a block of columns; of token t at t · stride, with the scales of
/// its blocks of activations at t · scale_stride.
struct Tables8 {
  const std::uint8_t* tables;
  std::int64_t stride;
  const float* scales;
  std::int64_t scale_stride;
  ONEBIT_INLINE Tables8 from(std::int64_t token) const {
    return {tables + token * stride, stride, scales + token * scale_stride, scale_stride};
  }
};

struct TablesF {
  const float* tables;
  std::int64_t stride;
  ONEBIT_INLINE TablesF from(std::int64_t token) const { return {tables + token * stride, stride}; }
};

/// Where a tile's sums go: added to y's, unless the block of columns is the first; times h where
/// that is given, which is with the last.
struct TileOutput {
  float* y;        ///< of the panel's first row and the tile's first token
  const float* h;  ///< of the panel's first row
  std::int64_t ldy;
  PanelRows rows;
  bool is_first;
  ONEBIT_INLINE TileOutput from(std::int64_t token) const {
    return {y + token * ldy, h, ldy, rows, is_first};
  }
};
