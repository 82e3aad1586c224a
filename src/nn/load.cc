#include "nn/load.h"

#include <cstring>
#include <fmt/format.h>
#include <span>
#include <utility>
#include <vector>

#include "arch/folding.h"
#include "base/check.h"
#include "base/error.h"
#include "nn/pack.h"
#include "nn/ruled_linear.h"

namespace onebit::nn {
namespace {

using arch::Role;
using torch::Tensor;

Tensor copy_of(const std::vector<float>& values, torch::ScalarType dtype) {
  return torch::tensor(at::ArrayRef<float>(values.data(), values.size())).to(dtype);
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

namespace {

/// Reads tensors to where they are wanted.
class Frozen {
 public:
  Frozen(const arch::Checkpoint& checkpoint, Placement placement)
      : checkpoint_(checkpoint), device_(placement.device), type_(master_type(placement.compute)) {}

  void read_ends(FrozenWeights& into) const {
    into.embedding = read(Role::kTokenEmbedding, -1);
    into.head = checkpoint_.config().tied_head ? into.embedding : read(Role::kOutput, -1);
    into.output_norm = read(Role::kOutputNorm, -1);
  }

  /// For a model without ends: what has no rows, but type and device.
  void leave_out_ends(FrozenWeights& into) const {
    into.embedding =
        torch::empty({0, checkpoint_.config().dim}, torch::dtype(type_).device(device_));
    into.head = into.embedding;
  }

  void read_norms(std::int64_t layer, FrozenWeights& into) const {
    const bool are_there = checkpoint_.config().block_norms;
    into.attn_norm.push_back(are_there ? read(Role::kAttnNorm, layer) : Tensor());
    into.ffn_norm.push_back(are_there ? read(Role::kFfnNorm, layer) : Tensor());
  }

 private:
  Tensor read(Role role, std::int64_t layer) const {
    return read_dense(checkpoint_, role, layer, type_).to(device_);
  }

  const arch::Checkpoint& checkpoint_;
  torch::Device device_;
  torch::ScalarType type_;
};

LinearFactory dense_layers(const arch::Checkpoint& checkpoint, Placement placement) {
  return [&checkpoint, placement](const arch::TensorSpec& spec, std::int64_t layer) {
    return std::make_unique<DenseLinear>(
        read_dense(checkpoint, spec.role, layer, placement.compute).to(placement.device));
  };
}

}  // namespace

FrozenWeights read_frozen(const arch::Checkpoint& checkpoint, Placement placement) {
  const Frozen reader(checkpoint, placement);
  FrozenWeights frozen;
  reader.read_ends(frozen);
  for (std::int64_t layer = 0; layer < checkpoint.config().layers; ++layer) {
    reader.read_norms(layer, frozen);
  }
  return frozen;
}

std::unique_ptr<DecoderModel> load_dense(const arch::Checkpoint& checkpoint, Placement placement) {
  return std::make_unique<DecoderModel>(checkpoint.config(), read_frozen(checkpoint, placement),
                                        placement.compute, dense_layers(checkpoint, placement));
}

std::unique_ptr<DecoderModel> load_block(const arch::Checkpoint& checkpoint, Placement placement,
                                         std::int64_t layer) {
  const Frozen reader(checkpoint, placement);
  FrozenWeights frozen;
  reader.leave_out_ends(frozen);
  reader.read_norms(layer, frozen);
  return std::make_unique<DecoderModel>(checkpoint.config(), std::move(frozen), placement.compute,
                                        dense_layers(checkpoint, placement), LayerRange{layer, 1});
}

std::unique_ptr<DecoderModel> load_ends(const arch::Checkpoint& checkpoint, Placement placement) {
  FrozenWeights frozen;
  Frozen(checkpoint, placement).read_ends(frozen);
  return std::make_unique<DecoderModel>(checkpoint.config(), std::move(frozen), placement.compute,
                                        dense_layers(checkpoint, placement), LayerRange{0, 0});
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
  return make_student(source, frozen, compute, options, start, {0, source.config().layers});
}

std::unique_ptr<DecoderModel> make_student(const arch::Checkpoint& source,
                                           const FrozenWeights& frozen, torch::ScalarType compute,
                                           OneBitOptions options, const StartOf& start,
                                           LayerRange range, const LinearFactory& others) {
  const torch::ScalarType type = master_type(compute);
  const torch::Device device = frozen.embedding.device();
  return std::make_unique<DecoderModel>(
      source.config(), frozen, compute,
      [&](const arch::TensorSpec& spec, std::int64_t layer) -> std::unique_ptr<Linear> {
        if (auto other = others ? others(spec, layer) : nullptr) return other;
        OneBitStart begin = start(spec, layer, read_dense(source, spec.role, layer));
        // A g that is of this type and here already stays the same tensor, for layers that share
        // it.
        for (Tensor* t : {&begin.latent, &begin.g, &begin.h}) *t = t->to(device, type);
        if (begin.tie.defined()) begin.tie = begin.tie.to(device);
        return std::make_unique<OneBitLinear>(std::move(begin), options);
      },
      range);
}

OneBitStart packed_start(const arch::Checkpoint& packed, Role role, std::int64_t layer,
                         double latent_scale) {
  const std::optional<arch::OneBitMatrix> matrix = packed.one_bit(role, layer);
  ONEBIT_CHECK(matrix.has_value());
  OneBitStart start;
  start.latent = unpack(matrix->sign).mul_(latent_scale);
  if (!matrix->g.empty()) start.g = copy_of(matrix->g, torch::kFloat32);
  start.h = copy_of(matrix->h, torch::kFloat32);
  if (packed.provenance()->group_size > 0) start.h = start.h.view({matrix->sign.rows, -1});
  return start;
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
  auto model = std::make_unique<DecoderModel>(
      packed.config(), read_frozen(packed, compute), compute,
      [&](const arch::TensorSpec& spec, std::int64_t layer) -> std::unique_ptr<Linear> {
        const auto ruled = [&](std::unique_ptr<Linear> inner) -> std::unique_ptr<Linear> {
          const arch::ActivationRule rule = packed.input_rule(spec.role, layer);
          if (!rule.changes_inputs()) return inner;
          return std::make_unique<RuledLinear>(std::move(inner), rule, packed.config().norm_eps);
        };
        if (!packed.one_bit(spec.role, layer)) {
          return ruled(
              std::make_unique<DenseLinear>(read_dense(packed, spec.role, layer, compute)));
        }
        OneBitStart start = packed_start(packed, spec.role, layer, latent_scale);
        start.latent = start.latent.to(type);
        if (start.g.defined()) start.g = start.g.to(type);
        start.h = start.h.to(type);
        return ruled(std::make_unique<OneBitLinear>(std::move(start), options));
      });
  model->set_attention_hooks(attention_hooks(packed.provenance()->activations));
  return model;
}

namespace {

const OneBitLinear* one_bit(const DecoderModel& student, Role role, std::int64_t layer) {
  return dynamic_cast<const OneBitLinear*>(&student.linear(role, layer));
}

/// A student's tensors as a packed file of the form kFoldable holds them: every g inside the tensor
/// that it folds into (arch/folding.h). In other forms they are as they are.
class Folded {
 public:
  Folded(const arch::ModelConfig& config, arch::Form form) {
    if (form == arch::Form::kFoldable) foldings_ = arch::foldings(config);
  }

  Tensor norm(const DecoderModel& student, Role role, std::int64_t layer) const {
    const Tensor factor = factor_into(student, role, layer);
    const Tensor& weight = student.norm(role, layer);
    return factor.defined() ? weight * factor : weight;
  }

  /// [out] or [out, groups]
  Tensor h(const DecoderModel& student, Role role, std::int64_t layer) const {
    const Tensor factor = factor_into(student, role, layer);
    const Tensor& values = one_bit(student, role, layer)->h();
    if (!factor.defined()) return values;
    return values * (values.dim() == 2 ? factor.unsqueeze(1) : factor);
  }

 private:
  /// What the tensor is multiplied by; undefined: nothing. The readers share one g, or, where one
  /// of them is not 1-bit, there is none.
  Tensor factor_into(const DecoderModel& student, Role target, std::int64_t layer) const {
    const arch::Folding* folding = arch::folding_into(foldings_, target);
    if (folding == nullptr) return {};
    const OneBitLinear* reader = one_bit(student, folding->readers[0], layer);
    return reader == nullptr ? Tensor() : reader->g().detach();
  }

  std::vector<arch::Folding> foldings_;
};

}  // namespace

void save_packed(const DecoderModel& student, const arch::Checkpoint& source,
                 const std::filesystem::path& out, const arch::PackOptions& options) {
  save_packed(
      student, [&](std::int64_t) -> const DecoderModel& { return student; }, source, out, options);
}

void save_packed(const DecoderModel& ends,
                 const std::function<const DecoderModel&(std::int64_t layer)>& block_of,
                 const arch::Checkpoint& source, const std::filesystem::path& out,
                 const arch::PackOptions& options) {
  const torch::NoGradGuard no_grad;
  arch::PackedWriter writer(out, source, options);
  const Folded folded(source.config(), options.provenance.form);
  const DecoderModel* block = nullptr;
  std::int64_t block_layer = -1;
  for (const auto& [role, layer] : writer.order()) {
    if (layer >= 0 && layer != block_layer) {
      block = &block_of(layer);
      block_layer = layer;
    }
    const DecoderModel& student = layer < 0 ? ends : *block;
    if (arch::find_tensor(*source.config().arch, role)->linear) {
      const auto* stored = dynamic_cast<const StoredLinear*>(&student.linear(role, layer));
      if (stored != nullptr) {
        stored->add_to(writer, role, layer);
        continue;
      }
    }
    if (writer.is_one_bit({role, layer})) {
      const OneBitLinear* linear = one_bit(student, role, layer);
      ONEBIT_CHECK(linear != nullptr && linear->options().form == options.provenance.form &&
                   linear->options().group_size == options.provenance.group_size);
      const bool has_g = options.provenance.form != arch::Form::kFoldable;
      // Files hold no negative h: its sign goes to the weights it scales.
      const Tensor h = folded.h(student, role, layer);
      const Tensor side = sign_of(h, torch::kFloat32);
      const Tensor sides = h.dim() == 1 ? side.unsqueeze(1)
                                        : spread_groups(side, linear->options().group_size,
                                                        linear->latent().size(1));
      const Tensor sign = sign_of(linear->latent(), torch::kFloat32) * sides;
      writer.add_one_bit(role, layer, pack_signs(sign),
                         has_g ? values_of(linear->g()) : std::vector<float>(), values_of(h.abs()));
      continue;
    }
    const Tensor dense = [&] {
      switch (role) {
        case Role::kTokenEmbedding:
          return ends.frozen().embedding;
        case Role::kOutput:
          return ends.frozen().head;
        case Role::kOutputNorm:
          return ends.frozen().output_norm;
        case Role::kAttnNorm:
        case Role::kFfnNorm:
          return folded.norm(student, role, layer);
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
