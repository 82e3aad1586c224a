#include "distill/mixture.h"

#include <algorithm>
#include <charconv>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <optional>
#include <set>
#include <torch/utils.h>
#include <vector>

#include "base/error.h"
#include "base/thread_pool.h"
#include "nn/load.h"
#include "nn/pack.h"
#include "quant/matrix_names.h"
#include "quant/quantize_model.h"

namespace onebit::distill {
namespace {

/// Methods that need nothing but the matrix.
constexpr std::string_view kKeeping[] = {"f16", "bf16", "int8", "rtn"};

bool is_keeping(const quant::Method& method) {
  return std::find(std::begin(kKeeping), std::end(kKeeping), method.name) != std::end(kKeeping);
}

/// Methods that train matrices of several widths, from `least` to kMostBits.
struct Widths {
  StudentMethod method;
  int least;
};
constexpr Widths kWidths[] = {{StudentMethod::kLlmQat, 2}, {StudentMethod::kLowRank, 1}};
constexpr int kMostBits = 8;

/// One word of a recipe's mixture.
struct Choice {
  std::string pattern;
  std::optional<quant::MethodChoice> kept;
  StudentMethod trained = StudentMethod::kOneBit;  ///< where it is not kept,
  int bits = 0;                                    ///< at these bits
};

Choice parse(std::string_view word) {
  const std::size_t equals = std::min(word.find('='), word.size());
  const std::size_t begin = std::min(equals + 1, word.size());
  const std::size_t colon = std::min(word.find(':', begin), word.size());
  const std::string_view name = word.substr(begin, colon - begin);
  for (const Widths& widths : kWidths) {
    if (equals == 0 || name != word_of(widths.method)) continue;
    const std::string_view digits = word.substr(std::min(colon + 1, word.size()));
    int bits = 0;
    const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    const bool number = error == std::errc() && stop == digits.data() + digits.size();
    if (number && bits >= widths.least && bits <= kMostBits) {
      return {std::string(word.substr(0, equals)), std::nullopt, widths.method, bits};
    }
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("'{}': bits of method {}: found '{}', expected {} to {}", word, name,
                            digits, widths.least, kMostBits));
  }
  quant::PatternChoice kept = quant::parse_pattern_choice(word, is_keeping);
  return {std::move(kept.pattern), kept.choice};
}

quant::MethodOptions options_of(const quant::MethodChoice& choice, formats::DType scales) {
  quant::MethodOptions options;
  options.bits = choice.bits;
  options.scales = scales;
  return options;
}

/// A method at work on one matrix of the teacher.
struct Work {
  Work(const arch::Checkpoint& teacher, const quant::MethodChoice& choice, formats::DType scales,
       const arch::TensorId& id) {
    quantizer = choice.method->make(teacher, options_of(choice, scales), pool);
    quantizer->begin_layer(id.layer);
    const torch::Tensor w = nn::read_dense(teacher, id.role, id.layer);
    weights = nn::values_of(w);
    task = {id.role, id.layer, w.size(0), w.size(1), weights};
  }

  ThreadPool pool{1};
  std::unique_ptr<quant::Quantizer> quantizer;
  std::vector<float> weights;
  quant::MatrixTask task{};
};

/// y = x Ŵᵀ.
class KeptLinear final : public nn::StoredLinear {
 public:
  KeptLinear(const arch::Checkpoint& teacher, const quant::MethodChoice& choice,
             formats::DType scales, const arch::TensorId& matrix, nn::Placement placement)
      : teacher_(teacher),
        choice_(choice),
        scales_(scales),
        weights_(fake_weights(matrix)
                     .to(placement.device, nn::master_type(placement.compute))
                     .to(placement.compute)) {}

  torch::Tensor forward(const torch::Tensor& x) override { return weights_.forward(x); }

  void collect(const std::string&, std::vector<nn::Parameter>&) const override {}

  /// Found again: that costs less than to hold it through a run.
  void add_to(arch::PackedWriter& writer, arch::Role role, std::int64_t layer) const override {
    at_work_on({role, layer}, [&](const Work& work) { work.quantizer->add(work.task, writer); });
  }

