// Products of one token and integer codes, which become weights in registers. Included after
// codes_inl.h and dense_inl.h; beside their vector functions it needs
//
//   Codes                   kLanes codes of a row
//   kTableBits              codes of up to so many bits have a table of levels in one V
//   NarrowCodes, WideCodes  readers, made of a width up to and beyond kTableBits: at(p) is the
//                           codes in kBytes bytes at p, the narrow one's with any bits above
//                           kTableBits
//   first_codes()           lane i: i
//   look_up(table, codes)   lane i: the lane codes[i] of a table, of whose low kTableBits bits
//   gather(levels, codes)   lane i: levels[codes[i]] in memory
//   code_values(codes)      as floats
//   low_bits(codes, bits)   without those above
//   from_lane(a, b, n)      lanes n … of b, those before of a
//   first_lanes(v, n)       n lanes of v, zeros after them

constexpr int kCodeRows = 4;
/// Of a tile: the last one again where there are fewer.
using CodeRowIndices = std::int64_t[kCodeRows];

// ---- weights of four rows: select(rows, s) of group s from here on, at(i, codes, c, n) of row i's
// columns c …, n of them ----

/// Each group of a row has a table in a register.
class TableWeights {
 public:
  using Reader = NarrowCodes;

  ONEBIT_INLINE explicit TableWeights(const CodedRows& w)
      : w_(w), repeated_(low_bits(first_codes(), w.codes.bits)), values_(code_values(repeated_)) {}

  ONEBIT_INLINE void select(const CodeRowIndices& rows, std::int64_t s) {
    ONEBIT_UNROLL
    for (int i = 0; i < kCodeRows; ++i) {
      const std::int64_t at = rows[i] * w_.groups + s;
      tables_[i] = w_.levels == nullptr
                       ? mul(sub(values_, set1(w_.zero[at])), set1(w_.scale[at]))
                       : repeat(load_part(w_.levels + (at << w_.codes.bits), 1 << w_.codes.bits));
    }
  }
  ONEBIT_INLINE V at(int i, Codes codes, std::int64_t, std::int64_t) const {
    return look_up(tables_[i], codes);
  }

 private:
  /// So that bits above a code's do not matter.
  ONEBIT_INLINE V repeat(V levels) const { return look_up(levels, repeated_); }

  const CodedRows& w_;
  Codes repeated_;
  V values_;
  V tables_[kCodeRows];
};

/// A scale and a zero point.
class GridWeights {
 public:
  using Reader = WideCodes;

  ONEBIT_INLINE explicit GridWeights(const CodedRows& w) : w_(w) {}

  ONEBIT_INLINE void select(const CodeRowIndices& rows, std::int64_t s) {
    ONEBIT_UNROLL
    for (int i = 0; i < kCodeRows; ++i) {
      const std::int64_t at = rows[i] * w_.groups + s;
      zeros_[i] = set1(w_.zero[at]);
      scales_[i] = set1(w_.scale[at]);
    }
  }
  ONEBIT_INLINE V at(int i, Codes codes, std::int64_t, std::int64_t) const {
    return mul(sub(code_values(codes), zeros_[i]), scales_[i]);
  }

 private:
  const CodedRows& w_;
  V zeros_[kCodeRows];
  V scales_[kCodeRows];
};

/// A table in memory.
class GatheredWeights {
 public:
  using Reader = WideCodes;

  ONEBIT_INLINE explicit GatheredWeights(const CodedRows& w) : w_(w) {}

  ONEBIT_INLINE void select(const CodeRowIndices& rows, std::int64_t s) {
    ONEBIT_UNROLL
    for (int i = 0; i < kCodeRows; ++i) {
      levels_[i] = w_.levels + ((rows[i] * w_.groups + s) << w_.codes.bits);
    }
  }
  ONEBIT_INLINE V at(int i, Codes codes, std::int64_t, std::int64_t) const {
    return gather(levels_[i], codes);
  }

 private:
  const CodedRows& w_;
  const float* levels_[kCodeRows];
};

/// Two products of scales of rows and columns.
class ProductWeights {
 public:
  using Reader = NarrowCodes;

  ONEBIT_INLINE explicit ProductWeights(const CodedRows& w)
      : w_(w), repeated_(low_bits(first_codes(), w.codes.bits)) {}

  ONEBIT_INLINE void select(const CodeRowIndices& rows, std::int64_t s) {
    const float* signs = w_.products->signs + 8 * s;
    ONEBIT_UNROLL
    for (int i = 0; i < kCodeRows; ++i) {
      const float* scale = w_.products->row_scale + 2 * (rows[i] * w_.groups + s);
      first_[i] = look_up(mul(load_part(signs, 4), set1(scale[0])), repeated_);
      second_[i] = look_up(mul(load_part(signs + 4, 4), set1(scale[1])), repeated_);
    }
  }
  ONEBIT_INLINE V at(int i, Codes codes, std::int64_t c, std::int64_t n) const {
    const float* scales = w_.products->col_scale + c;
    const V scale0 = n == kLanes ? load(scales) : load_part(scales, n);
    scales += w_.codes.cols;
    const V scale1 = n == kLanes ? load(scales) : load_part(scales, n);
    return fma(look_up(second_[i], codes), scale1, mul(look_up(first_[i], codes), scale0));
  }

