// The functions of KernelSet for an instruction set that multiplies S by tables
// (sign_panels_inl.h). Included after the set's own
//
//   kStepTable8, kStepTableF    bytes and floats of the tables of a step
//   kTileTokens8, kTileTokensF  tokens that a tile can take
//   sum_q, build_tables         of int8 and of float activations
//   sign1_i8_tile<T>            y = totals - 2 Σ q[S = -1], or y -= 2 Σ … where the totals are null
//   sign1_f32_tile<T>           y = Σ S x, or y += … unless it is the first block
//   grouped_tile                the same with h

/// Calls tile(block, first row, rows) for steps [step, step + count) of every panel in the range.
template <class Tile>
ONEBIT_INLINE void for_panels(const PackedSigns& s, std::int64_t step, std::int64_t count,
                              std::int64_t row_begin, std::int64_t row_end, const Tile& tile) {
  const std::int64_t panel_bytes = steps_of(s.cols) * kStepBytes;
  const std::int64_t last = (row_end - 1) / kSignPanelRows;
  for (std::int64_t panel = row_begin / kSignPanelRows; panel <= last; ++panel) {
    const std::byte* p = s.data + panel * panel_bytes + step * kStepBytes;
    const PanelBlock block{p, panel < last ? p + panel_bytes : p, count};
    const std::int64_t row = panel * kSignPanelRows;
    tile(block, row,
         PanelRows{row_begin > row ? row_begin - row : 0,
                   row_end - row < kSignPanelRows ? row_end - row : kSignPanelRows});
  }
}

/// Columns whose tables, `bytes` a column, are there at a time, and the tokens that share them.
struct TableBlock {
  std::int64_t cols;
  std::int64_t tokens;
  TableBlock(std::int64_t all_tokens, std::int64_t bytes)
      : cols(all_tokens == 1 ? kLongBlockCols : kBlockCols), tokens(kTableBytes / (cols * bytes)) {}
};

void gemm_sign1_i8(const PackedSigns& s, const std::int8_t* q, std::int64_t ldq,
                   std::int64_t tokens, std::int32_t* y, std::int64_t ldy, std::int64_t row_begin,
                   std::int64_t row_end) noexcept {
  if (row_begin >= row_end) return;
  alignas(64) std::uint8_t tables[kTableBytes];
  const TableBlock block(tokens, kStepTable8 / kStepCols);
  const std::int64_t all_steps = steps_of(s.cols);
  constexpr std::int64_t kMostTokens = kTableBytes / (kBlockCols * (kStepTable8 / kStepCols));
  std::int32_t totals[kMostTokens];
  for (std::int64_t first = 0; first < tokens; first += block.tokens) {
    const std::int64_t count = tokens - first < block.tokens ? tokens - first : block.tokens;
    for (std::int64_t t = 0; t < count; ++t) {
      totals[t] = sum_q(q + (first + t) * ldq, all_steps * kStepCols);
    }
    for (std::int64_t step = 0; step < all_steps; step += block.cols / kStepCols) {
      const std::int64_t left = all_steps - step;
      const std::int64_t steps = left < block.cols / kStepCols ? left : block.cols / kStepCols;
      const std::int64_t stride = steps * kStepTable8;
      for (std::int64_t t = 0; t < count; ++t) {
        build_tables(q + (first + t) * ldq + step * kStepCols, steps, tables + t * stride);
      }
      for_panels(s, step, steps, row_begin, row_end,
                 [&](const PanelBlock& panel, std::int64_t row, PanelRows rows) {
                   std::int64_t t = 0;
                   const auto tile = [&]<int T>() {
                     sign1_i8_tile<T>(panel, tables + t * stride, stride,
                                      step == 0 ? totals + t : nullptr, y + (first + t) * ldy + row,
                                      ldy, rows);
                     t += T;
                   };
                   while (t + kTileTokens8 <= count) tile.template operator()<kTileTokens8>();
                   while (t < count) tile.template operator()<1>();
                 });
    }
  }
}

void gemv_sign1_i8(const PackedSigns& s, const std::int8_t* q, std::int32_t* y,
                   std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_sign1_i8(s, q, 0, 1, y, 0, row_begin, row_end);
}

/// Builds tables block by block; run(panel, row, rows, first token, tokens, first step, tables,
/// their stride).
template <class Run>
ONEBIT_INLINE void gemm_by_float_tables(const PackedSigns& s, const float* x, std::int64_t tokens,
                                        std::int64_t row_begin, std::int64_t row_end,
                                        const Run& run) {
  if (row_begin >= row_end) return;
  alignas(64) float tables[kTableBytes / sizeof(float)];
  const TableBlock block(tokens,
                         kStepTableF * static_cast<std::int64_t>(sizeof(float)) / kStepCols);
  const std::int64_t all_steps = steps_of(s.cols);
  for (std::int64_t first = 0; first < tokens; first += block.tokens) {
    const std::int64_t count = tokens - first < block.tokens ? tokens - first : block.tokens;
    for (std::int64_t step = 0; step < all_steps; step += block.cols / kStepCols) {
      const std::int64_t left = all_steps - step;
      const std::int64_t steps = left < block.cols / kStepCols ? left : block.cols / kStepCols;
      const std::int64_t stride = steps * kStepTableF;
      const std::int64_t col = step * kStepCols;
      for (std::int64_t t = 0; t < count; ++t) {
        build_tables(x + (first + t) * s.cols + col, s.cols - col, steps, tables + t * stride);
      }
      for_panels(s, step, steps, row_begin, row_end,
                 [&](const PanelBlock& panel, std::int64_t row, PanelRows rows) {
                   run(panel, row, rows, first, count, step, tables, stride);
                 });
    }
  }
}

void gemm_sign1_f32(const PackedSigns& s, const float* x, std::int64_t tokens, float* y,
                    std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  gemm_by_float_tables(
      s, x, tokens, row_begin, row_end,
      [&](const PanelBlock& panel, std::int64_t row, PanelRows rows, std::int64_t first,
          std::int64_t count, std::int64_t step, const float* tables, std::int64_t stride) {
        std::int64_t t = 0;
        const auto tile = [&]<int T>() {
          sign1_f32_tile<T>(panel, tables + t * stride, stride, step == 0,
                            y + (first + t) * ldy + row, ldy, rows);
          t += T;
        };
        while (t + kTileTokensF <= count) tile.template operator()<kTileTokensF>();
        while (t < count) tile.template operator()<1>();
      });
}

void gemv_sign1_f32(const PackedSigns& s, const float* x, float* y, std::int64_t row_begin,
                    std::int64_t row_end) noexcept {
  gemm_sign1_f32(s, x, 1, y, s.rows, row_begin, row_end);
}

void gemm_sign1_grouped_f32(const GroupedSigns& w, const float* x, std::int64_t tokens, float* y,
                            std::int64_t ldy, std::int64_t row_begin,
                            std::int64_t row_end) noexcept {
  const std::int64_t groups = groups_of(w.s.cols, w.group_size);
  gemm_by_float_tables(
      w.s, x, tokens, row_begin, row_end,
      [&](const PanelBlock& panel, std::int64_t row, PanelRows rows, std::int64_t first,
          std::int64_t count, std::int64_t step, const float* tables, std::int64_t stride) {
        const float* h = w.h + row * groups + step * kStepCols / w.group_size * kSignPanelRows;
        for (std::int64_t t = 0; t < count; ++t) {
          grouped_tile(panel, tables + t * stride, h, w.group_size, step == 0,
                       y + (first + t) * ldy + row, rows);
        }
      });
}
