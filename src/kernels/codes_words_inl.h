// codes_inl.h's functions for sets that take eight codes at a time out of a word. Needs
//
//   store_codes(word, bits, out)   out[i] = bits i·bits … (i + 1)·bits - 1 of the word, i < 8

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

/// Tables of other than four levels, in memory.
ONEBIT_INLINE void look_up(float* w, std::int64_t n, const float* levels, int) {
  for (std::int64_t i = 0; i < n; ++i) w[i] = levels[static_cast<int>(w[i])];
}
