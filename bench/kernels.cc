// Our 1-bit and ternary products and, where it is linked, those of llama.cpp's ggml, in turns on
// one machine: a matrix that no cache holds, as a token meets it, or many tokens. Beside them what
// the memory delivers to a plain read of the same matrices, and the most int8 products that the
// cores can do. Every round measures all of them, with every number of threads and of tokens.
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
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/buffer.h"
#include "base/read_memory.h"
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
  std::vector<std::int64_t> tokens = {1};
  std::int64_t megabytes = 1024;
  std::vector<int> threads = {1, 2};
  int rounds = 7;
  std::string isa;
  bool alone = false;
  bool json = false;

  /// Distinct matrices of so many bytes that together no cache holds them; fewer the more tokens
  /// there are, which wait for memory less and take longer.
  std::int64_t matrices(double bytes, std::int64_t of_tokens) const {
    const double all = static_cast<double>(megabytes << 20);
    const auto wanted =
        std::max(std::int64_t{1}, static_cast<std::int64_t>(std::ceil(all / bytes)));
    const std::int64_t enough = std::max(std::int64_t{3}, 1024 / of_tokens);
    return of_tokens > 16 ? std::min(wanted, enough) : wanted;
  }
  std::int64_t most_tokens() const { return *std::max_element(tokens.begin(), tokens.end()); }
  double operations(std::int64_t of_tokens) const {
    return 2.0 * static_cast<double>(rows * cols * of_tokens);
  }
};

constexpr const char* kRead = "reading alone";
constexpr const char* kPeak = "int8 peak";

/// One product, or a limit of the machine: run() gives the seconds of one matrix.
struct Side {
  std::string name;
  std::int64_t tokens;
  double bytes;  ///< of a matrix; 0 where none is read
  std::function<double(int threads)> run;
  std::function<bool()> is_right = [] { return true; };  ///< what run() computed last
};

struct Series {
  const Side* side;
  int threads;
  std::vector<double> seconds = {};  ///< one a round
};

