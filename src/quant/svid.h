// Sign-value-independent decomposition: W ≈ S ⊙ (h gᵀ), S = sign(W), |W| ≈ h gᵀ at rank 1.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "base/words.h"

namespace onebit::quant {

/// How g and h start. At rank 1 the best non-negative and the best unconstrained approximation of
/// |W| are the same (Perron–Frobenius: the leading singular vectors of a non-negative matrix are
/// non-negative), so kNmf and kSvd reach the same product h gᵀ by different iterations.
enum class Init : std::uint8_t {
  kNmf,   ///< alternating non-negative least squares
  kSvd,   ///< leading singular triplet, by Golub-Kahan-Lanczos bidiagonalisation
  kCopy,  ///< g = h = 1
};

/// How the one free scale is shared between h and g (the product is the same). It matters to a
/// trainer that gives both the same rate.
enum class Split : std::uint8_t {
  kBalanced,  ///< ‖g‖ = ‖h‖
  kRms,       ///< equal root mean squares: near what the reference's randomly started NMF ends with
  kIn,        ///< all of it in g: mean square of h is 1
  kOut,       ///< all of it in h: mean square of g is 1
};

struct SvidOptions {
  Init init = Init::kNmf;
  Split split = Split::kRms;
};

struct SvidResult {
  std::vector<float> g;  ///< [in]
  std::vector<float> h;  ///< [out]
  double relative_error = 0;  ///< ‖W − S ⊙ h gᵀ‖² / ‖W‖², of g and h as returned; 0 when W = 0
  double square_norm = 0;  ///< ‖W‖²
  int iterations = 0;
};

/// W: f32 [out, in] row-major. A zero matrix gives g = 1, h = 0. Throws Error{kNumeric} when W
/// holds NaN or infinity, naming the element.
SvidResult svid(std::span<const float> w, std::int64_t out, std::int64_t in,
                const SvidOptions& options, ThreadPool& pool);

}  // namespace onebit::quant

namespace onebit {

template <>
struct Words<quant::Init> {
  static constexpr Word<quant::Init> kAll[] = {
      {quant::Init::kNmf, "nmf"}, {quant::Init::kSvd, "svd"}, {quant::Init::kCopy, "copy"}};
};

template <>
struct Words<quant::Split> {
  static constexpr Word<quant::Split> kAll[] = {{quant::Split::kRms, "rms"},
                                                {quant::Split::kBalanced, "balanced"},
                                                {quant::Split::kIn, "in"},
                                                {quant::Split::kOut, "out"}};
};

}  // namespace onebit
