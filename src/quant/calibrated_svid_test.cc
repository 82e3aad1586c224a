#include "quant/calibrated_svid.h"

#include <gtest/gtest.h>

#include "base/error.h"

namespace onebit::quant {
namespace {

struct Problem {
  torch::Tensor w;
  torch::Tensor hessian;
};

/// Weights and strongly correlated inputs, as activations are.
Problem make_problem(std::int64_t out, std::int64_t in, std::uint64_t seed) {
  torch::manual_seed(seed);
  const torch::Tensor mix = torch::randn({in, in}) / std::sqrt(static_cast<double>(in));
  const torch::Tensor x = torch::matmul(torch::randn({4 * in, in}), mix) + 0.5 * torch::randn({in});
  return {torch::randn({out, in}), torch::matmul(x.t(), x)};
}

double error_of(const Problem& p, const CalibratedResult& r) {
  const torch::Tensor s = torch::where(r.latent < 0, -1.0, 1.0);
  const torch::Tensor d = (p.w - s * torch::outer(r.h, r.g)).to(torch::kFloat64);
  const torch::Tensor h = p.hessian.to(torch::kFloat64);
  const torch::Tensor w = p.w.to(torch::kFloat64);
  return (torch::matmul(d, h) * d).sum().item<double>() /
         (torch::matmul(w, h) * w).sum().item<double>();
}

TEST(CalibratedSvid, LowersTheOutputErrorAtEverySize) {
  ThreadPool pool(1);
  for (const auto& [out, in] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {1, 1}, {3, 5}, {8, 63}, {16, 64}, {16, 65}, {48, 130}}) {
    const Problem p = make_problem(out, in, static_cast<std::uint64_t>(in));
    CalibratedOptions options;
    options.feedback = false;
    const CalibratedResult scales = calibrated_svid(p.w, p.hessian, options, pool);
    options.feedback = true;
    const CalibratedResult both = calibrated_svid(p.w, p.hessian, options, pool);
    // The ridge on g costs up to its square where the fit is exact.
    EXPECT_LE(scales.output_error, scales.start_output_error * 1.0001 + 1e-5) << out << "x" << in;
    EXPECT_NEAR(error_of(p, both), both.output_error, 1e-4 * both.output_error + 1e-6);
    EXPECT_GE(both.g.min().item<float>(), 0.0F);
    EXPECT_GE(both.h.min().item<float>(), 0.0F);
    if (in >= 63) {  // with many inputs the feedback has room to work
      EXPECT_LT(both.output_error, 0.8 * scales.output_error) << out << "x" << in;
    }
  }
}

TEST(CalibratedSvid, RefittedScalesAreAMinimum) {
  ThreadPool pool(1);
  const Problem p = make_problem(6, 20, 3);
  CalibratedOptions options;
  options.refits = 200;
  CalibratedResult r = calibrated_svid(p.w, p.hessian, options, pool);
  const double best = error_of(p, r);
  for (torch::Tensor* scale : {&r.g, &r.h}) {
    for (std::int64_t i = 0; i < scale->numel(); ++i) {
      for (const double factor : {0.98, 1.02}) {
        const torch::Tensor kept = scale->clone();
        (*scale)[i] *= factor;
        EXPECT_GT(error_of(p, r), best * 0.9999);
        *scale = kept;
      }
    }
  }
}

TEST(CalibratedSvid, DeadInputsAndZeroRowsStayFinite) {
  ThreadPool pool(1);
  Problem p = make_problem(5, 12, 8);
  p.hessian.select(0, 4).zero_();
  p.hessian.select(1, 4).zero_();
  p.w.select(0, 2).zero_();
  const CalibratedResult r = calibrated_svid(p.w.contiguous(), p.hessian, {}, pool);
  EXPECT_TRUE(torch::isfinite(r.g).all().item<bool>());
  EXPECT_TRUE(torch::isfinite(r.h).all().item<bool>());
  EXPECT_TRUE(torch::isfinite(r.latent).all().item<bool>());
  EXPECT_LT(r.output_error, 1.0);
}

TEST(CalibratedSvid, IndefiniteMomentsAreAnError) {
  ThreadPool pool(1);
  Problem p = make_problem(4, 8, 2);
  p.hessian[3][3] = -1e6;
  EXPECT_THROW(calibrated_svid(p.w, p.hessian, {}, pool), Error);
}

}  // namespace
}  // namespace onebit::quant
