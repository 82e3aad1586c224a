// Our 1-bit and ternary products and, where it is linked, those of llama.cpp's ggml, in turns on
// one machine: a matrix that no cache holds, as a token meets it, or many tokens. Beside them what
// the memory delivers to a plain read of the same matrices, and the most int8 products that the
// cores can do.
//
// A product takes in what a user of it pays: activations are rounded and tables built inside, from
// other activations each time. Usage: see --help.
#include "kernels/kernels.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "kernels/sign_matrix.h"
#include "kernels/ternary_matrix.h"
#include "kernels/test_data.h"
#ifdef ONEBIT_GGML
#include "ggml_products.h"
#endif
#include "int8_peak.h"

namespace onebit::bench {
namespace {

using kernels::KernelSet;
using kernels::QuantizedRows;

struct Options {
  std::int64_t rows = 4096;
  std::int64_t cols = 4096;
  std::int64_t tokens = 1;
  std::int64_t megabytes = 1024;
  std::vector<int> threads = {1, 2};
  int rounds = 7;
  std::string isa;

  /// Distinct matrices of so many bytes that together no cache holds them; a few for many tokens,
  /// which do not wait for memory.
  std::int64_t matrices(double bytes) const {
    const double all = static_cast<double>(megabytes << 20);
    return tokens > 16
               ? 3
               : std::max(std::int64_t{1}, static_cast<std::int64_t>(std::ceil(all / bytes)));
  }
};

/// One side: run() multiplies by all its matrices and gives the seconds of one.
struct Side {
  std::string name;
  double bytes;  ///< of a matrix
  std::function<double(int threads)> run;
  std::function<bool()> is_right = {};  ///< what the last run left; empty: not asked
  std::vector<double> seconds = {};
};

double elapsed(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Rows that a thread takes at least.
constexpr std::int64_t kGrain = 64;

/// work(matrix, its x, pool) for all matrices, the i-th with x + i; the seconds of one.
template <class Matrix, class Work>
double seconds_of_one(const std::vector<Matrix>& matrices, const std::vector<float>& x, int threads,
                      const Work& work) {
  ThreadPool pool(threads);
  const double seconds = elapsed([&] {
    for (std::size_t i = 0; i < matrices.size(); ++i) work(matrices[i], x.data() + i, pool);
  });
  return seconds / static_cast<double>(matrices.size());
}

/// Activations of all tokens rounded to int8.
class Rounded {
 public:
  Rounded(const KernelSet& kernels, const Options& options)
      : k_(kernels),
        o_(options),
        q_(kernels::size(o_.tokens * QuantizedRows::stride(o_.cols))),
        scales_(kernels::size(o_.tokens * QuantizedRows::blocks(o_.cols))) {}

  void round(const float* x, std::int64_t token) {
    k_.quantize_i8(x + token * o_.cols, nullptr, o_.cols,
                   q_.data() + token * QuantizedRows::stride(o_.cols),
                   scales_.data() + token * QuantizedRows::blocks(o_.cols));
  }
  /// From a token on.
  QuantizedRows rows(std::int64_t token = 0) const {
    return {q_.data() + token * QuantizedRows::stride(o_.cols),
            scales_.data() + token * QuantizedRows::blocks(o_.cols)};
  }

 private:
  const KernelSet& k_;
  const Options& o_;
  std::vector<std::int8_t> q_;
  std::vector<float> scales_;
};

class OurProducts {
 public:
  OurProducts(const KernelSet& kernels, const Options& options)
      : k_(kernels), o_(options), rng_(1), signs_(rng_, o_.rows, o_.cols), rounded_(k_, o_) {
    const std::int64_t bytes = o_.rows * formats::sign1_row_bytes(o_.cols);
    for (std::int64_t i = 0; i < o_.matrices(static_cast<double>(bytes)); ++i) {
      matrices_.emplace_back(k_, signs_.view, std::span<const float>{}, 0);
    }
    x_ = kernels::random_floats(rng_, o_.tokens * o_.cols + count());
    h_ = kernels::random_floats(rng_, o_.rows);
    y_.resize(kernels::size(o_.tokens * o_.rows));
  }

  std::int64_t count() const { return static_cast<std::int64_t>(matrices_.size()); }
  double bytes() const {
    return static_cast<double>(k_.signs == nullptr ? o_.rows * formats::sign1_row_bytes(o_.cols)
                                                   : k_.signs->bytes(o_.rows, o_.cols));
  }

  double int8(int threads) {
    return each(threads, [&](const kernels::SignMatrix& w, const float* x, ThreadPool& pool) {
      pool.parallel_for(o_.tokens, 1, [&](std::int64_t begin, std::int64_t end, int) {
        for (std::int64_t t = begin; t < end; ++t) rounded_.round(x, t);
      });
      pool.parallel_for(o_.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        k_.gemm_sign1_i8(w.signs(), h_.data(), rounded_.rows(), o_.tokens, y_.data(), o_.rows,
                         begin, end);
      });
    });
  }

  double f32(int threads) {
    return each(threads, [&](const kernels::SignMatrix& w, const float* x, ThreadPool& pool) {
      pool.parallel_for(o_.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
        k_.gemm_sign1_f32(w.signs(), h_.data(), x, o_.tokens, y_.data(), o_.rows, begin, end);
      });
    });
  }

