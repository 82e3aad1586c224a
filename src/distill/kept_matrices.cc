#include "distill/kept_matrices.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <set>
#include <string_view>
#include <torch/utils.h>

#include "base/error.h"
#include "base/thread_pool.h"
#include "distill/student_method.h"
#include "nn/activations.h"
#include "nn/load.h"
#include "nn/pack.h"
#include "quant/matrix_names.h"

namespace onebit::distill {
namespace {

constexpr std::string_view kMethods[] = {"f16", "bf16", "int8", "rtn"};

/// A method at work on one matrix of the teacher.
struct Work {
  Work(const arch::Checkpoint& teacher, const quant::MethodChoice& choice,
       const arch::TensorId& matrix)
      : id(matrix) {
    quant::MethodOptions options;
    options.bits = choice.bits;
    quantizer = choice.method->make(teacher, options, pool);
    quantizer->begin_layer(id.layer);
    const torch::Tensor w = nn::read_dense(teacher, id.role, id.layer);
    weights = nn::values_of(w);
    task = {id.role, id.layer, w.size(0), w.size(1), weights};
  }

  arch::TensorId id;
  ThreadPool pool{1};
  std::unique_ptr<quant::Quantizer> quantizer;
  std::vector<float> weights;
  quant::MatrixTask task{};
};

/// y = x Ŵᵀ, of codes with x as the student's rule wants it.
class KeptLinear final : public nn::StoredLinear {
 public:
  KeptLinear(const arch::Checkpoint& teacher, const quant::MethodChoice& choice,
             const arch::TensorId& matrix, const arch::ActivationRule& rule,
             nn::Placement placement)
      : teacher_(teacher),
        choice_(choice),
        rule_(rule),
        weights_(fake_weights(teacher, choice, matrix)
                     .to(placement.device, nn::master_type(placement.compute))
                     .to(placement.compute)) {}

  torch::Tensor forward(const torch::Tensor& x) override {
    return weights_.forward(nn::apply_rule(rule_, teacher_.config().norm_eps, x));
  }

  void collect(const std::string&, std::vector<nn::Parameter>&) const override {}

  /// Found again: that costs less than to hold it through a run.
  void add_to(arch::PackedWriter& writer, arch::Role role, std::int64_t layer) const override {
    const Work work(teacher_, choice_, {role, layer});
    work.quantizer->add(work.task, writer);
  }

 private:
  static torch::Tensor fake_weights(const arch::Checkpoint& teacher,
                                    const quant::MethodChoice& choice,
                                    const arch::TensorId& matrix) {
    const Work work(teacher, choice, matrix);
    const quant::FakeQuantized fake = work.quantizer->fake_quantize(work.task);
    return torch::tensor(at::ArrayRef<float>(fake.weights)).view(fake.report.shape);
  }

  const arch::Checkpoint& teacher_;
  quant::MethodChoice choice_;
  arch::ActivationRule rule_;
  nn::DenseLinear weights_;
};

}  // namespace

KeptMatrices::KeptMatrices(const Recipe& recipe, const arch::Checkpoint& teacher)
    : recipe_(recipe), teacher_(teacher) {
  if (recipe.kept.empty()) return;
  if (recipe.method == StudentMethod::kOneBit && recipe.form == arch::Form::kFoldable) {
    throw Error(ErrorCode::kUnsupported,
                "--override: found 1-bit matrices of the form foldable, whose scales matrices "
                "share, expected the form paper or free");
  }
  std::vector<std::string> patterns;
  std::vector<quant::MethodChoice> choices;
  for (std::size_t begin = 0; begin <= recipe.kept.size();) {
    const std::size_t end = std::min(recipe.kept.find(',', begin), recipe.kept.size());
    const std::string word = recipe.kept.substr(begin, end - begin);
    begin = end + 1;
    try {
      const auto& [pattern, choice] = quant::parse_pattern_choice(word, takes);
      patterns.push_back(pattern);
      choices.push_back(choice);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("--override: {}", error.what()));
    }
  }
  for (const auto& [id, index] : quant::match_matrices(teacher, patterns, "--override")) {
    choices_.emplace(id, choices[index]);
  }
  const auto ids = arch::tensor_ids(teacher.config());
  const bool any_left = std::any_of(ids.begin(), ids.end(), [&](const arch::TensorId& id) {
    return arch::find_tensor(*teacher.config().arch, id.role)->linear && !has(id);
  });
  if (any_left) return;
  throw Error(ErrorCode::kUnsupported,
              "--override: found all matrices named, expected some to be trained");
}

bool KeptMatrices::takes(const quant::Method& method) {
  return std::find(std::begin(kMethods), std::end(kMethods), method.name) != std::end(kMethods);
}

arch::Storage KeptMatrices::storage(const arch::TensorId& matrix,
                                    const formats::Shape& shape) const {
  quant::MethodOptions options;
  const quant::MethodChoice& choice = choices_.at(matrix);
  options.bits = choice.bits;
  ThreadPool pool(1);
  return choice.method->make(teacher_, options, pool)->storage(matrix, shape);
}

std::unique_ptr<nn::Linear> KeptMatrices::layer(const arch::TensorId& matrix,
                                                torch::Device device) const {
  const arch::TensorSpec& spec = *arch::find_tensor(*teacher_.config().arch, matrix.role);
  const bool dense = std::holds_alternative<formats::DType>(
      storage(matrix, arch::shape_of(teacher_.config(), spec)));
  // A file's rule is of all its matrices but dense ones.
  const arch::ActivationRule rule = dense ? arch::ActivationRule{} : activation_rule(recipe_);
  return std::make_unique<KeptLinear>(teacher_, choices_.at(matrix), matrix, rule,
                                      nn::Placement{recipe_.compute, device});
}

std::string KeptMatrices::method_names() const {
  std::vector<std::string_view> names;
  const std::vector<arch::TensorId> ids = arch::tensor_ids(teacher_.config());
  for (const arch::TensorId& id : std::set<arch::TensorId>(ids.begin(), ids.end())) {
    if (!arch::find_tensor(*teacher_.config().arch, id.role)->linear) continue;
    const auto found = choices_.find(id);
    const std::string_view name =
        found == choices_.end() ? word_of(recipe_.method) : found->second.method->name;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return fmt::format("{}", fmt::join(names, "+"));
}

}  // namespace onebit::distill