 private:
  torch::Tensor fake_weights(const arch::TensorId& matrix) const {
    torch::Tensor weights;
    at_work_on(matrix, [&](const Work& work) {
      const quant::FakeQuantized fake = work.quantizer->fake_quantize(work.task);
      weights = torch::tensor(at::ArrayRef<float>(fake.weights)).view(fake.report.shape);
    });
    return weights;
  }

  /// Errors say of which matrix they are.
  template <class Use>
  void at_work_on(const arch::TensorId& matrix, Use&& use) const {
    try {
      use(Work(teacher_, choice_, scales_, matrix));
    } catch (const Error& error) {
      const arch::TensorSpec& spec = *arch::find_tensor(*teacher_.config().arch, matrix.role);
      throw quant::located(error, teacher_, arch::gguf_name(spec, matrix.layer));
    }
  }

  const arch::Checkpoint& teacher_;
  quant::MethodChoice choice_;
  formats::DType scales_;
  nn::DenseLinear weights_;
};

}  // namespace

Mixture::Mixture(const Recipe& recipe, const arch::Checkpoint& teacher)
    : recipe_(recipe), teacher_(teacher) {
  if (recipe.mixture.empty()) return;
  if (recipe.method == StudentMethod::kOneBit && recipe.form == arch::Form::kFoldable) {
    throw Error(ErrorCode::kUnsupported,
                "--override: found 1-bit matrices of the form foldable, whose scales matrices "
                "share, expected the form paper or free");
  }
  std::vector<std::string> patterns;
  std::vector<Choice> choices;
  for (std::size_t begin = 0; begin <= recipe.mixture.size();) {
    const std::size_t end = std::min(recipe.mixture.find(',', begin), recipe.mixture.size());
    try {
      choices.push_back(parse(std::string_view(recipe.mixture).substr(begin, end - begin)));
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("--override: {}", error.what()));
    }
    begin = end + 1;
    const Choice& choice = choices.back();
    patterns.push_back(choice.pattern);
    if (choice.kept || choice.trained == recipe.method) continue;
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("--override: found matrices of method {} in a student of method {}, "
                    "expected one of {}",
                    word_of(choice.trained), word_of(recipe.method), fmt::join(kKeeping, ", ")));
  }
  for (const auto& [id, index] : quant::match_matrices(teacher, patterns, "--override")) {
    const Choice& choice = choices[index];
    if (choice.kept) {
      kept_.emplace(id, *choice.kept);
    } else {
      bits_.emplace(id, choice.bits);
    }
  }
  const auto ids = arch::tensor_ids(teacher.config());
  const bool any_left = std::any_of(ids.begin(), ids.end(), [&](const arch::TensorId& id) {
    return arch::find_tensor(*teacher.config().arch, id.role)->linear && !keeps(id);
  });
  if (any_left) return;
  throw Error(ErrorCode::kUnsupported,
              "--override: found all matrices named, expected some to be trained");
}

void Mixture::require_word(std::string_view word) { parse(word); }

arch::Storage Mixture::storage(const arch::TensorId& matrix, const formats::Shape& shape) const {
  const quant::MethodChoice& choice = kept_.at(matrix);
  ThreadPool pool(1);
  return choice.method->make(teacher_, options_of(choice, recipe_.kept_scales), pool)
      ->storage(matrix, shape);
}

std::unique_ptr<nn::Linear> Mixture::layer(const arch::TensorId& matrix,
                                           torch::Device device) const {
  return std::make_unique<KeptLinear>(teacher_, kept_.at(matrix), recipe_.kept_scales, matrix,
                                      nn::Placement{recipe_.compute, device});
}

Recipe Mixture::recipe_of(const arch::TensorId& matrix) const {
  Recipe recipe = recipe_;
  if (const auto found = bits_.find(matrix); found != bits_.end()) recipe.bits = found->second;
  return recipe;
}

std::string Mixture::method_names() const {
  std::vector<std::string_view> names;
  const std::vector<arch::TensorId> ids = arch::tensor_ids(teacher_.config());
  for (const arch::TensorId& id : std::set<arch::TensorId>(ids.begin(), ids.end())) {
    if (!arch::find_tensor(*teacher_.config().arch, id.role)->linear) continue;
    const auto found = kept_.find(id);
    const std::string_view name =
        found == kept_.end() ? word_of(recipe_.method) : found->second.method->name;
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return fmt::format("{}", fmt::join(names, "+"));
}

}  // namespace onebit::distill