  double read(int threads) {
    std::vector<std::uint64_t> totals(kernels::size(threads));
    const double seconds =
        each(threads, [&](const kernels::SignMatrix& w, const float*, ThreadPool& pool) {
          using Line = std::uint64_t __attribute__((vector_size(64)));
          const auto* lines = reinterpret_cast<const Line*>(w.signs().data);
          pool.parallel_for(static_cast<std::int64_t>(bytes()) / 64, 8,
                            [&](std::int64_t begin, std::int64_t end, int worker) {
                              Line sums[4] = {};
                              for (std::int64_t i = begin; i + 4 <= end; i += 4) {
                                for (int j = 0; j < 4; ++j) {
                                  __builtin_prefetch(lines + i + j + kLinesAhead);
                                }
                                for (int j = 0; j < 4; ++j) sums[j] += lines[i + j];
                              }
                              totals[kernels::size(worker)] +=
                                  ((sums[0] + sums[1]) + (sums[2] + sums[3]))[0];
                            });
        });
    const volatile std::uint64_t used = totals[0];
    static_cast<void>(used);
    return seconds;
  }

  /// The last product's first rows and tokens against the scalar kernels'.
  bool is_right(bool rounded) {
    constexpr std::int64_t kRows = 8;
    const std::int64_t tokens = std::min<std::int64_t>(o_.tokens, 3);
    const KernelSet& scalar = kernels::kernels_by_name("scalar");
    const kernels::SignMatrix w(scalar, signs_.view, {}, 0);
    std::vector<float> want(kernels::size(tokens * kRows));
    const float* x = x_.data() + count() - 1;
    if (rounded) {
      scalar.gemm_sign1_i8(w.signs(), h_.data(), rounded_.rows(), tokens, want.data(), kRows, 0,
                           kRows);
    } else {
      scalar.gemm_sign1_f32(w.signs(), h_.data(), x, tokens, want.data(), kRows, 0, kRows);
    }
    double magnitudes = 0;
    for (std::int64_t c = 0; c < o_.cols; ++c) magnitudes += std::abs(x[c]);
    const double bound = rounded ? 0 : 12 * static_cast<double>(o_.cols) * 0x1p-23 * magnitudes;
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t r = 0; r < kRows; ++r) {
        const double difference = static_cast<double>(y_[kernels::size(t * o_.rows + r)]) -
                                  want[kernels::size(t * kRows + r)];
        if (!(std::abs(difference) <= bound)) return false;
      }
    }
    return true;
  }

 private:
  /// What the reading asks for ahead of its use, as the kernels do: 4 KiB.
  static constexpr std::int64_t kLinesAhead = 64;

  template <class Work>
  double each(int threads, const Work& work) {
    return seconds_of_one(matrices_, x_, threads, work);
  }

  const KernelSet& k_;
  const Options& o_;
  Rng rng_;
  kernels::RandomSigns signs_;
  std::vector<kernels::SignMatrix> matrices_;
  std::vector<float> x_;  ///< the i-th product's begin at i
  std::vector<float> h_;
  Rounded rounded_;
  std::vector<float> y_;
};

