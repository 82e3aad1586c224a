// codes_inl.h's functions for AVX-512 with VBMI: 64 codes at a time, looked up in registers.

/// 64 codes of `bits` bits as bytes, from the 8·bits bytes that hold them.
ONEBIT_INLINE __m512i code_bytes(__m512i packed, int bits) {
  // Byte j of qword i: first all of the qword's eight codes, then code j of them.
  const __m512i at = _mm512_set1_epi64(0x0706050403020100);
  const __m512i qword = _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0),
                                           _mm512_set1_epi64(0x0101010101010101 * bits));
  const __m512i shifts = _mm512_set1_epi64(0x0706050403020100 * bits);
  const __m512i qwords = _mm512_permutexvar_epi8(_mm512_add_epi8(qword, at), packed);
  return _mm512_and_si512(_mm512_multishift_epi64_epi8(shifts, qwords),
                          _mm512_set1_epi8(static_cast<char>((1 << bits) - 1)));
}

ONEBIT_INLINE void unpack_codes(const formats::CodesView& codes, std::int64_t r, float* out) {
  constexpr std::int64_t kCodes = 64;
  const std::byte* row = codes.row(r);
  const std::byte* end = row + codes.row_bytes();
  const std::int64_t bytes = kCodes / 8 * codes.bits;
  for (std::int64_t c = 0; c < codes.cols; c += kCodes, row += bytes) {
    const std::int64_t there = end - row < bytes ? end - row : bytes;
    const __mmask64 mask = _cvtu64_mask64(~std::uint64_t{0} >> (kCodes - there));
    alignas(64) std::uint8_t found[kCodes];
    _mm512_store_si512(found, code_bytes(_mm512_maskz_loadu_epi8(mask, row), codes.bits));
    const std::int64_t count = codes.cols - c < kCodes ? codes.cols - c : kCodes;
    for (std::int64_t i = 0; i < count; i += kLanes) {
      const __m128i bytes16 = _mm_load_si128(reinterpret_cast<const __m128i*>(found + i));
      const V values = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(bytes16));
      if (count - i >= kLanes) {
        store(out + c + i, values);
      } else {
        store_part(out + c + i, values, count - i);
      }
    }
  }
}

ONEBIT_INLINE V look_up(V levels, V codes) {
  return _mm512_permutexvar_ps(_mm512_cvttps_epi32(codes), levels);
}

/// Tables of up to 32 levels lie in two registers.
ONEBIT_INLINE void look_up(float* w, std::int64_t n, const float* levels, int bits) {
  constexpr int kRegisterBits = 5;
  const std::int64_t table = std::int64_t{1} << bits;
  V low = zero();
  V high = zero();
  if (bits <= kRegisterBits) {
    low = load_part(levels, table < kLanes ? table : kLanes);
    if (table > kLanes) high = load(levels + kLanes);
  }
  for (std::int64_t i = 0; i < n; i += kLanes) {
    const std::int64_t count = n - i < kLanes ? n - i : kLanes;
    const __m512i codes = _mm512_cvttps_epi32(load_part(w + i, count));
    const V found = bits <= kRegisterBits
                        ? _mm512_permutex2var_ps(low, codes, high)
                        : _mm512_mask_i32gather_ps(low, first(count), codes, levels, sizeof(float));
    store_part(w + i, found, count);
  }
}

// ---- codes_gemv_inl.h's ----

using Codes = __m512i;
constexpr int kTableBits = 4;

class NarrowCodes {
 public:
  static constexpr std::int64_t kBytes = 8;

  /// Bytes 0 and 4 of qword i: from bits 2i·bits and (2i + 1)·bits on.
  ONEBIT_INLINE explicit NarrowCodes(int bits)
      : shifts_(_mm512_add_epi64(
            _mm512_mullo_epi64(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0),
                               _mm512_set1_epi64(0x0000000200000002 * std::int64_t{bits})),
            _mm512_set1_epi64(std::int64_t{bits} << 32))) {}

  ONEBIT_INLINE Codes at(const std::byte* p) const {
    std::int64_t qword;
    __builtin_memcpy(&qword, p, sizeof(qword));
    return _mm512_multishift_epi64_epi8(shifts_, _mm512_set1_epi64(qword));
  }

 private:
  __m512i shifts_;
};

ONEBIT_INLINE Codes first_codes() {
  return _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
}
ONEBIT_INLINE Codes low_bits(Codes codes, int bits) {
  return _mm512_and_si512(codes, _mm512_set1_epi32((1 << bits) - 1));
}

class WideCodes {
 public:
  static constexpr std::int64_t kBytes = 16;

  /// Of each code the two bytes that it lies in, and where in them.
  ONEBIT_INLINE explicit WideCodes(int bits) : bits_(bits) {
    const __m512i begin = _mm512_mullo_epi32(first_codes(), _mm512_set1_epi32(bits));
    const __m512i byte = _mm512_srli_epi32(begin, 3);
    bytes_ =
        _mm512_add_epi32(byte, _mm512_slli_epi32(_mm512_add_epi32(byte, _mm512_set1_epi32(1)), 8));
    shifts_ = low_bits(begin, 3);
  }

  ONEBIT_INLINE Codes at(const std::byte* p) const {
    const __m512i all =
        _mm512_broadcast_i32x4(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
    return low_bits(_mm512_srlv_epi32(_mm512_shuffle_epi8(all, bytes_), shifts_), bits_);
  }

 private:
  int bits_;
  __m512i bytes_;
  __m512i shifts_;
};

ONEBIT_INLINE V look_up(V table, Codes codes) { return _mm512_permutexvar_ps(codes, table); }
ONEBIT_INLINE V gather(const float* levels, Codes codes) {
  return _mm512_i32gather_ps(codes, levels, sizeof(float));
}
ONEBIT_INLINE V code_values(Codes codes) { return _mm512_cvtepi32_ps(codes); }
ONEBIT_INLINE V from_lane(V a, V b, std::int64_t n) { return _mm512_mask_mov_ps(b, first(n), a); }
ONEBIT_INLINE V first_lanes(V v, std::int64_t n) { return _mm512_maskz_mov_ps(first(n), v); }
