// The functions of KernelSet for an instruction set that multiplies S by tables
// (sign_panels_inl.h). Included after the set's own
//
//   kStepTable8, kStepTableF    bytes and floats of the tables of a step
//   kTileTokens8, kTileTokensF  tokens that a tile can take
//   build_tables                of int8 and of float activations
//   sign1_i8_tile<T>, sign1_f32_tile<T>   one block of a panel for T tokens
//   grouped_tile                for one, with scales of groups; for both kinds of tables

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

/// Activations as tables are made of them.
struct Int8Source {
  using Entry = std::uint8_t;
  static constexpr std::int64_t kStepEntries = kStepTable8;
  const QuantizedRows& x;
  std::int64_t cols;

  ONEBIT_INLINE void build(std::int64_t token, std::int64_t step, std::int64_t steps,
                           Entry* out) const {
    build_tables(x.q + token * QuantizedRows::stride(cols) + step * kStepCols, steps, out);
  }
  ONEBIT_INLINE Tables8 tables(const Entry* entries, std::int64_t stride, std::int64_t token,
                               std::int64_t step) const {
    const std::int64_t blocks = QuantizedRows::blocks(cols);
    return {entries, stride, x.scales + token * blocks + step / kBlockSteps, blocks};
  }
};

struct FloatSource {
  using Entry = float;
  static constexpr std::int64_t kStepEntries = kStepTableF;
  const float* x;
  std::int64_t cols;

  ONEBIT_INLINE void build(std::int64_t token, std::int64_t step, std::int64_t steps,
                           Entry* out) const {
    const std::int64_t col = step * kStepCols;
    build_tables(x + token * cols + col, cols - col, steps, out);
  }
  ONEBIT_INLINE TablesF tables(const Entry* entries, std::int64_t stride, std::int64_t,
                               std::int64_t) const {
    return {entries, stride};
  }
};

/// Builds tables block by block of columns and tokens, then calls run(panel, its first row, first
/// step, tokens, tables, output) for every panel.
template <class Source, class Run>
ONEBIT_INLINE void gemm_by_tables(const PackedSigns& s, const Source& x, std::int64_t tokens,
                                  const float* h, float* y, std::int64_t ldy,
                                  std::int64_t row_begin, std::int64_t row_end, const Run& run) {
  if (row_begin >= row_end) return;
  using Entry = typename Source::Entry;
  alignas(64) Entry entries[kTableBytes / sizeof(Entry)];
  const TableBlock block(
      tokens, Source::kStepEntries * static_cast<std::int64_t>(sizeof(Entry)) / kStepCols);
  const std::int64_t all_steps = steps_of(s.cols);
  for (std::int64_t first = 0; first < tokens; first += block.tokens) {
    const std::int64_t count = tokens - first < block.tokens ? tokens - first : block.tokens;
    for (std::int64_t step = 0; step < all_steps; step += block.cols / kStepCols) {
      const std::int64_t left = all_steps - step;
      const std::int64_t steps = left < block.cols / kStepCols ? left : block.cols / kStepCols;
      const std::int64_t stride = steps * Source::kStepEntries;
      for (std::int64_t t = 0; t < count; ++t) {
        x.build(first + t, step, steps, entries + t * stride);
      }
      const auto tables = x.tables(entries, stride, first, step);
      const bool scaled = steps == left && h != nullptr;
      for_panels(s, step, steps, row_begin, row_end,
                 [&](const PanelBlock& panel, std::int64_t row, PanelRows rows) {
                   const TileOutput out{y + first * ldy + row, scaled ? h + row : nullptr, ldy,
                                        rows, step == 0};
                   run(panel, row, step, count, tables, out);
                 });
    }
  }
}

/// tile<T>(t) for tokens t to t + T - 1 of `count`, Most at a time as far as they go, then fewer.
template <int Most, class Tile>
ONEBIT_INLINE void for_token_tiles(std::int64_t count, const Tile& tile, std::int64_t t = 0) {
  for (; t + Most <= count; t += Most) tile.template operator()<Most>(t);
  if constexpr (Most > 1) for_token_tiles<Most / 2>(count, tile, t);
}

void gemm_sign1_i8(const PackedSigns& s, const float* h, const QuantizedRows& x,
                   std::int64_t tokens, float* y, std::int64_t ldy, std::int64_t row_begin,
                   std::int64_t row_end) noexcept {
  gemm_by_tables(s, Int8Source{x, s.cols}, tokens, h, y, ldy, row_begin, row_end,
                 [](const PanelBlock& panel, std::int64_t, std::int64_t, std::int64_t count,
                    const Tables8& tables, const TileOutput& out) {
                   for_token_tiles<kTileTokens8>(count, [&]<int T>(std::int64_t t) {
                     sign1_i8_tile<T>(panel, tables.from(t), out.from(t));
                   });
                 });
}

void gemm_sign1_f32(const PackedSigns& s, const float* h, const float* x, std::int64_t tokens,
                    float* y, std::int64_t ldy, std::int64_t row_begin,
                    std::int64_t row_end) noexcept {
  gemm_by_tables(s, FloatSource{x, s.cols}, tokens, h, y, ldy, row_begin, row_end,
                 [](const PanelBlock& panel, std::int64_t, std::int64_t, std::int64_t count,
                    const TablesF& tables, const TileOutput& out) {
                   for_token_tiles<kTileTokensF>(count, [&]<int T>(std::int64_t t) {
                     sign1_f32_tile<T>(panel, tables.from(t), out.from(t));
                   });
                 });
}

template <class Source>
ONEBIT_INLINE void gemm_grouped(const GroupedSigns& w, const Source& x, std::int64_t tokens,
                                float* y, std::int64_t ldy, std::int64_t row_begin,
                                std::int64_t row_end) {
  const std::int64_t groups = groups_of(w.s.cols, w.group_size);
  gemm_by_tables(w.s, x, tokens, nullptr, y, ldy, row_begin, row_end,
                 [&](const PanelBlock& panel, std::int64_t row, std::int64_t step,
                     std::int64_t count, const auto& tables, const TileOutput& out) {
                   const float* h =
                       w.h + row * groups + step * kStepCols / w.group_size * kSignPanelRows;
                   for (std::int64_t t = 0; t < count; ++t) {
                     grouped_tile(panel, tables.from(t), h, w.group_size, out.from(t));
                   }
                 });
}

void gemm_sign1_grouped_i8(const GroupedSigns& w, const QuantizedRows& x, std::int64_t tokens,
                           float* y, std::int64_t ldy, std::int64_t row_begin,
                           std::int64_t row_end) noexcept {
  gemm_grouped(w, Int8Source{x, w.s.cols}, tokens, y, ldy, row_begin, row_end);
}

void gemm_sign1_grouped_f32(const GroupedSigns& w, const float* x, std::int64_t tokens, float* y,
                            std::int64_t ldy, std::int64_t row_begin,
                            std::int64_t row_end) noexcept {
  gemm_grouped(w, FloatSource{x, w.s.cols}, tokens, y, ldy, row_begin, row_end);
}
