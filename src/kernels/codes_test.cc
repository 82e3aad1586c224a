// Decoding of integer codes on every instruction set, and their products with one token: bit for
// bit what the definitions in kernels.h give.
#include <cmath>
#include <gtest/gtest.h>
#include <span>
#include <string>
#include <vector>

#include "base/rng.h"
#include "kernels/kernels.h"
#include "kernels/test_data.h"

namespace onebit::kernels {
namespace {

/// Of all sets, or of those that multiply one token by codes.
std::vector<std::string> isa_names(bool with_gemv) {
  std::vector<std::string> names;
  for (const KernelSet* set : available_kernels()) {
    if (!with_gemv || set->gemv_codes != nullptr) names.emplace_back(set->name);
  }
  return names;
}

class CodesTest : public ::testing::TestWithParam<std::string> {
 protected:
  const KernelSet& k() const { return kernels_by_name(GetParam()); }
};
class DecodeCodes : public CodesTest {};
INSTANTIATE_TEST_SUITE_P(Isa, DecodeCodes, ::testing::ValuesIn(isa_names(false)),
                         [](const auto& isa) { return isa.param; });
class GemvCodes : public CodesTest {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(GemvCodes);  // where no set has it
INSTANTIATE_TEST_SUITE_P(Isa, GemvCodes, ::testing::ValuesIn(isa_names(true)),
                         [](const auto& isa) { return isa.param; });

struct Matrix {
  Matrix(std::int64_t rows, std::vector<std::int32_t> group_ends, int bits, std::uint64_t seed)
      : ends(std::move(group_ends)) {
    Rng rng(seed);
    const std::int64_t cols = ends.back();
    const std::int64_t row_bytes = formats::codes_row_bytes(cols, bits);
    codes.resize(size(rows * cols));
    bytes.resize(size(rows * row_bytes));
    for (std::uint8_t& code : codes) {
      code = static_cast<std::uint8_t>(rng.below(std::uint64_t{1} << bits));
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      formats::codes_pack_row(std::span(codes).subspan(size(r * cols), size(cols)), bits,
                              std::span(bytes).subspan(size(r * row_bytes), size(row_bytes)));
    }
    const std::int64_t groups = std::ssize(ends);
    for (std::int64_t i = 0; i < rows * groups; ++i) {
      scale.push_back(static_cast<float>(rng.uniform()));
      zero.push_back(static_cast<float>(rng.below(300)) / 2 - 20);
    }
    for (std::int64_t i = 0; i < rows * groups << bits; ++i) {
      levels.push_back(static_cast<float>(rng.uniform() - 0.5));
    }
    for (std::int64_t i = 0; i < groups * 8; ++i) {
      signs.push_back(static_cast<float>(rng.below(3)) - 1);
    }
    for (std::int64_t i = 0; i < rows * groups * 2; ++i) {
      row_scale.push_back(static_cast<float>(rng.uniform()));
    }
    for (std::int64_t i = 0; i < cols * 2; ++i) {
      col_scale.push_back(static_cast<float>(rng.uniform()));
    }
    products = {signs.data(), row_scale.data(), col_scale.data()};
    view = {
        {bytes.data(), rows, cols, bits}, ends.data(), groups, scale.data(), zero.data(), nullptr};
  }

  float expected(std::int64_t r, std::int64_t c) const {
    std::int64_t group = 0;
    while (c >= ends[size(group)]) ++group;
    const std::size_t at = size(r * view.groups + group);
    const std::uint8_t code = codes[size(r * view.codes.cols + c)];
    if (view.products != nullptr) {
      const float first = signs[size(8 * group + code)] * row_scale[2 * at];
      const float second = signs[size(8 * group + 4 + code)] * row_scale[2 * at + 1];
      return std::fma(second, col_scale[size(view.codes.cols + c)], first * col_scale[size(c)]);
    }
    if (view.levels != nullptr) return levels[(at << view.codes.bits) + code];
    const float difference = static_cast<float>(code) - zero[at];
    return difference * scale[at];
  }

