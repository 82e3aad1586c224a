#include "quant/svid.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <fmt/format.h>
#include <string>
#include <torch/types.h>

#include "base/check.h"
#include "base/error.h"

namespace onebit::quant {
namespace {

// The error is stationary at the optimum, so it is exact to the square of this step's size: 1e-9
// leaves it right to about 1e-16. Ten to twenty iterations reach it on trained weights.
constexpr double kTolerance = 1e-9;
constexpr int kMaxIterations = 1000;

// Rows per task: large enough to amortise the hand-over, small enough to share out evenly.
constexpr std::int64_t kRowGrain = 16;

using Vector = std::vector<double>;

double norm2(const Vector& v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return sum;
}

void scale(Vector& v, double factor) {
  for (double& x : v) x *= factor;
}

/// |W| as an operator: products in f32 (exact: a f32 read), sums in f64.
class AbsMatrix {
 public:
  AbsMatrix(std::span<const float> w, std::int64_t out, std::int64_t in, ThreadPool& pool)
      : w_(w),
        out_(out),
        in_(in),
        pool_(pool),
        partial_(static_cast<std::size_t>(pool.threads())) {}

  /// u = |W| v
  void times(const Vector& v, Vector& u) const {
    pool_.parallel_for(out_, kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        const float* row = w_.data() + r * in_;
        std::array<double, 8> sum{};  // independent chains, so that the adds overlap
        std::int64_t c = 0;
        for (; c + 8 <= in_; c += 8) {
          for (std::int64_t k = 0; k < 8; ++k) {
            sum[static_cast<std::size_t>(k)] +=
                static_cast<double>(std::fabs(row[c + k])) * v[static_cast<std::size_t>(c + k)];
          }
        }
        for (; c < in_; ++c) {
          sum[0] += static_cast<double>(std::fabs(row[c])) * v[static_cast<std::size_t>(c)];
        }
        u[static_cast<std::size_t>(r)] =
            ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
      }
    });
  }

  /// v = |W|ᵀ u
  void transposed_times(const Vector& u, Vector& v) {
    // Which rows a worker takes depends on the team's size, and with it the order of the sums: the
    // result is reproducible for a given number of threads, and equal to rounding for others.
    for (Vector& part : partial_) part.assign(static_cast<std::size_t>(in_), 0.0);
    pool_.parallel_for(out_, kRowGrain, [&](std::int64_t begin, std::int64_t end, int worker) {
      double* sum = partial_[static_cast<std::size_t>(worker)].data();
      for (std::int64_t r = begin; r < end; ++r) {
        const float* row = w_.data() + r * in_;
        const double factor = u[static_cast<std::size_t>(r)];
        for (std::int64_t c = 0; c < in_; ++c) {
          sum[c] += factor * static_cast<double>(std::fabs(row[c]));
        }
      }
    });
    std::fill(v.begin(), v.end(), 0.0);
    for (const Vector& part : partial_) {
      for (std::size_t c = 0; c < v.size(); ++c) v[c] += part[c];
    }
  }

 private:
  std::span<const float> w_;
  std::int64_t out_;
  std::int64_t in_;
  ThreadPool& pool_;
  std::vector<Vector> partial_;
};

/// Rank-1 NMF: h = A g / ‖g‖², g = Aᵀ h / ‖h‖² in turn. Non-negative by itself, as A is.
int alternate(AbsMatrix& a, Vector& h, Vector& g) {
  std::fill(g.begin(), g.end(), 1.0);
  Vector previous = g;
  for (int iteration = 1; iteration <= kMaxIterations; ++iteration) {
    a.times(g, h);
    scale(h, 1.0 / norm2(g));
    a.transposed_times(h, g);
    scale(g, 1.0 / norm2(h));
    double change = 0;
    for (std::size_t c = 0; c < g.size(); ++c) {
      change += (g[c] - previous[c]) * (g[c] - previous[c]);
    }
    if (change <= kTolerance * kTolerance * norm2(g)) return iteration;
    previous = g;
  }
  return kMaxIterations;
}

/// Unit eigenvector of the largest eigenvalue of a symmetric tridiagonal matrix whose off-diagonal
/// is positive; its components then have one sign, which is made +.
Vector leading_tridiagonal_vector(const Vector& diagonal, const Vector& off) {
  const auto k = static_cast<std::int64_t>(diagonal.size());
  torch::Tensor matrix = torch::zeros({k, k}, torch::kFloat64);
  auto entry = matrix.accessor<double, 2>();
  for (std::int64_t i = 0; i < k; ++i) {
    entry[i][i] = diagonal[static_cast<std::size_t>(i)];
    if (i > 0) entry[i][i - 1] = off[static_cast<std::size_t>(i - 1)];  // eigh reads the lower half
  }
  const torch::Tensor vectors = std::get<1>(torch::linalg_eigh(matrix)).contiguous();
  const torch::Tensor leading = vectors.select(1, k - 1).abs().contiguous();
  return {leading.data_ptr<double>(), leading.data_ptr<double>() + k};
}

