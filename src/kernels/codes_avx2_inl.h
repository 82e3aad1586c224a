// The functions of codes_words_inl.h, codes_inl.h and codes_gemv_inl.h for vectors of 256 bits.

ONEBIT_INLINE V look_up(V levels, V codes) {
  return _mm256_permutevar8x32_ps(levels, _mm256_cvttps_epi32(codes));
}

// ---- codes_gemv_inl.h's ----

using Codes = __m256i;
constexpr int kTableBits = 3;

ONEBIT_INLINE Codes first_codes() { return _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7); }
ONEBIT_INLINE Codes low_bits(Codes codes, int bits) {
  return _mm256_and_si256(codes, _mm256_set1_epi32((1 << bits) - 1));
}

class NarrowCodes {
 public:
  static constexpr std::int64_t kBytes = 8;

  /// Of each code the two bytes that it lies in, and where in them.
  ONEBIT_INLINE explicit NarrowCodes(int bits) {
    const __m256i begin = _mm256_mullo_epi32(first_codes(), _mm256_set1_epi32(bits));
    const __m256i byte = _mm256_srli_epi32(begin, 3);
    bytes_ =
        _mm256_add_epi32(byte, _mm256_slli_epi32(_mm256_add_epi32(byte, _mm256_set1_epi32(1)), 8));
    shifts_ = low_bits(begin, 3);
  }

  ONEBIT_INLINE Codes at(const std::byte* p) const {
    const __m256i all =
        _mm256_broadcastq_epi64(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
    return _mm256_srlv_epi32(_mm256_shuffle_epi8(all, bytes_), shifts_);
  }

 private:
  __m256i bytes_;
  __m256i shifts_;
};

class WideCodes {
 public:
  static constexpr std::int64_t kBytes = NarrowCodes::kBytes;

  ONEBIT_INLINE explicit WideCodes(int bits) : bits_(bits), all_(bits) {}

  ONEBIT_INLINE Codes at(const std::byte* p) const { return low_bits(all_.at(p), bits_); }

 private:
  int bits_;
  NarrowCodes all_;
};

ONEBIT_INLINE V look_up(V table, Codes codes) { return _mm256_permutevar8x32_ps(table, codes); }
ONEBIT_INLINE V gather(const float* levels, Codes codes) {
  return _mm256_i32gather_ps(levels, codes, sizeof(float));
}
ONEBIT_INLINE V code_values(Codes codes) { return _mm256_cvtepi32_ps(codes); }
ONEBIT_INLINE V from_lane(V a, V b, std::int64_t n) {
  return _mm256_blendv_ps(b, a, _mm256_castsi256_ps(first(n)));
}
ONEBIT_INLINE V first_lanes(V v, std::int64_t n) {
  return _mm256_and_ps(v, _mm256_castsi256_ps(first(n)));
}

// ---- codes_words_inl.h's ----

ONEBIT_INLINE void store_codes(std::uint64_t word, int bits, float* out) {
  store(out, code_values(WideCodes(bits).at(reinterpret_cast<const std::byte*>(&word))));
}