  std::vector<std::int32_t> ends;
  std::vector<std::uint8_t> codes;
  std::vector<std::byte> bytes;  ///< no byte more than the codes: sanitizers see what is read
  std::vector<float> scale;
  std::vector<float> zero;
  std::vector<float> levels;
  std::vector<float> signs;
  std::vector<float> row_scale;
  std::vector<float> col_scale;
  CodedProducts products = {};
  CodedRows view = {};
};

enum class Kind { kGrid, kLevels, kProducts };

/// check(matrix, what) of all widths, kinds and ways to group columns.
template <class Check>
void for_every_matrix(std::int64_t rows, const Check& check) {
  const std::vector<std::vector<std::int32_t>> groupings = {{1},
                                                            {7},
                                                            {8},
                                                            {9},
                                                            {64},
                                                            {16, 32, 36},
                                                            {5, 6, 19, 67},
                                                            {60, 121},
                                                            {128, 256, 384, 512, 576},
                                                            {1000, 1001, 1700}};
  for (int bits = 1; bits <= formats::kMaxCodeBits; ++bits) {
    for (const auto& ends : groupings) {
      Matrix matrix(rows, ends, bits, 1);
      for (const Kind kind : {Kind::kGrid, Kind::kLevels, Kind::kProducts}) {
        if (kind == Kind::kProducts && bits != 2) continue;
        matrix.view.levels = kind == Kind::kLevels ? matrix.levels.data() : nullptr;
        matrix.view.products = kind == Kind::kProducts ? &matrix.products : nullptr;
        check(matrix, std::to_string(bits) + " bits, " + std::to_string(ends.back()) +
                          " columns, kind " + std::to_string(static_cast<int>(kind)));
      }
    }
  }
}

TEST_P(DecodeCodes, EveryWidthAndGrouping) {
  for_every_matrix(5, [&](const Matrix& matrix, const std::string& what) {
    const std::int64_t cols = matrix.view.codes.cols;
    for (const auto& [begin, end] : {std::pair(0, 5), std::pair(2, 3), std::pair(4, 4)}) {
      std::vector<float> out(size((end - begin) * cols + kDecodeRoom), -77.25F);
      k().decode_codes(matrix.view, out.data(), begin, end);
      for (std::int64_t i = 0; i < (end - begin) * cols; ++i) {
        ASSERT_EQ(out[size(i)], matrix.expected(begin + i / cols, i % cols))
            << what << ", element " << i;
      }
    }
  });
}

TEST_P(GemvCodes, AreThoseOfDecodedRows) {
  constexpr std::int64_t kRows = 11;
  Rng rng(2);
  for_every_matrix(kRows, [&](const Matrix& matrix, const std::string& what) {
    const std::int64_t cols = matrix.view.codes.cols;
    std::vector<float> x;
    for (std::int64_t c = 0; c < cols; ++c) x.push_back(static_cast<float>(rng.uniform() - 0.5));
    std::vector<float> decoded(size(kRows * cols + kDecodeRoom));
    k().decode_codes(matrix.view, decoded.data(), 0, kRows);
    std::vector<float> want(size(kRows));
    k().gemm_f32(decoded.data(), cols, x.data(), 1, want.data(), kRows, 0, kRows);
    for (const auto& [begin, end] : {std::pair(0, 11), std::pair(2, 9), std::pair(10, 11)}) {
      std::vector<float> y(size(kRows), -77.25F);
      k().gemv_codes(matrix.view, x.data(), y.data(), begin, end);
      for (std::int64_t r = 0; r < kRows; ++r) {
        ASSERT_EQ(y[size(r)], r < begin || r >= end ? -77.25F : want[size(r)])
            << what << ", rows from " << begin << ", row " << r;
      }
    }
  });
}

}  // namespace
}  // namespace onebit::kernels
