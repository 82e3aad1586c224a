#include "quant/gptq_solver.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <torch/types.h>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/interruption.h"
#include "quant/second_moment.h"

namespace onebit::quant {
namespace {

using torch::Tensor;

class Solver {
 public:
  Solver(Tensor w, const Tensor& h, const GptqOptions& options, ThreadPool& pool)
      : options_(options), pool_(pool), out_(w.size(0)), in_(w.size(1)) {
    const Tensor diagonal = h.diagonal().clone();
    drop_dead_columns(w, diagonal);
    order_ = torch::arange(in_, torch::kInt64);
    if (options.act_order) {
      order_ = std::get<1>(diagonal.sort(/*stable=*/true, /*dim=*/0, /*descending=*/true));
    }
    ends_ = arch::group_ends(in_, options.group_size);
    assign_groups();
    const auto grids = static_cast<std::size_t>(out_) * ends_.size();
    grids_.resize(grids);
    if (fixed()) take_fixed_grids(w);
    w_ = options.act_order ? w.index_select(1, order_) : std::move(w);
    Tensor moment = options.act_order ? permuted(h, order_) : h.clone();
    moment.diagonal().copy_(diagonal.index_select(0, order_));
    factor_ = inverse_factor(std::move(moment), options.damping);
    codes_.resize(static_cast<std::size_t>(out_ * in_));
  }

  arch::CodeValues run(const std::stop_token& stop) {
    std::vector<std::vector<double>> buffers(static_cast<std::size_t>(pool_.threads()));
    for (auto& buffer : buffers) buffer.resize(static_cast<std::size_t>(options_.block));
    for (std::int64_t begin = 0; begin < in_; begin += options_.block) {
      throw_if_stopped(stop);
      const std::int64_t end = std::min(begin + options_.block, in_);
      const Tensor errors = torch::empty({out_, end - begin}, torch::kFloat64);
      pool_.parallel_for(out_, 4, [&](std::int64_t first, std::int64_t last, int part) {
        std::vector<double>& current = buffers[static_cast<std::size_t>(part)];
        for (std::int64_t r = first; r < last; ++r) {
          round_row(r, begin, end, current, errors.data_ptr<double>() + r * (end - begin));
        }
      });
      if (end < in_) {
        w_.narrow(1, end, in_ - end)
            .sub_(errors.matmul(factor_.narrow(0, begin, end - begin).narrow(1, end, in_ - end)));
      }
    }
    return result();
  }

 private:
  bool fixed() const { return options_.static_groups || options_.group_size == 0; }

  /// The group of each place in the order of rounding.
  void assign_groups() {
    const std::int64_t* order = order_.data_ptr<std::int64_t>();
    const std::int64_t size = options_.group_size > 0 ? options_.group_size : in_;
    group_of_.resize(static_cast<std::size_t>(in_));
    for (std::int64_t i = 0; i < in_; ++i) {
      group_of_[static_cast<std::size_t>(i)] = (options_.static_groups ? order[i] : i) / size;
    }
  }

  Grid& grid(std::int64_t row, std::int64_t group) {
    return grids_[static_cast<std::size_t>(row) * ends_.size() + static_cast<std::size_t>(group)];
  }

  /// From the weights in their own order.
  void take_fixed_grids(const Tensor& w) {
    const double* values = w.data_ptr<double>();
    pool_.parallel_for(out_, 4, [&](std::int64_t first, std::int64_t last, int) {
      for (std::int64_t r = first; r < last; ++r) {
        std::int64_t begin = 0;
        for (std::size_t s = 0; s < ends_.size(); ++s) {
          const std::int64_t end = ends_[s];
          grid(r, static_cast<std::int64_t>(s)) = fit_grid(
              {values + r * in_ + begin, static_cast<std::size_t>(end - begin)}, options_.grid);
          begin = end;
        }
      }
    });
  }

  void round_row(std::int64_t r, std::int64_t begin, std::int64_t end, std::vector<double>& current,
                 double* errors) {
    const double* row = w_.data_ptr<double>() + r * in_;
    const double* factor = factor_.data_ptr<double>();
    std::copy(row + begin, row + end, current.begin());
    for (std::int64_t i = begin; i < end; ++i) {
      const std::int64_t group = group_of_[static_cast<std::size_t>(i)];
      if (!fixed() && i % options_.group_size == 0) {
        const std::int64_t size = std::min(options_.group_size, in_ - i);
        grid(r, group) =
            fit_grid(std::span(row + i, static_cast<std::size_t>(size)), options_.grid);
      }
      const Grid& g = grid(r, group);
      const double value = current[static_cast<std::size_t>(i - begin)];
      const std::uint8_t code = encode(value, g, options_.grid);
      codes_[static_cast<std::size_t>(r * in_ + i)] = code;
      const double error = (value - decode(code, g)) / factor[i * in_ + i];
      errors[i - begin] = error;
      for (std::int64_t k = i + 1; k < end; ++k) {
        current[static_cast<std::size_t>(k - begin)] -= error * factor[i * in_ + k];
      }
    }
  }

  arch::CodeValues result() {
    arch::CodeValues values;
    values.ends = ends_;
    for (const Grid& g : grids_) {
      values.scale.push_back(static_cast<float>(g.scale));
      if (!options_.grid.symmetric) values.zero.push_back(static_cast<float>(g.zero));
    }
    const std::int64_t* order = order_.data_ptr<std::int64_t>();
    if (options_.ordered()) {
      values.codes = std::move(codes_);
      values.order.assign(order, order + in_);
      return values;
    }
    values.codes.resize(codes_.size());
    for (std::int64_t r = 0; r < out_; ++r) {
      for (std::int64_t i = 0; i < in_; ++i) {
        values.codes[static_cast<std::size_t>(r * in_ + order[i])] =
            codes_[static_cast<std::size_t>(r * in_ + i)];
      }
    }
    return values;
  }

  GptqOptions options_;
  ThreadPool& pool_;
  std::int64_t out_;
  std::int64_t in_;
  Tensor order_;   ///< i64 [in]: the column that is rounded at each place
  Tensor w_;       ///< f64 [out, in] in that order, compensated as far as the blocks went
  Tensor factor_;  ///< U, f64 [in, in]
  std::vector<std::int32_t> ends_;
  std::vector<std::int64_t> group_of_;
  std::vector<Grid> grids_;          ///< [out, groups]
  std::vector<std::uint8_t> codes_;  ///< [out, in] in the order of rounding
};

}  // namespace

arch::CodeValues gptq(std::span<const float> w, std::int64_t out, std::int64_t in, const Tensor& h,
                      const GptqOptions& options, ThreadPool& pool, const std::stop_token& stop) {
  ONEBIT_CHECK(std::ssize(w) == out * in && h.sizes() == torch::IntArrayRef({in, in}));
  ONEBIT_CHECK(options.block > 0 && h.scalar_type() == torch::kFloat64);
  Tensor weights =
      torch::tensor(at::ArrayRef<float>(w.data(), w.size())).view({out, in}).to(torch::kFloat64);
  return Solver(std::move(weights), h, options, pool).run(stop);
}

}  // namespace onebit::quant