double elapsed(const std::function<void()>& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Rows that a thread takes at least.
constexpr std::int64_t kGrain = 64;

/// work(matrix, its x, pool) for the first `count` matrices, the i-th with x + i; the seconds of
/// one.
template <class Matrix, class Work>
double seconds_of_one(const std::vector<Matrix>& matrices, std::int64_t count,
                      const std::vector<float>& x, int threads, const Work& work) {
  ThreadPool pool(threads);
  const double seconds = elapsed([&] {
    for (std::int64_t i = 0; i < count; ++i) work(matrices[kernels::size(i)], x.data() + i, pool);
  });
  return seconds / static_cast<double>(count);
}

/// Activations of all tokens rounded to int8.
class Rounded {
 public:
  Rounded(const KernelSet& kernels, const Options& options)
      : k_(kernels),
        o_(options),
        q_(kernels::size(o_.most_tokens() * QuantizedRows::stride(o_.cols))),
        scales_(kernels::size(o_.most_tokens() * QuantizedRows::blocks(o_.cols))) {}

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
    const std::int64_t fewest = *std::min_element(o_.tokens.begin(), o_.tokens.end());
    const std::int64_t most = o_.most_tokens();
    for (std::int64_t i = 0; i < o_.matrices(static_cast<double>(bytes), fewest); ++i) {
      matrices_.emplace_back(k_, signs_.view, std::span<const float>{}, 0);
    }
    x_ = kernels::random_floats(rng_, most * o_.cols + static_cast<std::int64_t>(matrices_.size()));
    h_ = kernels::random_floats(rng_, o_.rows);
    y_.resize(kernels::size(most * o_.rows));
  }

  double bytes() const {
    return static_cast<double>(k_.signs == nullptr ? o_.rows * formats::sign1_row_bytes(o_.cols)
                                                   : k_.signs->bytes(o_.rows, o_.cols));
  }

  double int8(std::int64_t tokens, int threads) {
    return each(
        tokens, threads, [&](const kernels::SignMatrix& w, const float* x, ThreadPool& pool) {
          pool.parallel_for(tokens, 1, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t t = begin; t < end; ++t) rounded_.round(x, t);
          });
          pool.parallel_for(o_.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
            k_.gemm_sign1_i8(w.signs(), h_.data(), rounded_.rows(), tokens, y_.data(), o_.rows,
                             begin, end);
          });
        });
  }

  double f32(std::int64_t tokens, int threads) {
    return each(
        tokens, threads, [&](const kernels::SignMatrix& w, const float* x, ThreadPool& pool) {
          pool.parallel_for(o_.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
            k_.gemm_sign1_f32(w.signs(), h_.data(), x, tokens, y_.data(), o_.rows, begin, end);
          });
        });
  }

  /// With lines asked for ahead of their use or without, whichever is faster here.
  double read(std::int64_t tokens, int threads) {
    std::vector<std::uint64_t> totals(kernels::size(threads));
    const auto seconds = [&](ReadAhead ahead) {
      return each(
          tokens, threads, [&](const kernels::SignMatrix& w, const float*, ThreadPool& pool) {
            const auto* signs = static_cast<const std::byte*>(w.signs().data);
            pool.parallel_for(static_cast<std::int64_t>(bytes()), kReadBytes,
                              [&](std::int64_t begin, std::int64_t end, int worker) {
                                totals[kernels::size(worker)] +=
                                    read_memory({signs + begin, kernels::size(end - begin)}, ahead);
                              });
          });
    };
    const double least = std::min(seconds(ReadAhead::kYes), seconds(ReadAhead::kNo));
    const volatile std::uint64_t used = totals[0];
    static_cast<void>(used);
    return least;
  }

  /// The last product's first rows and tokens against the scalar kernels'.
  bool is_right(std::int64_t of_tokens, bool rounded) {
    constexpr std::int64_t kRows = 8;
    const std::int64_t tokens = std::min<std::int64_t>(of_tokens, 3);
    const KernelSet& scalar = kernels::kernels_by_name("scalar");
    const kernels::SignMatrix w(scalar, signs_.view, {}, 0);
    std::vector<float> want(kernels::size(tokens * kRows));
    const float* x = x_.data() + count(of_tokens) - 1;
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
  /// A thread's share of what is read is a multiple.
  static constexpr std::int64_t kReadBytes = 512;

  std::int64_t count(std::int64_t tokens) const {
    return o_.matrices(static_cast<double>(o_.rows * formats::sign1_row_bytes(o_.cols)), tokens);
  }

  template <class Work>
  double each(std::int64_t tokens, int threads, const Work& work) {
    return seconds_of_one(matrices_, count(tokens), x_, threads, work);
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
    const std::int64_t fewest = *std::min_element(o_.tokens.begin(), o_.tokens.end());
    const std::int64_t most = o_.most_tokens();
    for (std::int64_t i = 0; i < o_.matrices(bytes(), fewest); ++i) {
      matrices_.emplace_back(k_, codes_, o_.rows, o_.cols, h_, &pool);
    }
    x_ = kernels::random_floats(rng, most * o_.cols + static_cast<std::int64_t>(matrices_.size()));
    q_.resize(kernels::size(most * QuantizedRows::stride(twice())));
    scales_.resize(kernels::size(most * QuantizedRows::blocks(twice())));
    y_.resize(kernels::size(most * o_.rows));
  }

  double bytes() const {
    return static_cast<double>(k_.signs == nullptr ? o_.rows * formats::sign1_row_bytes(twice())
                                                   : k_.signs->bytes(o_.rows, twice()));
  }

  double run(std::int64_t tokens, int threads) {
    return seconds_of_one(
        matrices_, o_.matrices(bytes(), tokens), x_, threads,
        [&](const TernaryMatrix& w, const float* x, ThreadPool& pool) {
          pool.parallel_for(tokens, 1, [&](std::int64_t begin, std::int64_t end, int) {
            for (std::int64_t t = begin; t < end; ++t) {
              rounded_.round(x, t);
              TernaryMatrix::repeat(rounded_.rows(t), o_.cols, 1,
                                    q_.data() + t * QuantizedRows::stride(twice()),
                                    scales_.data() + t * QuantizedRows::blocks(twice()));
            }
          });
          pool.parallel_for(o_.rows, kGrain, [&](std::int64_t begin, std::int64_t end, int) {
            w.gemm_i8({q_.data(), scales_.data()}, tokens, y_.data(), o_.rows, begin, end);
          });
        });
  }

  /// The last product's first rows and tokens against the scalar kernels'.
  bool is_right(std::int64_t of_tokens) const {
    constexpr std::int64_t kRows = 8;
    const std::int64_t tokens = std::min<std::int64_t>(of_tokens, 3);
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

std::vector<Side> make_sides(const Options& o, OurProducts& ours, TernaryProducts* ternary) {
  std::vector<Side> sides;
  for (const std::int64_t tokens : o.tokens) {
    sides.push_back(
        {kRead, tokens, ours.bytes(), [&ours, tokens](int n) { return ours.read(tokens, n); }});
    if (int8_peak(1) > 0) {
      sides.push_back({kPeak, tokens, 0, [ops = o.operations(tokens)](int threads) {
                         return ops / int8_peak(threads);
                       }});
    }
    sides.push_back({"onebit int8", tokens, ours.bytes(),
                     [&ours, tokens](int n) { return ours.int8(tokens, n); },
                     [&ours, tokens] { return ours.is_right(tokens, /*rounded=*/true); }});
    sides.push_back({"onebit f32", tokens, ours.bytes(),
                     [&ours, tokens](int n) { return ours.f32(tokens, n); },
                     [&ours, tokens] { return ours.is_right(tokens, /*rounded=*/false); }});
    if (ternary != nullptr) {
      sides.push_back({"onebit ternary", tokens, ternary->bytes(),
                       [ternary, tokens](int n) { return ternary->run(tokens, n); },
                       [ternary, tokens] { return ternary->is_right(tokens); }});
    }
#ifdef ONEBIT_GGML
    for (const GgmlType& type : ggml_types()) {
      if (o.alone) continue;
      auto product = std::make_shared<GgmlProducts>(
          type, o.rows, o.cols, tokens,
          o.matrices(ggml_matrix_bytes(type, o.rows, o.cols), tokens));
      sides.push_back({"ggml " + type.name, tokens, product->bytes(),
                       [product](int n) { return product->run(n); }});
    }
#endif
  }
  return sides;
}

/// The median of a limit with the same threads and tokens; 0 where it was not measured.
double limit(const std::vector<Series>& all, const char* name, const Series& of) {
  for (const Series& s : all) {
    if (s.side->name == name && s.threads == of.threads && s.side->tokens == of.side->tokens) {
      return median(s.seconds);
    }
  }
  return 0;
}

void print_table(const Options& o, const std::vector<Series>& all, const std::string& isa) {
  std::printf(
      "| rows x cols, tokens | product, %s | threads | us, median | us, least | MB | GB/s | %% of "
      "read | Gop/s | %% of int8 peak |\n|---|---|---:|---:|---:|---:|---:|---:|---:|---:|\n",
      isa.c_str());
  for (const Series& s : all) {
    const Side& side = *s.side;
    const double seconds = median(s.seconds);
    std::printf("| %lld x %lld, %lld | %-14s | %d | %10.1f | %10.1f ",
                static_cast<long long>(o.rows), static_cast<long long>(o.cols),
                static_cast<long long>(side.tokens), side.name.c_str(), s.threads, seconds * 1e6,
                *std::min_element(s.seconds.begin(), s.seconds.end()) * 1e6);
    if (side.bytes > 0) {
      std::printf("| %6.2f | %6.2f | %3.0f ", side.bytes / 1e6, side.bytes / seconds / 1e9,
                  100 * side.bytes / all.front().side->bytes * limit(all, kRead, s) / seconds);
    } else {
      std::printf("| - | - | - ");
    }
    if (side.name == kRead) {
      std::printf("| - | - |\n");
    } else {
      std::printf("| %6.0f | %3.0f |\n", o.operations(side.tokens) / seconds / 1e9,
                  100 * limit(all, kPeak, s) / seconds);
    }
  }
}

void print_json(const Options& o, const std::vector<Series>& all, const std::string& isa) {
  for (const Series& s : all) {
    const nlohmann::ordered_json line = {
        {"rows", o.rows},         {"cols", o.cols},      {"tokens", s.side->tokens},
        {"threads", s.threads},   {"isa", isa},          {"product", s.side->name},
        {"bytes", s.side->bytes}, {"seconds", s.seconds}};
    std::printf("%s\n", line.dump().c_str());
  }
}

int run(const Options& o) {
  const KernelSet& k = o.isa.empty() ? kernels::best_kernels() : kernels::kernels_by_name(o.isa);
  OurProducts ours(k, o);
  std::unique_ptr<TernaryProducts> ternary;
  if (!o.alone) ternary = std::make_unique<TernaryProducts>(k, o);
  const std::vector<Side> sides = make_sides(o, ours, ternary.get());
  std::vector<Series> all;
  for (const int threads : o.threads) {
    for (const Side& side : sides) all.push_back({&side, threads});
  }
  for (int round = 0; round <= o.rounds; ++round) {
    for (Series& s : all) {
      const double seconds = s.side->run(s.threads);
      if (round > 0) s.seconds.push_back(seconds);  // the first warms up
      if (!s.side->is_right()) {
        std::fprintf(stderr, "%s: differs from the scalar kernel\n", s.side->name.c_str());
        return 1;
      }
    }
  }
  (o.json ? print_json : print_table)(o, all, std::string(k.name));
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
  app.add_option("--tokens", options.tokens, "numbers of tokens")->delimiter(',');
  app.add_option("--megabytes", options.megabytes, "distinct matrices of a side")
      ->capture_default_str();
  app.add_option("--threads", options.threads, "numbers of threads")->delimiter(',');
  app.add_option("--rounds", options.rounds, "turns of every side, of which the median counts")
      ->capture_default_str();
  app.add_option("--isa", options.isa, "our kernels; default: the best");
  app.add_flag("--alone", options.alone, "1-bit products and limits only");
  app.add_flag("--json", options.json, "one JSON object a line, with the seconds of every round");
  CLI11_PARSE(app, argc, argv);
  return onebit::bench::run(options);
}