/// Leading singular triplet by Golub–Kahan–Lanczos with full reorthogonalisation.
int lanczos(AbsMatrix& a, Vector& h, Vector& g) {
  constexpr std::size_t kMaxSteps = 64;
  std::vector<Vector> right;  // v_1, v_2, …
  std::vector<Vector> left;   // u_1, u_2, …
  Vector alpha;
  Vector beta;
  Vector v(g.size(), 1.0 / std::sqrt(static_cast<double>(g.size())));
  double sigma = 0;
  Vector weights;
  while (right.size() < kMaxSteps) {
    right.push_back(v);
    Vector u(h.size());
    a.times(v, u);
    if (!left.empty()) {
      for (std::size_t r = 0; r < u.size(); ++r) u[r] -= beta.back() * left.back()[r];
    }
    for (const Vector& q : left) {
      double projection = 0;
      for (std::size_t r = 0; r < u.size(); ++r) projection += q[r] * u[r];
      for (std::size_t r = 0; r < u.size(); ++r) u[r] -= projection * q[r];
    }
    alpha.push_back(std::sqrt(norm2(u)));
    if (alpha.back() > 0) scale(u, 1.0 / alpha.back());
    left.push_back(u);
    a.transposed_times(u, v);
    for (const Vector& q : right) {
      double projection = 0;
      for (std::size_t c = 0; c < v.size(); ++c) projection += q[c] * v[c];
      for (std::size_t c = 0; c < v.size(); ++c) v[c] -= projection * q[c];
    }
    beta.push_back(std::sqrt(norm2(v)));

    // BᵀB of the upper bidiagonal B (alpha on, beta above the diagonal) is tridiagonal.
    const std::size_t k = alpha.size();
    Vector diagonal(k);
    Vector off(k > 1 ? k - 1 : 0);
    for (std::size_t i = 0; i < k; ++i) {
      diagonal[i] = alpha[i] * alpha[i] + (i > 0 ? beta[i - 1] * beta[i - 1] : 0);
      if (i + 1 < k) off[i] = alpha[i] * beta[i];
    }
    weights = leading_tridiagonal_vector(diagonal, off);
    const double residual = beta.back() * std::fabs(weights.back());
    sigma = std::max(sigma, alpha[0]);
    if (residual <= kTolerance * sigma || beta.back() == 0) break;
    scale(v, 1.0 / beta.back());
  }
  std::fill(g.begin(), g.end(), 0.0);
  for (std::size_t i = 0; i < right.size(); ++i) {
    for (std::size_t c = 0; c < g.size(); ++c) g[c] += weights[i] * right[i][c];
  }
  for (double& x : g) x = std::max(x, 0.0);  // Perron: non-negative but for rounding
  scale(g, 1.0 / std::sqrt(norm2(g)));
  a.times(g, h);
  return static_cast<int>(right.size());
}

void apply_split(Split split, Vector& h, Vector& g) {
  const double norm_h = std::sqrt(norm2(h));
  const double norm_g = std::sqrt(norm2(g));
  if (norm_h == 0 || norm_g == 0) return;
  const double root_out = std::sqrt(static_cast<double>(h.size()));
  const double root_in = std::sqrt(static_cast<double>(g.size()));
  double target_h = 0;
  switch (split) {
    case Split::kBalanced:
      target_h = std::sqrt(norm_h * norm_g);
      break;
    case Split::kRms:
      target_h = std::sqrt(norm_h * norm_g * root_out / root_in);
      break;
    case Split::kIn:
      target_h = root_out;
      break;
    case Split::kOut:
      target_h = norm_h * norm_g / root_in;
      break;
  }
  scale(g, norm_h / target_h);
  scale(h, target_h / norm_h);
}

}  // namespace

SvidResult svid(std::span<const float> w, std::int64_t out, std::int64_t in,
                const SvidOptions& options, ThreadPool& pool) {
  ONEBIT_CHECK(out > 0 && in > 0 && w.size() == static_cast<std::size_t>(out * in));
  double square = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    square += static_cast<double>(w[i]) * static_cast<double>(w[i]);
    if (!std::isfinite(w[i])) {
      throw Error(
          ErrorCode::kNumeric,
          fmt::format("weight [{}, {}]: found {}, expected a finite number",
                      static_cast<std::int64_t>(i) / in, static_cast<std::int64_t>(i) % in, w[i]));
    }
  }

  Vector h(static_cast<std::size_t>(out), 1.0);
  Vector g(static_cast<std::size_t>(in), 1.0);
  SvidResult result;
  result.square_norm = square;
  if (square == 0) {
    std::fill(h.begin(), h.end(), 0.0);
  } else if (options.init != Init::kCopy) {
    AbsMatrix a(w, out, in, pool);
    result.iterations = options.init == Init::kNmf ? alternate(a, h, g) : lanczos(a, h, g);
    apply_split(options.split, h, g);
  }
  result.h.assign(h.begin(), h.end());
  result.g.assign(g.begin(), g.end());

  if (square > 0) {
    double error = 0;
    for (std::int64_t r = 0; r < out; ++r) {
      const double row_scale = result.h[static_cast<std::size_t>(r)];
      for (std::int64_t c = 0; c < in; ++c) {
        const double difference =
            std::fabs(static_cast<double>(w[static_cast<std::size_t>(r * in + c)])) -
            row_scale * result.g[static_cast<std::size_t>(c)];
        error += difference * difference;
      }
    }
    result.relative_error = error / square;
  }
  return result;
}

}  // namespace onebit::quant
