#include "quant/binarization.h"

#include <algorithm>
#include <fmt/format.h>
#include <limits>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/interruption.h"
#include "quant/second_moment.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

constexpr std::int64_t kSalientLimit = 50;  // one more than a block can have
constexpr std::int64_t kThresholds = 81;    // 0.10, 0.11, … 0.90

/// kThresholds of them, linear between neighbours in order. torch::quantile has a bound of size.
Tensor percentiles(const Tensor& t) {
  const Tensor sorted = std::get<0>(t.flatten().sort());
  const Tensor at = torch::linspace(0.1, 0.9, kThresholds, torch::kFloat64) *
                    static_cast<double>(sorted.size(0) - 1);
  const Tensor below = at.floor();
  return torch::lerp(sorted.take(below.to(torch::kInt64)), sorted.take(at.ceil().to(torch::kInt64)),
                     at - below);
}

template <class Value>
std::vector<Value> values_of(const Tensor& t) {
  if (!t.defined()) return {};
  const Tensor whole = t.contiguous();
  const auto* begin = static_cast<const Value*>(whole.const_data_ptr());
  return {begin, begin + whole.numel()};
}

}  // namespace

Tensor quotient(const Tensor& a, const Tensor& b) { return torch::where(b == 0, 0.0, a / b); }

Tensor sign_of(const Tensor& t) { return torch::where(t < 0, -1.0, 1.0).to(torch::kFloat64); }

Binarised binarise(const Tensor& w, const Tensor& mask, int order) {
  const Tensor on = mask.to(torch::kFloat64);
  const Tensor count = on.sum(1);
  Binarised result;
  result.value = torch::zeros_like(w);
  result.terms.reserve(static_cast<std::size_t>(order));
  Tensor left = w * on;
  for (int i = 0; i < order; ++i) {
    Term term;
    term.mean = quotient((left * on).sum(1), count);
    const Tensor centred = left - term.mean.unsqueeze(1);
    term.scale = quotient((centred.abs() * on).sum(1), count);
    term.sign = sign_of(centred);
    const Tensor value = term.mean.unsqueeze(1) + term.scale.unsqueeze(1) * term.sign;
    result.value += value * on;
    left = left - value;
    result.terms.push_back(std::move(term));
  }
  return result;
}

double mean_square(const Tensor& t) { return t.square().mean().item<double>(); }

Tensor saliency(const Tensor& w, const Tensor& factor) {
  return w.square() / factor.diagonal().square();
}

