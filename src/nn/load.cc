#include "nn/load.h"

#include <cstring>
#include <fmt/format.h>
#include <span>
#include <utility>
#include <vector>

#include "arch/folding.h"
#include "base/check.h"
#include "base/error.h"

namespace onebit::nn {
namespace {

using arch::Role;
using torch::Tensor;

Tensor copy_of(const std::vector<float>& values, torch::ScalarType dtype) {
  return torch::tensor(at::ArrayRef<float>(values.data(), values.size())).to(dtype);
}

std::vector<float> values_of(const Tensor& tensor) {
  const Tensor flat = tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
  const float* data = flat.const_data_ptr<float>();
  return {data, data + flat.numel()};
}

/// S as [out, in] of -1 and +1.
Tensor unpack(const formats::Sign1View& sign) {
  Tensor result = torch::empty({sign.rows, sign.cols});
  float* data = result.mutable_data_ptr<float>();
  for (std::int64_t row = 0; row < sign.rows; ++row) {
    formats::sign1_unpack_row(
        {sign.row(row), static_cast<std::size_t>(formats::sign1_row_words(sign.cols))},
        {data + row * sign.cols, static_cast<std::size_t>(sign.cols)});
  }
  return result;
}

/// S [out, in] of -1 and +1 in f32.
std::vector<std::uint64_t> pack(const Tensor& signs) {
  const Tensor sign = signs.to(torch::kCPU).contiguous();
  const std::int64_t rows = sign.size(0);
  const std::int64_t cols = sign.size(1);
  const std::int64_t words = formats::sign1_row_words(cols);
  std::vector<std::uint64_t> packed(static_cast<std::size_t>(rows * words));
  const float* data = sign.const_data_ptr<float>();
  for (std::int64_t row = 0; row < rows; ++row) {
    formats::sign1_pack_row({data + row * cols, static_cast<std::size_t>(cols)},
                            {packed.data() + row * words, static_cast<std::size_t>(words)});
  }
  return packed;
}

}  // namespace

torch::ScalarType master_type(torch::ScalarType compute) {
  return compute == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

Tensor read_dense(const arch::Checkpoint& checkpoint, Role role, std::int64_t layer,
                  torch::ScalarType dtype) {
  const arch::ModelConfig& config = checkpoint.config();
  const arch::TensorSpec* spec = arch::find_tensor(*config.arch, role);
  ONEBIT_CHECK(spec != nullptr);
  Tensor result = torch::empty(arch::shape_of(config, *spec));
  checkpoint.read_f32(role, layer,
                      {result.mutable_data_ptr<float>(), static_cast<std::size_t>(result.numel())});
  checkpoint.release(role, layer);
  return result.to(dtype);
}

FrozenWeights read_frozen(const arch::Checkpoint& checkpoint, torch::ScalarType compute) {
  const torch::ScalarType type = master_type(compute);
  const arch::ModelConfig& config = checkpoint.config();
  FrozenWeights frozen;
  frozen.embedding = read_dense(checkpoint, Role::kTokenEmbedding, -1, type);
  frozen.head =
      config.tied_head ? frozen.embedding : read_dense(checkpoint, Role::kOutput, -1, type);
  frozen.output_norm = read_dense(checkpoint, Role::kOutputNorm, -1, type);
  for (std::int64_t layer = 0; layer < config.layers; ++layer) {
    frozen.attn_norm.push_back(read_dense(checkpoint, Role::kAttnNorm, layer, type));
    frozen.ffn_norm.push_back(read_dense(checkpoint, Role::kFfnNorm, layer, type));
  }
  return frozen;
}

std::unique_ptr<DecoderModel> load_dense(const arch::Checkpoint& checkpoint,
                                         torch::ScalarType compute) {
  return std::make_unique<DecoderModel>(
      checkpoint.config(), read_frozen(checkpoint, compute), compute,
      [&](const arch::TensorSpec& spec, std::int64_t layer) {
        return std::make_unique<DenseLinear>(read_dense(checkpoint, spec.role, layer, compute));
      });
}

Tensor latent_start(const Tensor& w, const Tensor& level, LatentStart start, double scale) {
  const Tensor sign = sign_of(w, w.scalar_type()).mul_(scale);
  if (start == LatentStart::kSign) return sign;
  return torch::where(level > 0, w * scale / level.to(w.scalar_type()), sign);
}

Tensor levels(const Tensor& g, const Tensor& h, const Tensor& tie, std::int64_t in,
              std::int64_t group_size) {
  const torch::NoGradGuard no_grad;
  const Tensor scale = tie.defined() ? g.index_select(0, tie) : g;
  return (group_size > 0 ? spread_groups(h, group_size, in) : h.unsqueeze(1)) * scale;
}

std::unique_ptr<DecoderModel> make_student(const arch::Checkpoint& source,
                                           const FrozenWeights& frozen, torch::ScalarType compute,
                                           OneBitOptions options, const StartOf& start) {
  const torch::ScalarType type = master_type(compute);
  return std::make_unique<DecoderModel>(
      source.config(), frozen, compute, [&](const arch::TensorSpec& spec, std::int64_t layer) {
        OneBitStart begin = start(spec, layer, read_dense(source, spec.role, layer));
        // A g that is of this type already stays the same tensor, for layers that share it.
        begin.latent = begin.latent.to(type);
        begin.g = begin.g.to(type);
        begin.h = begin.h.to(type);
        return std::make_unique<OneBitLinear>(std::move(begin), options);
      });
}

std::unique_ptr<DecoderModel> load_packed(const arch::Checkpoint& packed, torch::ScalarType compute,
                                          SignGradient gradient, double latent_scale) {
  if (!packed.provenance()) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{}: expected a packed 1-bit model, found a full-precision one",
                            packed.path().string()));
  }
  const torch::ScalarType type = master_type(compute);
  const OneBitOptions options{packed.provenance()->form, gradient, packed.provenance()->group_size};
  return std::make_unique<DecoderModel>(
      packed.config(), read_frozen(packed, compute), compute,
      [&](const arch::TensorSpec& spec, std::int64_t layer) -> std::unique_ptr<Linear> {
        const std::optional<arch::OneBitMatrix> matrix = packed.one_bit(spec.role, layer);
        if (!matrix) {
          return std::make_unique<DenseLinear>(read_dense(packed, spec.role, layer, compute));
        }
        OneBitStart start;
        start.latent = unpack(matrix->sign).to(type).mul_(latent_scale);
        if (!matrix->g.empty()) start.g = copy_of(matrix->g, type);
        start.h = copy_of(matrix->h, type);
        if (options.group_size > 0) start.h = start.h.view({matrix->sign.rows, -1});
        return std::make_unique<OneBitLinear>(std::move(start), options);
      });
}

