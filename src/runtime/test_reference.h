// The forward pass of a Llama model in float64, token by token and straight from the equations, for
// tests of the fast one. Only *_test.cc files include this.
#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "arch/checkpoint.h"
#include "formats/sign1.h"

namespace onebit::testing {

class ReferenceModel {
 public:
  using Vector = std::vector<double>;

  explicit ReferenceModel(const arch::Checkpoint& checkpoint)
      : config_(checkpoint.config()), frequencies_(arch::rope_frequencies(config_)) {
    for (const arch::TensorId& id : arch::tensor_ids(config_)) {
      matrices_.emplace(id, read(checkpoint, id));
    }
    keys_.resize(static_cast<std::size_t>(config_.layers * config_.kv_heads));
    values_.resize(keys_.size());
  }

  /// The logits that follow `token`, after all tokens given before.
  Vector next(std::int32_t token) {
    const Vector embedding = row(arch::Role::kTokenEmbedding, token);
    Vector x = embedding;
    for (std::int64_t i = 0; i < config_.layers; ++i) {
      add(apply(arch::Role::kAttnOut, i, attend(i, rms_norm(arch::Role::kAttnNorm, i, x))), x);
      const Vector normed = rms_norm(arch::Role::kFfnNorm, i, x);
      Vector gate = apply(arch::Role::kFfnGate, i, normed);
      const Vector up = apply(arch::Role::kFfnUp, i, normed);
      for (std::size_t c = 0; c < gate.size(); ++c) gate[c] *= up[c] / (1 + std::exp(-gate[c]));
      add(apply(arch::Role::kFfnDown, i, gate), x);
    }
    ++position_;
    return apply(config_.tied_head ? arch::Role::kTokenEmbedding : arch::Role::kOutput, -1,
                 rms_norm(arch::Role::kOutputNorm, -1, x));
  }

 private:
  /// W [rows, cols]; or S with its scales, and a LayerNorm behind it in the paper's form.
  struct Matrix {
    std::int64_t cols;
    Vector w;
    Vector g;  ///< empty for a dense matrix
    Vector h;
    bool output_norm = false;
    std::int64_t group_size = 0;
  };

  Matrix read(const arch::Checkpoint& checkpoint, const arch::TensorId& id) const {
    const formats::Shape shape =
        arch::shape_of(config_, *arch::find_tensor(*config_.arch, id.role));
    std::vector<float> values(*formats::element_count(shape));
    if (const auto matrix = checkpoint.one_bit(id.role, id.layer)) {
      const auto cols = static_cast<std::size_t>(matrix->sign.cols);
      for (std::int64_t r = 0; r < matrix->sign.rows; ++r) {
        formats::sign1_unpack_row(
            {matrix->sign.row(r),
             static_cast<std::size_t>(formats::sign1_row_words(matrix->sign.cols))},
            std::span(values).subspan(static_cast<std::size_t>(r) * cols, cols));
      }
      return {matrix->sign.cols,
              Vector(values.begin(), values.end()),
              Vector(matrix->g.begin(), matrix->g.end()),
              Vector(matrix->h.begin(), matrix->h.end()),
              checkpoint.provenance()->form == arch::Form::kPaper,
              matrix->group_size};
    }
    checkpoint.read_f32(id.role, id.layer, values);
    return {shape.back(), Vector(values.begin(), values.end()), {}, {}};
  }

  Vector row(arch::Role role, std::int64_t r) const {
    const Matrix& m = matrices_.at({role, -1});
    return {m.w.begin() + r * m.cols, m.w.begin() + (r + 1) * m.cols};
  }

  Vector apply(arch::Role role, std::int64_t layer, Vector x) const {
    const Matrix& m = matrices_.at({role, layer});
    for (std::size_t c = 0; c < m.g.size(); ++c) x[c] *= m.g[c];
    Vector y(m.w.size() / x.size());
    for (std::size_t r = 0; r < y.size(); ++r) {
      const std::size_t groups = m.h.size() / y.size();
      for (std::size_t c = 0; c < x.size(); ++c) {
        const std::size_t group = m.group_size > 0 ? c / static_cast<std::size_t>(m.group_size) : 0;
        const double h = m.h.empty() ? 1 : m.h[r * groups + group];
        y[r] += h * m.w[r * x.size() + c] * x[c];
      }
    }
    if (m.output_norm) layer_norm(y);
    return y;
  }