 private:
  const CodedRows& w_;
  Codes repeated_;
  V first_[kCodeRows];
  V second_[kCodeRows];
};

/// The codes at p, of which there are bytes up to `end` only.
template <class Reader>
ONEBIT_INLINE Codes read_last(const Reader& reader, const std::byte* p, const std::byte* end) {
  std::byte there[Reader::kBytes] = {};
  const std::int64_t bytes = end - p < Reader::kBytes ? end - p : Reader::kBytes;
  __builtin_memcpy(there, p, static_cast<std::size_t>(bytes));
  return reader.at(there);
}

template <class Weights>
void gemv_code_rows(const CodedRows& w, const float* x, float* y, std::int64_t row_begin,
                    std::int64_t row_end) {
  using Reader = typename Weights::Reader;
  const int bits = w.codes.bits;
  const std::int64_t cols = w.codes.cols;
  const std::int64_t row_bytes = w.codes.row_bytes();
  const std::int64_t depth = depth_of(cols);
  const Reader reader(bits);
  Weights weights(w);
  for (std::int64_t r = row_begin; r < row_end; r += kCodeRows) {
    const std::int64_t valid = row_end - r < kCodeRows ? row_end - r : kCodeRows;
    CodeRowIndices rows;
    const std::byte* codes[kCodeRows];
    for (int i = 0; i < kCodeRows; ++i) {
      rows[i] = r + (i < valid ? i : valid - 1);
      codes[i] = w.codes.row(rows[i]);
    }
    // A read of a row's last codes ends in the next row: after the last one there is none.
    const bool is_last = r + valid == w.codes.rows;
    const std::int64_t readable = is_last ? (row_bytes - Reader::kBytes) * 8 / bits : cols;
    std::int64_t s = 0;
    weights.select(rows, s);
    for (std::int64_t k = 0; k < cols; k += depth) {
      const std::int64_t end = cols - k < depth ? cols : k + depth;
      V sums[kCodeRows] = {zero(), zero(), zero(), zero()};
      for (std::int64_t c = k; c < end;) {
        while (c >= w.ends[s]) weights.select(rows, ++s);
        std::int64_t whole = end < w.ends[s] ? end : w.ends[s];
        if (readable + kLanes < whole) whole = readable + kLanes;
        for (; c + kLanes <= whole; c += kLanes) {
          const V xc = load(x + c);
          ONEBIT_UNROLL
          for (int i = 0; i < kCodeRows; ++i) {
            const Codes q = reader.at(codes[i] + c / 8 * bits);
            sums[i] = fma(weights.at(i, q, c, kLanes), xc, sums[i]);
          }
        }
        if (c == w.ends[s] || c >= end) continue;
        // Of several groups, or the last codes of a row or of all.
        const std::int64_t n = end - c < kLanes ? end - c : kLanes;
        Codes q[kCodeRows];
        V found[kCodeRows];
        ONEBIT_UNROLL
        for (int i = 0; i < kCodeRows; ++i) {
          const std::byte* at = codes[i] + c / 8 * bits;
          q[i] = c <= readable ? reader.at(at) : read_last(reader, at, codes[i] + row_bytes);
          found[i] = weights.at(i, q[i], c, n);
        }
        while (w.ends[s] < c + n) {
          const std::int64_t lane = w.ends[s] - c;
          weights.select(rows, ++s);
          ONEBIT_UNROLL
          for (int i = 0; i < kCodeRows; ++i) {
            found[i] = from_lane(found[i], weights.at(i, q[i], c, n), lane);
          }
        }
        const V xc = load_part(x + c, n);
        ONEBIT_UNROLL
        for (int i = 0; i < kCodeRows; ++i) {
          sums[i] = fma(first_lanes(found[i], n), xc, sums[i]);
        }
        c += kLanes;
      }
      put_sums(sums, y + r, valid, k != 0);
    }
  }
}

void gemv_codes(const CodedRows& w, const float* x, float* y, std::int64_t row_begin,
                std::int64_t row_end) noexcept {
  if (w.products != nullptr) {
    gemv_code_rows<ProductWeights>(w, x, y, row_begin, row_end);
  } else if (w.codes.bits <= kTableBits) {
    gemv_code_rows<TableWeights>(w, x, y, row_begin, row_end);
  } else if (w.levels == nullptr) {
    gemv_code_rows<GridWeights>(w, x, y, row_begin, row_end);
  } else {
    gemv_code_rows<GatheredWeights>(w, x, y, row_begin, row_end);
  }
}

constexpr auto* kGemvCodes = &gemv_codes;
