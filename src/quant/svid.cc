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

/// The absolute values of all parts, one under the other, as an operator on g: products in f32
/// (exact: a f32 read), sums in f64. A tied column is the mean of the columns it stands for.
class AbsMatrix {
 public:
  AbsMatrix(const SharedSvid& problem, std::int64_t tied, ThreadPool& pool)
      : in_(problem.in),
        tie_(problem.tie),
        share_(static_cast<double>(tied) / static_cast<double>(problem.in)),
        pool_(pool),
        partial_(static_cast<std::size_t>(pool.threads())) {
    for (const SharedSvid::Part& part : problem.parts) {
      for (std::int64_t r = 0; r < part.out; ++r) rows_.push_back(part.w.data() + r * in_);
    }
  }

  std::int64_t rows() const { return std::ssize(rows_); }
  std::int64_t in() const { return in_; }
  const float* row(std::int64_t r) const { return rows_[static_cast<std::size_t>(r)]; }
  ThreadPool& pool() const { return pool_; }

  /// g of every input.
  Vector spread(const Vector& g) const {
    if (tie_.empty()) return g;
    Vector x(static_cast<std::size_t>(in_));
    for (std::size_t j = 0; j < x.size(); ++j) x[j] = g[static_cast<std::size_t>(tie_[j])];
    return x;
  }

  /// The sum over the inputs that share a value of g.
  void gather(const Vector& x, Vector& g) const {
    if (tie_.empty()) {
      g = x;
      return;
    }
    std::fill(g.begin(), g.end(), 0.0);
    for (std::size_t j = 0; j < x.size(); ++j) g[static_cast<std::size_t>(tie_[j])] += x[j];
  }

  /// u = A v
  void times(const Vector& v, Vector& u) const {
    const Vector x = spread(v);
    pool_.parallel_for(rows(), kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        u[static_cast<std::size_t>(r)] = share_ * dot(row(r), x.data(), in_);
      }
    });
  }

  /// v = Aᵀ u
  void transposed_times(const Vector& u, Vector& v) {
    gather(sum_rows([&](std::int64_t r, double* sum) {
             const float* row_r = row(r);
             const double factor = share_ * u[static_cast<std::size_t>(r)];
             for (std::int64_t c = 0; c < in_; ++c) {
               sum[c] += factor * static_cast<double>(std::fabs(row_r[c]));
             }
           }),
           v);
  }

  /// Σ over rows of what add(row, sum) adds to sum [in].
  template <class Add>
  Vector sum_rows(Add&& add) {
    // Which rows a part has depends on the team's size, and with it the order of the sums: the
    // result is reproducible for a given number of threads, and equal to rounding for others.
    for (Vector& part : partial_) part.assign(static_cast<std::size_t>(in_), 0.0);
    pool_.parallel_for(rows(), kRowGrain, [&](std::int64_t begin, std::int64_t end, int part) {
      double* sum = partial_[static_cast<std::size_t>(part)].data();
      for (std::int64_t r = begin; r < end; ++r) add(r, sum);
    });
    Vector total(static_cast<std::size_t>(in_), 0.0);
    for (const Vector& part : partial_) {
      for (std::size_t c = 0; c < total.size(); ++c) total[c] += part[c];
    }
    return total;
  }

  /// Σ |w_c| x_c
  static double dot(const float* w, const double* x, std::int64_t count) {
    std::array<double, 8> sum{};  // independent chains, so that the adds overlap
    std::int64_t c = 0;
    for (; c + 8 <= count; c += 8) {
      for (std::int64_t k = 0; k < 8; ++k) {
        sum[static_cast<std::size_t>(k)] += static_cast<double>(std::fabs(w[c + k])) * x[c + k];
      }
    }
    for (; c < count; ++c) sum[0] += static_cast<double>(std::fabs(w[c])) * x[c];
    return ((sum[0] + sum[1]) + (sum[2] + sum[3])) + ((sum[4] + sum[5]) + (sum[6] + sum[7]));
  }

 private:
  std::vector<const float*> rows_;
  std::int64_t in_;
  const std::vector<std::int64_t>& tie_;
  double share_;  ///< 1 / the inputs that share a value of g
  ThreadPool& pool_;
  std::vector<Vector> partial_;
};

