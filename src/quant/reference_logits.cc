#include "quant/reference_logits.h"

#include <algorithm>
#include <cmath>
#include <torch/utils.h>
#include <utility>

#include "base/check.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

// Positions whose logits exist at a time: few enough to stay in the last cache through the passes
// over them, enough for the head to be read seldom.
constexpr std::int64_t kSliceRows = 64;

std::vector<double> values_of(const Tensor& column) {
  const Tensor flat = column.to(torch::kFloat64).contiguous();
  const double* data = flat.const_data_ptr<double>();
  return {data, data + flat.numel()};
}

}  // namespace

ReferenceLogits::ReferenceLogits(Tensor hidden, Tensor head, Tensor labels, bool keep)
    : hidden_(std::move(hidden)), head_(std::move(head)), labels_(std::move(labels)) {
  ONEBIT_CHECK(hidden_.dim() == 2 && labels_.dim() == 1 && hidden_.size(0) == labels_.size(0));
  const torch::NoGradGuard no_grad;
  for (std::int64_t begin = 0; begin < hidden_.size(0); begin += kSliceRows) {
    const Tensor logits = logits_of(hidden_, begin);
    Slice& slice = slices_.emplace_back(normalise(logits));
    append_nll(logits, slice, begin, nll_);
    if (keep) slice.logits = logits;
  }
}

Tensor ReferenceLogits::logits_of(const Tensor& hidden, std::int64_t begin) const {
  const std::int64_t rows = std::min(kSliceRows, hidden.size(0) - begin);
  return torch::mm(hidden.narrow(0, begin, rows), head_.t());
}

ReferenceLogits::Slice ReferenceLogits::normalise(const Tensor& logits) {
  Slice slice;
  slice.max = logits.amax(-1, /*keepdim=*/true);
  slice.sum = values_of((logits - slice.max).exp_().sum(-1));
  slice.logsumexp = values_of(slice.max);
  for (std::size_t i = 0; i < slice.sum.size(); ++i) slice.logsumexp[i] += std::log(slice.sum[i]);
  return slice;
}

void ReferenceLogits::append_nll(const Tensor& logits, const Slice& slice, std::int64_t begin,
                                 std::vector<double>& nll) const {
  const Tensor labels = labels_.narrow(0, begin, logits.size(0)).unsqueeze(1);
  const std::vector<double> chosen = values_of(logits.gather(1, labels));
  for (std::size_t i = 0; i < chosen.size(); ++i) nll.push_back(slice.logsumexp[i] - chosen[i]);
}

void ReferenceLogits::compare(const Tensor& hidden, PositionScores& scores) const {
  ONEBIT_CHECK(hidden.sizes() == hidden_.sizes());
  const torch::NoGradGuard no_grad;
  std::int64_t begin = 0;
  for (const Slice& reference : slices_) {
    Tensor other = logits_of(hidden, begin);
    const Slice slice = normalise(other);
    append_nll(other, slice, begin, scores.nll);
    const Tensor logits = reference.logits.defined() ? reference.logits : logits_of(hidden_, begin);
    Tensor terms = (logits - reference.max).exp_();
    terms.mul_(other.neg_().add_(logits));
    const std::vector<double> sums = values_of(terms.sum(-1));
    for (std::size_t i = 0; i < sums.size(); ++i) {
      scores.kl.push_back(sums[i] / reference.sum[i] - reference.logsumexp[i] + slice.logsumexp[i]);
    }
    begin += logits.size(0);
  }
}

}  // namespace onebit::quant
