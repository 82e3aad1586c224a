#include "quant/billm_solver.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/half.h"
#include "quant/second_moment.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

constexpr std::int64_t kSalientLimit = 50;  // one more than a block can have
constexpr std::int64_t kThresholds = 81;    // 0.10, 0.11, … 0.90

/// One term of a binarisation: mean + scale · sign by rows, on a mask.
struct Term {
  Tensor mean;   ///< [rows]
  Tensor scale;  ///< [rows]
  Tensor sign;   ///< [rows, columns], ±1
};

/// Of the first `order` terms each of what those before leave; 0 outside the mask.
struct Binarised {
  std::vector<Term> terms;
  Tensor value;  ///< [rows, columns]
};

Binarised binarise(const Tensor& w, const Tensor& mask, int order) {
  const Tensor on = mask.to(torch::kFloat64);
  const Tensor count = on.sum(1).clamp_min(1);  // a row without weights has 0 for a sum
  Binarised result;
  result.value = torch::zeros_like(w);
  Tensor left = w * on;
  for (int i = 0; i < order; ++i) {
    Term term;
    term.mean = (left * on).sum(1) / count;
    const Tensor centred = left - term.mean.unsqueeze(1);
    term.scale = (centred.abs() * on).sum(1) / count;
    term.sign = torch::where(centred < 0, -1.0, 1.0);
    const Tensor value = term.mean.unsqueeze(1) + term.scale.unsqueeze(1) * term.sign;
    result.value += value * on;
    left = left - value;
    result.terms.push_back(std::move(term));
  }
  return result;
}

double mean_square(const Tensor& t) { return t.square().mean().item<double>(); }