Tensor salient_columns(const Tensor& t) {
  const std::int64_t columns = t.size(1);
  Tensor best = torch::zeros({columns}, torch::kBool);
  if (columns == 1) return best;
  const Tensor ranking =
      std::get<1>(t.abs().sum(0).sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
  double least = std::numeric_limits<double>::infinity();
  Tensor chosen = torch::zeros({columns}, torch::kBool);
  for (std::int64_t n = 1; n < std::min(kSalientLimit, columns); ++n) {
    chosen[ranking[n - 1]] = true;
    const Tensor mask = chosen.unsqueeze(0).expand_as(t);
    const double error = mean_square(t - binarise(t, mask, 2).value - binarise(t, ~mask, 2).value);
    if (error < least) {
      least = error;
      best = chosen.clone();
    }
  }
  return best;
}

Tensor large_weights(const Tensor& t, const Tensor& part,
                     const std::function<double(const Tensor&, const Tensor&)>& error) {
  const Tensor magnitude = t.abs();
  const Tensor thresholds = percentiles(magnitude * part);
  double least = std::numeric_limits<double>::infinity();
  Tensor best;
  for (std::int64_t i = 0; i < kThresholds; ++i) {
    const Tensor large = part & (magnitude >= thresholds[i]);
    const double found = error(large, part & ~large);
    if (found < least) {
      least = found;
      best = large;
    }
  }
  return best;
}

Problem problem_of(std::span<const float> w, std::int64_t out, std::int64_t in, const Tensor& h,
                   double damping) {
  ONEBIT_CHECK(std::ssize(w) == out * in && h.sizes() == torch::IntArrayRef({in, in}));
  ONEBIT_CHECK(h.scalar_type() == torch::kFloat64);
  Problem problem = {
      torch::tensor(at::ArrayRef<float>(w.data(), w.size())).view({out, in}).to(torch::kFloat64),
      {}};
  Tensor moment = h.clone();
  drop_dead_columns(problem.weights, moment.diagonal());
  problem.factor = inverse_factor(std::move(moment), damping);
  return problem;
}

void quantise_blocks(Tensor& w, const Tensor& factor, std::int64_t block,
                     const std::stop_token& stop,
                     const std::function<Tensor(const Tensor&, std::int64_t)>& quantise) {
  const std::int64_t in = w.size(1);
  for (std::int64_t begin = 0; begin < in; begin += block) {
    throw_if_stopped(stop);
    const std::int64_t end = std::min(begin + block, in);
    const Tensor part = w.narrow(1, begin, end - begin);
    const Tensor approximation = quantise(part, begin);
    if (end < in) {
      const Tensor rows = factor.narrow(0, begin, end - begin);
      const Tensor diagonal = rows.narrow(1, begin, end - begin).diagonal();
      w.narrow(1, end, in - end)
          .sub_(((part - approximation) / diagonal).matmul(rows.narrow(1, end, in - end)));
    }
    part.copy_(approximation);
  }
}

std::int64_t block_groups(std::int64_t in, std::int64_t block) {
  const std::int64_t groups = (in + block - 1) / block * 2;
  const std::int64_t alone = block == 1 ? in : in % block == 1 ? 1 : 0;
  return groups - alone;
}

arch::CodeSpec table_spec(std::int64_t in, std::int64_t block) {
  arch::CodeSpec spec;
  spec.bits = 2;
  spec.groups = block_groups(in, block);
  spec.tables = true;
  spec.ordered = true;
  return spec;
}

GroupedCodes::GroupedCodes(std::int64_t out, std::int64_t in, std::int64_t groups,
                           formats::DType type)
    : type_(type),
      codes_(torch::empty({out, in}, torch::kUInt8)),
      order_(torch::empty({in}, torch::kInt32)),
      groups_(groups) {}

Tensor GroupedCodes::rounded(const Tensor& t) const {
  if (type_ == formats::DType::kF64) return t;
  const Tensor single = t.to(torch::kFloat32);
  Tensor stored =
      (type_ == formats::DType::kF16 ? single.to(torch::kFloat16) : single).to(torch::kFloat64);
  const bool vanished = stored.eq(0).all().item<bool>() && t.ne(0).any().item<bool>();
  if (!vanished && stored.isfinite().all().item<bool>()) return stored;
  throw Error(
      ErrorCode::kNumeric,
      fmt::format("scale: found a magnitude of {}, expected one that {} can hold (--scales)",
                  t.abs().max().item<double>(), formats::info(type_).name));
}

Tensor GroupedCodes::place(const Tensor& columns, std::int64_t begin, const Tensor& codes) {
  const Tensor indices = columns.nonzero().flatten();
  const std::int64_t count = indices.size(0);
  codes_.narrow(1, filled_, count).copy_(codes.index_select(1, indices));
  order_.narrow(0, filled_, count).copy_(indices + begin);
  filled_ += count;
  values_.ends.push_back(static_cast<std::int32_t>(filled_));
  return indices;
}

Tensor GroupedCodes::add(const Tensor& columns, std::int64_t begin, const Tensor& codes,
                         const Tensor& levels) {
  const Tensor table = rounded(levels);
  if (columns.any().item<bool>()) {
    if (!levels_.defined()) {
      levels_ = torch::empty({codes_.size(0), groups_, 4}, torch::kFloat32);
    }
    levels_.select(1, std::ssize(values_.ends)).copy_(table);
    place(columns, begin, codes);
  }
  return table.gather(1, codes);
}

Tensor GroupedCodes::add(const Tensor& columns, std::int64_t begin, const Tensor& codes,
                         arch::ProductKind kind, const Tensor& row_scale,
                         const Tensor& column_scale) {
  const Tensor rows = rounded(row_scale);
  const Tensor inputs = rounded(column_scale);
  if (columns.any().item<bool>()) {
    if (!row_scale_.defined()) {
      row_scale_ = torch::empty({codes_.size(0), groups_, 2}, torch::kFloat32);
      in_scale_ = torch::empty({2, codes_.size(1)}, torch::kFloat32);
    }
    row_scale_.select(1, std::ssize(values_.ends)).copy_(rows.t());
    values_.kinds.push_back(kind);
    const Tensor indices = place(columns, begin, codes);
    in_scale_.index_copy_(1, indices + begin, inputs.index_select(1, indices).to(torch::kFloat32));
  }
  Tensor weights = torch::zeros(codes.sizes(), torch::kFloat64);
  for (std::int64_t term = 0; term < 2; ++term) {
    std::vector<double> factors;
    factors.reserve(4);
    for (unsigned code = 0; code < 4; ++code) {
      factors.push_back(product_signs(kind, code)[static_cast<std::size_t>(term)]);
    }
    weights += torch::tensor(factors, torch::kFloat64).take(codes) * rows[term].unsqueeze(1) *
               inputs[term];
  }
  return weights;
}

arch::CodeValues GroupedCodes::finish() const {
  ONEBIT_CHECK(filled_ == codes_.size(1) && std::ssize(values_.ends) == groups_);
  arch::CodeValues values = values_;
  values.codes = values_of<std::uint8_t>(codes_);
  values.order = values_of<std::int32_t>(order_);
  values.levels = values_of<float>(levels_);
  values.row_scale = values_of<float>(row_scale_);
  values.in_scale = values_of<float>(in_scale_);
  return values;
}

}  // namespace onebit::quant
