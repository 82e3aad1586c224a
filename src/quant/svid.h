// Sign-value-independent decomposition: W ≈ S ⊙ (h gᵀ), S = sign(W), |W| ≈ h gᵀ at rank 1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
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

/// Matrices that share their input scale: |W_m[o, j]| ≈ h_m[o, b(j)] · g[t(j)].
struct SharedSvid {
  struct Part {
    std::span<const float> w;  ///< f32 [out, in] row-major
    std::int64_t out = 0;
    std::string name = {};  ///< for messages
  };
  std::vector<Part> parts;
  std::int64_t in = 0;
  /// t(j) of every input: inputs with one t share one value of g. Every value from 0 to the largest
  /// occurs equally often. Empty: t(j) = j.
  std::vector<std::int64_t> tie;
  std::int64_t group_size = 0;  ///< b(j) = j / group_size, the last group may be partial; 0: b = 0
};

struct SharedSvidResult {
  struct Part {
    std::vector<float> h;  ///< [out, groups]
    double relative_error = 0;
    double square_norm = 0;
  };
  std::vector<float> g;  ///< [largest t + 1]
  std::vector<Part> parts;
  int iterations = 0;
};

/// Minimises Σ_m ‖|W_m| − Ŵ_m‖². Without groups the stacked matrices, their tied columns averaged,
/// are one matrix whose best rank-1 fit this is: any Init finds it. With groups it is a local
/// optimum, reached by alternating least squares; Error{kUnsupported} for kSvd. A zero problem
/// gives g = 1, h = 0. Throws as svid(), naming the part.
SharedSvidResult svid_shared(const SharedSvid& problem, const SvidOptions& options,
                             ThreadPool& pool);

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