/// Whether g has come to rest since `previous`, which becomes g.
bool settled(const Vector& g, Vector& previous) {
  double change = 0;
  for (std::size_t c = 0; c < g.size(); ++c) {
    change += (g[c] - previous[c]) * (g[c] - previous[c]);
  }
  previous = g;
  return change <= kTolerance * kTolerance * norm2(g);
}

/// Rank-1 NMF: h = A g / ‖g‖², g = Aᵀ h / ‖h‖² in turn. Non-negative by itself, as A is.
int alternate(AbsMatrix& a, Vector& h, Vector& g) {
  std::fill(g.begin(), g.end(), 1.0);
  Vector previous = g;
  for (int iteration = 1; iteration <= kMaxIterations; ++iteration) {
    a.times(g, h);
    scale(h, 1.0 / norm2(g));
    a.transposed_times(h, g);
    scale(g, 1.0 / norm2(h));
    if (settled(g, previous)) return iteration;
  }
  return kMaxIterations;
}

/// With an own h for every group of inputs, [rows, groups]: least squares for h and g in turn.
int alternate_groups(AbsMatrix& a, std::int64_t group, Vector& h, Vector& g) {
  const std::int64_t in = a.in();
  const std::int64_t groups = (in + group - 1) / group;
  std::fill(g.begin(), g.end(), 1.0);
  Vector previous = g;
  Vector below(g.size());
  for (int iteration = 1; iteration <= kMaxIterations; ++iteration) {
    const Vector x = a.spread(g);
    Vector square(static_cast<std::size_t>(groups), 0.0);
    for (std::int64_t c = 0; c < in; ++c) {
      const double v = x[static_cast<std::size_t>(c)];
      square[static_cast<std::size_t>(c / group)] += v * v;
    }
    a.pool().parallel_for(a.rows(), kRowGrain, [&](std::int64_t begin, std::int64_t end, int) {
      for (std::int64_t r = begin; r < end; ++r) {
        for (std::int64_t b = 0; b < groups; ++b) {
          const std::int64_t first = b * group;
          const double norm = square[static_cast<std::size_t>(b)];
          const double sum =
              AbsMatrix::dot(a.row(r) + first, x.data() + first, std::min(group, in - first));
          h[static_cast<std::size_t>(r * groups + b)] = norm > 0 ? sum / norm : 0;
        }
      }
    });
    a.gather(a.sum_rows([&](std::int64_t r, double* sum) {
      for (std::int64_t c = 0; c < in; ++c) {
        sum[c] += h[static_cast<std::size_t>(r * groups + c / group)] *
                  static_cast<double>(std::fabs(a.row(r)[c]));
      }
    }),
             g);
    Vector level(static_cast<std::size_t>(groups), 0.0);
    for (std::size_t i = 0; i < h.size(); ++i) {
      level[i % static_cast<std::size_t>(groups)] += h[i] * h[i];
    }
    Vector spread_level(static_cast<std::size_t>(in));
    for (std::int64_t c = 0; c < in; ++c) {
      spread_level[static_cast<std::size_t>(c)] = level[static_cast<std::size_t>(c / group)];
    }
    a.gather(spread_level, below);
    for (std::size_t t = 0; t < g.size(); ++t) g[t] = below[t] > 0 ? g[t] / below[t] : 0;
    if (settled(g, previous)) return iteration;
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

namespace {

/// How many values g has. A tie that does not fit is a programmer error.
std::int64_t tied_size(const SharedSvid& problem) {
  if (problem.tie.empty()) return problem.in;
  ONEBIT_CHECK(std::ssize(problem.tie) == problem.in);
  const std::int64_t tied = *std::max_element(problem.tie.begin(), problem.tie.end()) + 1;
  std::vector<std::int64_t> count(static_cast<std::size_t>(tied), 0);
  for (const std::int64_t t : problem.tie) ++count.at(static_cast<std::size_t>(t));
  ONEBIT_CHECK(std::all_of(count.begin(), count.end(),
                           [&](std::int64_t n) { return n * tied == problem.in; }));
  return tied;
}

/// ‖W‖² of a part; every weight must be finite.
double square_norm(const SharedSvid& problem, std::size_t number) {
  const std::span<const float> w = problem.parts[number].w;
  double square = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    square += static_cast<double>(w[i]) * static_cast<double>(w[i]);
    if (std::isfinite(w[i])) continue;
    const std::string& name = problem.parts[number].name;
    throw Error(ErrorCode::kNumeric,
                fmt::format("{}{}weight [{}, {}]: found {}, expected a finite number", name,
                            name.empty() ? "" : ": ", static_cast<std::int64_t>(i) / problem.in,
                            static_cast<std::int64_t>(i) % problem.in, w[i]));
  }
  return square;
}

/// ‖W − Ŵ‖² of a part, of g (one value an input) and h as they are returned.
double square_error(std::span<const float> w, std::int64_t in, std::int64_t group,
                    const std::vector<float>& g, const std::vector<float>& h) {
  const std::int64_t groups = (in + group - 1) / group;
  double error = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const std::int64_t r = static_cast<std::int64_t>(i) / in;
    const std::int64_t c = static_cast<std::int64_t>(i) % in;
    const double row_scale = h[static_cast<std::size_t>(r * groups + c / group)];
    const double difference =
        std::fabs(static_cast<double>(w[i])) - row_scale * g[static_cast<std::size_t>(c)];
    error += difference * difference;
  }
  return error;
}

}  // namespace