  static void layer_norm(Vector& y) {
    double mean = 0;
    double variance = 0;
    const auto n = static_cast<double>(y.size());
    for (const double v : y) mean += v / n;
    for (const double v : y) variance += (v - mean) * (v - mean) / n;
    for (double& v : y) v = (v - mean) / std::sqrt(variance + arch::kOutputNormEps);
  }

  Vector rms_norm(arch::Role role, std::int64_t layer, const Vector& x) const {
    double mean = 0;
    for (const double v : x) mean += v * v / static_cast<double>(x.size());
    Vector y = matrices_.at({role, layer}).w;
    for (std::size_t c = 0; c < x.size(); ++c) y[c] *= x[c] / std::sqrt(mean + config_.norm_eps);
    return y;
  }

  /// One head of `x`, its pairs turned by the position.
  Vector rotated(const Vector& x, std::int64_t head) const {
    const auto size = static_cast<std::size_t>(config_.head_dim);
    const auto begin = x.begin() + head * config_.head_dim;
    Vector y(begin, begin + config_.head_dim);
    for (std::size_t i = 0; i < size / 2; ++i) {
      const bool neighbours = config_.arch->gguf_rope == arch::RopePairs::kNeighbours;
      double& a = y[neighbours ? 2 * i : i];
      double& b = y[neighbours ? 2 * i + 1 : i + size / 2];
      const double angle = static_cast<double>(position_) * static_cast<double>(frequencies_[i]);
      const double old = a;
      a = old * std::cos(angle) - b * std::sin(angle);
      b = b * std::cos(angle) + old * std::sin(angle);
    }
    return y;
  }

  Vector attend(std::int64_t layer, const Vector& x) {
    const Vector q = apply(arch::Role::kAttnQ, layer, x);
    const Vector k = apply(arch::Role::kAttnK, layer, x);
    const Vector v = apply(arch::Role::kAttnV, layer, x);
    const auto slot = [&](std::int64_t kv_head) {
      return static_cast<std::size_t>(layer * config_.kv_heads + kv_head);
    };
    for (std::int64_t head = 0; head < config_.kv_heads; ++head) {
      keys_[slot(head)].push_back(rotated(k, head));
      const auto begin = v.begin() + head * config_.head_dim;
      values_[slot(head)].emplace_back(begin, begin + config_.head_dim);
    }
    Vector result;
    for (std::int64_t head = 0; head < config_.heads; ++head) {
      const std::size_t at = slot(head * config_.kv_heads / config_.heads);
      const Vector query = rotated(q, head);
      Vector weights;
      double total = 0;
      for (const Vector& key : keys_[at]) {
        double score = 0;
        for (std::size_t c = 0; c < key.size(); ++c) score += query[c] * key[c];
        total += weights.emplace_back(
            std::exp(score / std::sqrt(static_cast<double>(config_.head_dim))));
      }
      Vector out(query.size());
      for (std::size_t p = 0; p < weights.size(); ++p) {
        for (std::size_t c = 0; c < out.size(); ++c) {
          out[c] += weights[p] / total * values_[at][p][c];
        }
      }
      result.insert(result.end(), out.begin(), out.end());
    }
    return result;
  }

  static void add(const Vector& x, Vector& y) {
    for (std::size_t i = 0; i < x.size(); ++i) y[i] += x[i];
  }

  arch::ModelConfig config_;
  std::vector<float> frequencies_;
  std::map<arch::TensorId, Matrix> matrices_;
  std::vector<std::vector<Vector>> keys_;  ///< per layer and key/value head, a vector a position
  std::vector<std::vector<Vector>> values_;
  std::int64_t position_ = 0;
};

}  // namespace onebit::testing
