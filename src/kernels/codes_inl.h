// Integer codes decoded to weights, for one instruction set. Included as rows_inl.h is, and after
// it; beside that header's vector functions it needs
//
//   unpack_codes(codes, r, out)        row r's codes as floats; `out` has room for eight more than
//                                      there are columns
//   look_up(w, n, levels, bits)        w[i] = levels[w[i]] in place, n codes of so many bits

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
        look_up(out + begin, end - begin, w.levels + at * table, w.codes.bits);
      } else {
        apply_grid(out + begin, end - begin, w.scale[at], w.zero[at]);
      }
      begin = end;
    }
  }
}
