// Products of S and f32 activations for an instruction set that reads S by rows, as it is stored:
// S is one more type of weight. Included as dense_inl.h is, and after it; needs load_signs.

constexpr const SignLayout* kSigns = nullptr;

ONEBIT_INLINE const std::uint64_t* words_of(const PackedSigns& s) {
  return reinterpret_cast<const std::uint64_t*>(s.data);
}

struct SignRow {
  const std::uint64_t* p;
  ONEBIT_INLINE V at(std::int64_t b, int i) const { return load_signs(p, b * kStep + i * kLanes); }
  ONEBIT_INLINE V part(std::int64_t c, std::int64_t) const { return load_signs(p, c); }
  ONEBIT_INLINE SignRow from(std::int64_t c) const { return {p + c / 64}; }
};

/// Signs times the scale of their group, which holds whole steps.
struct GroupedRow {
  const std::uint64_t* p;
  const float* h;
  std::int64_t first;  ///< the column that p begins with
  int shift;           ///< log2 of the group's size
  ONEBIT_INLINE V scaled(std::int64_t c) const {
    return mul(set1(h[(first + c) >> shift]), load_signs(p, c));  // exact
  }
  ONEBIT_INLINE V at(std::int64_t b, int i) const { return scaled(b * kStep + i * kLanes); }
  ONEBIT_INLINE V part(std::int64_t c, std::int64_t) const { return scaled(c); }
  ONEBIT_INLINE GroupedRow from(std::int64_t c) const { return {p + c / 64, h, first + c, shift}; }
};

template <>
struct Matrix<GroupedRow, GroupedSigns> {
  const GroupedSigns& w;
  std::int64_t groups;
  int shift;
  ONEBIT_INLINE GroupedRow row(std::int64_t r) const {
    return {words_of(w.s) + r * formats::sign1_row_words(w.s.cols), w.h + r * groups, 0, shift};
  }
};

void gemm_sign1_f32(const PackedSigns& s, const float* x, std::int64_t tokens, float* y,
                    std::int64_t ldy, std::int64_t row_begin, std::int64_t row_end) noexcept {
  const Matrix<SignRow, std::uint64_t> w{words_of(s), formats::sign1_row_words(s.cols)};
  gemm_dense(w, s.cols, x, tokens, y, ldy, row_begin, row_end);
}

void gemm_sign1_grouped_f32(const GroupedSigns& w, const float* x, std::int64_t tokens, float* y,
                            std::int64_t ldy, std::int64_t row_begin,
                            std::int64_t row_end) noexcept {
  const std::int64_t groups = (w.s.cols + w.group_size - 1) / w.group_size;
  const int shift = __builtin_ctzll(static_cast<unsigned long long>(w.group_size));
  gemm_dense(Matrix<GroupedRow, GroupedSigns>{w, groups, shift}, w.s.cols, x, tokens, y, ldy,
             row_begin, row_end);
}

void gemv_sign1_f32(const PackedSigns& s, const float* x, float* y, std::int64_t row_begin,
                    std::int64_t row_end) noexcept {
  gemm_sign1_f32(s, x, 1, y, s.rows, row_begin, row_end);
}