/// Ternary matrices over int8 activations.
class TernaryProducts {
 public:
  TernaryProducts(const KernelSet& kernels, const Options& options)
      : k_(kernels), o_(options), rounded_(k_, o_), codes_(kernels::size(o_.rows * o_.cols)) {
    Rng rng(1);
    for (std::int8_t& code : codes_) {
      code = static_cast<std::int8_t>(static_cast<int>(rng.below(3)) - 1);
    }
    h_ = kernels::random_floats(rng, o_.rows);
    ThreadPool pool(*std::max_element(o_.threads.begin(), o_.threads.end()));
    for (std::int64_t i = 0; i < o_.matrices(bytes()); ++i) {
      matrices_.emplace_back(k_, codes_, o_.rows, o_.cols, h_, &pool);
    }
    x_ = kernels::random_floats(rng,
                                o_.tokens * o_.cols + static_cast<std::int64_t>(matrices_.size()));
    q_.resize(kernels::size(o_.tokens * QuantizedRows::stride(twice())));
    scales_.resize(kernels::size(o_.tokens * QuantizedRows::blocks(twice())));
    y_.resize(kernels::size(o_.tokens * o_.rows));
  }

  double bytes() const {
    return static_cast<double>(k_.signs == nullptr ? o_.rows * formats::sign1_row_bytes(twice())
                                                   : k_.signs->bytes(o_.rows, twice()));
  }

  double run(int threads) {
    return seconds_of_one(
        matrices_, x_, threads, [&](const TernaryMatrix& w, const float* x, ThreadPool& pool) {
          pool.parallel_for(o_.tokens, 1, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t t = begin; t < end; ++t) {
              rounded_.round(x, t);
              TernaryMatrix::repeat(rounded_.rows(t), o_.cols, 1,
                                    q_.data() + t * QuantizedRows::stride(twice()),
                                    scales_.data() + t * QuantizedRows::blocks(twice()));
            }
          });
          pool.parallel_for(o_.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
            w.gemm_i8({q_.data(), scales_.data()}, o_.tokens, y_.data(), o_.rows, begin, end);
          });
        });
  }

  /// The last product's first rows and tokens against the scalar kernels'.
  bool is_right() const {
    constexpr std::int64_t kRows = 8;
    const std::int64_t tokens = std::min<std::int64_t>(o_.tokens, 3);
    const std::span<const std::int8_t> codes(codes_.data(), kernels::size(kRows * o_.cols));
    const std::span<const float> h(h_.data(), kernels::size(kRows));
    const TernaryMatrix w(kernels::kernels_by_name("scalar"), codes, kRows, o_.cols, h);
    std::vector<float> want(kernels::size(tokens * kRows));
    w.gemm_i8({q_.data(), scales_.data()}, tokens, want.data(), kRows, 0, kRows);
    for (std::size_t i = 0; i < want.size(); ++i) {
      const std::size_t row = i % kernels::size(kRows);
      if (y_[i / kernels::size(kRows) * kernels::size(o_.rows) + row] != want[i]) return false;
    }
    return true;
  }

 private:
  using TernaryMatrix = kernels::TernaryMatrix;

  std::int64_t twice() const { return TernaryMatrix::twice(o_.cols); }

  const KernelSet& k_;
  const Options& o_;
  Rounded rounded_;
  std::vector<std::int8_t> codes_;
  std::vector<float> h_;
  std::vector<TernaryMatrix> matrices_;
  std::vector<float> x_;        ///< the i-th product's begin at i
  std::vector<std::int8_t> q_;  ///< of activations given twice
  std::vector<float> scales_;
  std::vector<float> y_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void print(const Options& o, const std::vector<Side>& sides, int threads, double int8_peak) {
  const double read = sides.front().bytes / median(sides.front().seconds);
  const double ops = 2.0 * static_cast<double>(o.rows * o.cols * o.tokens);
  for (const Side& side : sides) {
    const double seconds = median(side.seconds);
    const double fastest = *std::min_element(side.seconds.begin(), side.seconds.end());
    std::printf("| %lld x %lld, %lld | %-22s | %d | %10.1f | %10.1f | %6.2f | %6.2f | %3.0f ",
                static_cast<long long>(o.rows), static_cast<long long>(o.cols),
                static_cast<long long>(o.tokens), side.name.c_str(), threads, seconds * 1e6,
                fastest * 1e6, side.bytes / 1e6, side.bytes / seconds / 1e9,
                100 * side.bytes / seconds / read);
    if (&side == &sides.front()) {
      std::printf("| - | - |\n");
    } else if (int8_peak > 0) {
      std::printf("| %6.0f | %3.0f |\n", ops / seconds / 1e9, 100 * ops / seconds / int8_peak);
    } else {
      std::printf("| %6.0f | - |\n", ops / seconds / 1e9);
    }
  }
}

