// Integer codes decoded to weights, for one instruction set. Included as rows_inl.h is, and after
// it; beside that header's vector functions it needs
//
//   unpack_codes(codes, r, out)        row r's codes as floats; `out` has room for eight more than
//                                      there are columns
//   look_up(w, n, levels, bits)        w[i] = levels[w[i]] in place, n codes of so many bits
//   look_up(levels, codes)             lane i: lane codes[i] of levels, which are four; codes are
//                                      floats

/// Of one group: n codes as floats to weights, in place.
ONEBIT_INLINE void apply_grid(float* w, std::int64_t n, float scale, float zero_point) {
  const V scales = set1(scale);
  const V zeros = set1(zero_point);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(w + i, mul(sub(load(w + i), zeros), scales));
  if (i < n) store_part(w + i, mul(sub(load_part(w + i, n - i), zeros), scales), n - i);
}

ONEBIT_INLINE V sum_of_products(V codes, V levels0, V scale0, V levels1, V scale1) {
  return fma(look_up(levels1, codes), scale1, mul(look_up(levels0, codes), scale0));
}

/// Of one row and group: n codes of two bits as floats to weights, in place; the scales are those
/// of the columns, of either product.
ONEBIT_INLINE void apply_products(float* w, std::int64_t n, const float* signs,
                                  const float* row_scale, const float* scale0,
                                  const float* scale1) {
  const V levels0 = mul(load_part(signs, 4), set1(row_scale[0]));
  const V levels1 = mul(load_part(signs + 4, 4), set1(row_scale[1]));
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    store(w + i,
          sum_of_products(load(w + i), levels0, load(scale0 + i), levels1, load(scale1 + i)));
  }
  if (i < n) {
    const std::int64_t rest = n - i;
    store_part(w + i,
               sum_of_products(load_part(w + i, rest), levels0, load_part(scale0 + i, rest),
                               levels1, load_part(scale1 + i, rest)),
               rest);
  }
}

/// Likewise by the row's levels, four of them.
ONEBIT_INLINE void look_up_four(float* w, std::int64_t n, const float* levels) {
  const V table = load_part(levels, 4);
  std::int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store(w + i, look_up(table, load(w + i)));
  if (i < n) store_part(w + i, look_up(table, load_part(w + i, n - i)), n - i);
}

void decode_codes(const CodedRows& w, float* out, std::int64_t row_begin,
                  std::int64_t row_end) noexcept {
  const std::int64_t cols = w.codes.cols;
  for (std::int64_t r = row_begin; r < row_end; ++r, out += cols) {
    unpack_codes(w.codes, r, out);
    std::int64_t begin = 0;
    for (std::int64_t s = 0; s < w.groups; ++s) {
      const std::int64_t n = w.ends[s] - begin;
      const std::int64_t at = r * w.groups + s;
      if (w.products != nullptr) {
        const CodedProducts& p = *w.products;
        apply_products(out + begin, n, p.signs + 8 * s, p.row_scale + 2 * at, p.col_scale + begin,
                       p.col_scale + cols + begin);
      } else if (w.levels == nullptr) {
        apply_grid(out + begin, n, w.scale[at], w.zero[at]);
      } else if (w.codes.bits == 2) {
        look_up_four(out + begin, n, w.levels + 4 * at);
      } else {
        look_up(out + begin, n, w.levels + (at << w.codes.bits), w.codes.bits);
      }
      begin = w.ends[s];
    }
  }
}