namespace {

/// A student's tensors as a packed file of the form kFoldable holds them: every g inside the tensor
/// that it folds into (arch/folding.h). In other forms they are as they are.
class Folded {
 public:
  explicit Folded(const DecoderModel& student, arch::Form form) : student_(student) {
    if (form == arch::Form::kFoldable) foldings_ = arch::foldings(student.config());
  }

  const OneBitLinear* one_bit(Role role, std::int64_t layer) const {
    return dynamic_cast<const OneBitLinear*>(&student_.linear(role, layer));
  }

  Tensor norm(Role role, std::int64_t layer, const Tensor& weight) const {
    const Tensor factor = factor_into(role, layer);
    return factor.defined() ? weight * factor : weight;
  }

  /// [out] or [out, groups]
  Tensor h(Role role, std::int64_t layer, const Tensor& values) const {
    const Tensor factor = factor_into(role, layer);
    if (!factor.defined()) return values;
    return values * (values.dim() == 2 ? factor.unsqueeze(1) : factor);
  }

 private:
  /// What the tensor is multiplied by; undefined: nothing. The readers share one g, or, where one
  /// of them is not 1-bit, there is none.
  Tensor factor_into(Role target, std::int64_t layer) const {
    const arch::Folding* folding = arch::folding_into(foldings_, target);
    if (folding == nullptr) return {};
    const OneBitLinear* reader = one_bit(folding->readers[0], layer);
    return reader == nullptr ? Tensor() : reader->g().detach();
  }

  const DecoderModel& student_;
  std::vector<arch::Folding> foldings_;
};

}  // namespace

void save_packed(const DecoderModel& student, const arch::Checkpoint& source,
                 const std::filesystem::path& out, const arch::PackOptions& options) {
  const torch::NoGradGuard no_grad;
  arch::PackedWriter writer(out, source, options);
  const Folded folded(student, options.provenance.form);
  const FrozenWeights& frozen = student.frozen();
  for (const auto& [role, layer] : writer.order()) {
    const auto index = static_cast<std::size_t>(layer);  // used by the per-layer roles only
    if (writer.is_one_bit({role, layer})) {
      const OneBitLinear* linear = folded.one_bit(role, layer);
      ONEBIT_CHECK(linear != nullptr && linear->options().form == options.provenance.form &&
                   linear->options().group_size == options.provenance.group_size);
      const bool has_g = options.provenance.form != arch::Form::kFoldable;
      // Files hold no negative h: its sign goes to the weights it scales.
      const Tensor h = folded.h(role, layer, linear->h());
      const Tensor side = sign_of(h, torch::kFloat32);
      const Tensor sides = h.dim() == 1 ? side.unsqueeze(1)
                                        : spread_groups(side, linear->options().group_size,
                                                        linear->latent().size(1));
      const Tensor sign = sign_of(linear->latent(), torch::kFloat32) * sides;
      writer.add_one_bit(role, layer, pack(sign),
                         has_g ? values_of(linear->g()) : std::vector<float>(), values_of(h.abs()));
      continue;
    }
    const Tensor dense = [&] {
      switch (role) {
        case Role::kTokenEmbedding:
          return frozen.embedding;
        case Role::kOutput:
          return frozen.head;
        case Role::kOutputNorm:
          return frozen.output_norm;
        case Role::kAttnNorm:
          return folded.norm(role, layer, frozen.attn_norm.at(index));
        case Role::kFfnNorm:
          return folded.norm(role, layer, frozen.ffn_norm.at(index));
        default: {
          const auto* linear = dynamic_cast<const DenseLinear*>(&student.linear(role, layer));
          ONEBIT_CHECK(linear != nullptr);
          return linear->weight();
        }
      }
    }();
    writer.add_dense(role, layer, values_of(dense));
  }
  writer.finish();
}

}  // namespace onebit::nn