int run(const Options& o) {
  const KernelSet& k = o.isa.empty() ? kernels::best_kernels() : kernels::kernels_by_name(o.isa);
  OurProducts ours(k, o);
  TernaryProducts ternary(k, o);
  const std::string name(k.name);
  std::printf(
      "| rows x cols, tokens | product | threads | us, median | us, least | MB | GB/s | %% of read "
      "| "
      "Gop/s | %% of int8 peak |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n");
  for (const int threads : o.threads) {
    std::vector<Side> sides = {
        {"reading alone", ours.bytes(), [&](int n) { return ours.read(n); }},
        {"onebit int8, " + name, ours.bytes(), [&](int n) { return ours.int8(n); },
         [&] { return ours.is_right(/*rounded=*/true); }},
        {"onebit f32, " + name, ours.bytes(), [&](int n) { return ours.f32(n); },
         [&] { return ours.is_right(/*rounded=*/false); }},
        {"onebit ternary, " + name, ternary.bytes(), [&](int n) { return ternary.run(n); },
         [&] { return ternary.is_right(); }}};
#ifdef ONEBIT_GGML
    for (const GgmlType& type : ggml_types()) {
      auto product = std::make_shared<GgmlProducts>(
          type, o.rows, o.cols, o.tokens, o.matrices(ggml_matrix_bytes(type, o.rows, o.cols)));
      sides.push_back(
          {"ggml " + type.name, product->bytes(), [product](int n) { return product->run(n); }});
    }
#endif
    for (int round = 0; round <= o.rounds; ++round) {
      for (Side& side : sides) {
        const double seconds = side.run(threads);
        if (round > 0) side.seconds.push_back(seconds);  // the first warms up
        if (side.is_right && !side.is_right()) {
          std::fprintf(stderr, "%s: differs from the scalar kernel\n", side.name.c_str());
          return 1;
        }
      }
    }
    print(o, sides, threads, int8_peak(threads));
  }
  return 0;
}

}  // namespace
}  // namespace onebit::bench

int main(int argc, char** argv) {
  onebit::bench::Options options;
  CLI::App app(
      "Products of a 1-bit and of a ternary matrix and some tokens, beside ggml's and the "
      "machine's limits.");
  app.add_option("--rows", options.rows)->capture_default_str();
  app.add_option("--cols", options.cols)->capture_default_str();
  app.add_option("--tokens", options.tokens)->capture_default_str();
  app.add_option("--megabytes", options.megabytes, "distinct matrices of a side")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "numbers of threads")->delimiter(',');
  app.add_option("--rounds", options.rounds, "turns of every side, of which the median counts")
      ->capture_default_str();
  app.add_option("--isa", options.isa, "our kernels; default: the best");
  CLI11_PARSE(app, argc, argv);
  return onebit::bench::run(options);
}