/// bool [columns].
Tensor salient_columns(const Tensor& s) {
  const std::int64_t columns = s.size(1);
  Tensor best = torch::zeros({columns}, torch::kBool);
  if (columns == 1) return best;
  const Tensor ranking =
      std::get<1>(s.abs().sum(0).sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  double least = std::numeric_limits<double>::infinity();
  Tensor chosen = torch::zeros({columns}, torch::kBool);
  for (std::int64_t n = 1; n < std::min(kSalientLimit, columns); ++n) {
    chosen[ranking[n - 1]] = true;
    const Tensor mask = chosen.unsqueeze(0).expand_as(s);
    const double error = mean_square(s - binarise(s, mask, 2).value - binarise(s, ~mask, 2).value);
    if (error < least) {
      least = error;
      best = chosen.clone();
    }
  }
  return best;
}

/// bool [rows, columns]: the large ones among those that are not salient.
Tensor large_weights(const Tensor& s, const Tensor& salient) {
  const Tensor rest = ~salient;
  const Tensor fixed = binarise(s, salient, 2).value;
  const Tensor thresholds = torch::quantile(
      (s * rest).abs().flatten(), torch::linspace(0.1, 0.9, kThresholds, torch::kFloat64));
  double least = std::numeric_limits<double>::infinity();
  Tensor best;
  for (std::int64_t i = 0; i < kThresholds; ++i) {
    const Tensor large = rest & (s.abs() >= thresholds[i]);
    const double error =
        mean_square(s - fixed - binarise(s, large, 1).value - binarise(s, rest & ~large, 1).value);
    if (error < least) {
      least = error;
      best = large;
    }
  }
  return best;
}

class Solver {
 public:
  Solver(Tensor w, const Tensor& h, const BillmOptions& options)
      : options_(options), w_(std::move(w)), factor_(inverse_factor(h, options.damping)) {
    const std::int64_t groups = billm_spec(w_.size(1), options.block).groups;
    values_.codes.resize(static_cast<std::size_t>(w_.numel()));
    values_.levels.resize(static_cast<std::size_t>(w_.size(0) * groups * 4));
    groups_ = static_cast<std::size_t>(groups);
  }

  BillmResult run() {
    const std::int64_t in = w_.size(1);
    for (std::int64_t begin = 0; begin < in; begin += options_.block) {
      const std::int64_t end = std::min(begin + options_.block, in);
      const Tensor block = w_.narrow(1, begin, end - begin);
      const Tensor approximation = quantise(block, begin);
      if (end < in) {
        const Tensor rows = factor_.narrow(0, begin, end - begin);
        const Tensor diagonal = rows.narrow(1, begin, end - begin).diagonal();
        w_.narrow(1, end, in - end)
            .sub_(((block - approximation) / diagonal).matmul(rows.narrow(1, end, in - end)));
      }
      block.copy_(approximation);
    }
    return {std::move(values_), std::move(w_)};
  }

 private:
  /// Chooses, stores and gives back what stands for a block's weights.
  Tensor quantise(const Tensor& w, std::int64_t begin) {
    const Tensor diagonal =
        factor_.narrow(0, begin, w.size(1)).narrow(1, begin, w.size(1)).diagonal();
    const Tensor s = w.square() / diagonal.square();
    const Tensor columns = salient_columns(s);
    const Tensor salient = columns.unsqueeze(0).expand_as(w);
    const Tensor large = large_weights(s, salient);
    const Tensor small = ~salient & ~large;
    const Binarised twice = binarise(w, salient, 2);
    const Binarised parts[] = {binarise(w, small, 1), binarise(w, large, 1)};

    Tensor result = torch::empty_like(w);
    const Tensor second = torch::where(twice.terms[1].sign > 0, 2, 0);
    if (columns.any().item<bool>()) {
      std::vector<Tensor> levels;
      for (int code = 0; code < 4; ++code) {
        levels.push_back(level(twice.terms[0], code % 2) + level(twice.terms[1], code / 2));
      }
      const Tensor codes = torch::where(twice.terms[0].sign > 0, 1, 0) + second;
      store(columns, begin, codes, levels, result);
    }
    std::vector<Tensor> levels;
    for (int code = 0; code < 4; ++code) {
      levels.push_back(level(parts[code / 2].terms[0], code % 2));
    }
    const Tensor sign = torch::where(large, parts[1].terms[0].sign, parts[0].terms[0].sign);
    store(~columns, begin, torch::where(sign > 0, 1, 0) + torch::where(large, 2, 0), levels,
          result);
    return result;
  }

  static Tensor level(const Term& term, int sign) {
    return sign != 0 ? term.mean + term.scale : term.mean - term.scale;
  }

  double stored(double value) const {
    if (options_.levels == formats::DType::kF64) return value;
    const auto single = static_cast<float>(value);
    return options_.levels == formats::DType::kF16 ? f16_to_f32(f32_to_f16(single)) : single;
  }

  /// The columns of a group as the next ones in the file; fills them in `result` too.
  void store(const Tensor& columns, std::int64_t begin, const Tensor& codes,
             const std::vector<Tensor>& levels, Tensor& result) {
    const Tensor table = torch::stack(levels, 1).contiguous();  // [rows, 4]
    const Tensor which = codes.to(torch::kInt64).contiguous();
    const std::size_t group = values_.ends.size();
    const std::int64_t rows = table.size(0);
    double* levels_of = table.data_ptr<double>();
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t code = 0; code < 4; ++code) {
        double& value = levels_of[r * 4 + code];
        value = stored(value);
        values_.levels[(static_cast<std::size_t>(r) * groups_ + group) * 4 +
                       static_cast<std::size_t>(code)] = static_cast<float>(value);
      }
    }
    const std::int64_t* code_of = which.data_ptr<std::int64_t>();
    double* to = result.data_ptr<double>();
    const std::int64_t in = w_.size(1);
    const std::int64_t width = columns.size(0);
    const bool* chosen = columns.data_ptr<bool>();
    for (std::int64_t c = 0; c < width; ++c) {
      if (!chosen[c]) continue;
      const std::int64_t place = std::ssize(values_.order);
      values_.order.push_back(static_cast<std::int32_t>(begin + c));
      for (std::int64_t r = 0; r < rows; ++r) {
        const std::int64_t code = code_of[r * width + c];
        values_.codes[static_cast<std::size_t>(r * in + place)] = static_cast<std::uint8_t>(code);
        to[r * width + c] = levels_of[r * 4 + code];
      }
    }
    values_.ends.push_back(static_cast<std::int32_t>(values_.order.size()));
  }

  BillmOptions options_;
  Tensor w_;       ///< f64 [out, in], compensated as far as the blocks went
  Tensor factor_;  ///< U
  arch::CodeValues values_;
  std::size_t groups_ = 0;
};

}  // namespace

arch::CodeSpec billm_spec(std::int64_t in, std::int64_t block) {
  arch::CodeSpec spec;
  spec.bits = 2;
  spec.groups = (in + block - 1) / block * 2;
  if (in % block == 1) --spec.groups;  // a block of one column has no salient ones
  spec.tables = true;
  spec.ordered = true;
  return spec;
}

BillmResult billm(std::span<const float> w, std::int64_t out, std::int64_t in, const Tensor& h,
                  const BillmOptions& options) {
  ONEBIT_CHECK(std::ssize(w) == out * in && h.sizes() == torch::IntArrayRef({in, in}));
  ONEBIT_CHECK(options.block > 0 && h.scalar_type() == torch::kFloat64);
  Tensor weights =
      torch::tensor(at::ArrayRef<float>(w.data(), w.size())).view({out, in}).to(torch::kFloat64);
  Tensor moment = h.clone();
  drop_dead_columns(weights, moment);
  return Solver(weights, moment, options).run();
}

}  // namespace onebit::quant
