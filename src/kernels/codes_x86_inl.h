// codes_inl.h's store_codes for the sets that have AVX2.

ONEBIT_INLINE void store_codes(std::uint64_t word, int bits, float* out) {
  const auto b = static_cast<std::int64_t>(bits);
  const __m256i all = _mm256_set1_epi64x(static_cast<std::int64_t>(word));
  const __m256i low = _mm256_srlv_epi64(all, _mm256_setr_epi64x(0, b, 2 * b, 3 * b));
  const __m256i high = _mm256_srlv_epi64(all, _mm256_setr_epi64x(4 * b, 5 * b, 6 * b, 7 * b));
  // The low halves of 0 1 4 5, 2 3 6 7, then in order.
  const __m256i mixed = _mm256_castps_si256(
      _mm256_shuffle_ps(_mm256_castsi256_ps(low), _mm256_castsi256_ps(high), 0x88));
  const __m256i codes =
      _mm256_and_si256(_mm256_permute4x64_epi64(mixed, 0xD8), _mm256_set1_epi32((1 << bits) - 1));
  _mm256_storeu_ps(out, _mm256_cvtepi32_ps(codes));
}