SharedSvidResult svid_shared(const SharedSvid& problem, const SvidOptions& options,
                             ThreadPool& pool) {
  ONEBIT_CHECK(problem.in > 0 && !problem.parts.empty() && problem.group_size >= 0);
  const bool grouped = problem.group_size > 0;
  const std::int64_t group = grouped ? problem.group_size : problem.in;
  const std::int64_t groups = (problem.in + group - 1) / group;
  if (grouped && options.init == Init::kSvd) {
    throw Error(ErrorCode::kUnsupported,
                "init: found svd with scales for groups of inputs, which is no singular value "
                "problem; expected nmf or copy");
  }
  const std::int64_t tied = tied_size(problem);
  SharedSvidResult result;
  std::int64_t rows = 0;
  double square = 0;
  for (std::size_t p = 0; p < problem.parts.size(); ++p) {
    const SharedSvid::Part& part = problem.parts[p];
    ONEBIT_CHECK(part.out > 0 && std::ssize(part.w) == part.out * problem.in);
    rows += part.out;
    result.parts.push_back({{}, 0, square_norm(problem, p)});
    square += result.parts.back().square_norm;
  }

  Vector h(static_cast<std::size_t>(rows * groups), 1.0);
  Vector g(static_cast<std::size_t>(tied), 1.0);
  if (square == 0) {
    std::fill(h.begin(), h.end(), 0.0);
  } else if (options.init != Init::kCopy) {
    AbsMatrix a(problem, tied, pool);
    if (grouped) {
      result.iterations = alternate_groups(a, group, h, g);
    } else {
      result.iterations = options.init == Init::kNmf ? alternate(a, h, g) : lanczos(a, h, g);
    }
    apply_split(options.split, h, g);
  }
  result.g.assign(g.begin(), g.end());
  std::vector<float> spread(static_cast<std::size_t>(problem.in));
  for (std::size_t j = 0; j < spread.size(); ++j) {
    spread[j] = result.g[problem.tie.empty() ? j : static_cast<std::size_t>(problem.tie[j])];
  }
  auto next = h.begin();
  for (std::size_t p = 0; p < problem.parts.size(); ++p) {
    SharedSvidResult::Part& part = result.parts[p];
    const auto count = static_cast<std::ptrdiff_t>(problem.parts[p].out * groups);
    part.h.assign(next, next + count);
    next += count;
    if (part.square_norm == 0) continue;
    part.relative_error =
        square_error(problem.parts[p].w, problem.in, group, spread, part.h) / part.square_norm;
  }
  return result;
}

SvidResult svid(std::span<const float> w, std::int64_t out, std::int64_t in,
                const SvidOptions& options, ThreadPool& pool) {
  SharedSvidResult shared =
      svid_shared({.parts = {{w, out, {}}}, .in = in, .tie = {}, .group_size = 0}, options, pool);
  SharedSvidResult::Part& part = shared.parts[0];
  return {std::move(shared.g), std::move(part.h), part.relative_error, part.square_norm,
          shared.iterations};
}

}  // namespace onebit::quant
