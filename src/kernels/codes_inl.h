// Integer codes decoded to weights, for one instruction set. Included as rows_inl.h is, and after
// it; beside that header's vector functions it needs
//
//   store_codes(word, bits, out)   out[i] = bits i·bits … (i + 1)·bits - 1 of the word, i < 8

/// All codes of a row as floats; `out` has room for eight more than there are columns.
ONEBIT_INLINE void unpack_codes(const formats::CodesView& codes, std::int64_t r, float* out) {
  const std::byte* row = codes.row(r);
  const std::int64_t bytes = codes.row_bytes();
  const std::int64_t words = (codes.cols + 7) / 8;
  for (std::int64_t i = 0; i < words; ++i) {
    const std::int64_t at = i * codes.bits;
    std::uint64_t word = 0;
    if (at + 8 <= bytes) {
      __builtin_memcpy(&word, row + at, 8);
    } else {  // the last ones: no byte after the row's
      for (std::int64_t b = 0; b < bytes - at; ++b) {
        word |= static_cast<std::uint64_t>(row[at + b]) << (8 * b);
      }
    }
    store_codes(word, codes.bits, out + 8 * i);
  }
}

/// Of one group: n codes as floats to weights, in place.
ONEBIT_INLINE void apply_grid(float* w, std::int64_t n, float scale, float zero_point) {
  const V scales = set1(scale);
  const V zeros = set1(zero_point);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(w + i, mul(sub(load(w + i), zeros), scales));
  if (i < n) store_part(w + i, mul(sub(load_part(w + i, n - i), zeros), scales), n - i);
}

void decode_codes(const CodedRows& w, float* out, std::int64_t row_begin,
                  std::int64_t row_end) noexcept {
  const std::int64_t table = std::int64_t{1} << w.codes.bits;
  for (std::int64_t r = row_begin; r < row_end; ++r, out += w.codes.cols) {
    unpack_codes(w.codes, r, out);
    std::int64_t begin = 0;
    for (std::int64_t s = 0; s < w.groups; ++s) {
      const std::int64_t end = w.ends[s];
      const std::int64_t at = r * w.groups + s;
      if (w.levels != nullptr) {
        const float* levels = w.levels + at * table;
        for (std::int64_t c = begin; c < end; ++c) out[c] = levels[static_cast<int>(out[c])];
      } else {
        apply_grid(out + begin, end - begin, w.scale[at], w.zero[at]);
      }
      begin = end;
    }
  }
}
