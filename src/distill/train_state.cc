#include "distill/train_state.h"

#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <torch/utils.h>

#include "base/check.h"
#include "base/error.h"
#include "file/safetensors.h"

namespace onebit::distill {
namespace {

using torch::Tensor;

constexpr const char* kBlocks = "onebit.blocks";
constexpr const char* kStep = "onebit.step";
constexpr const char* kRateScale = "onebit.rate_scale";
constexpr const char* kRecipe = "onebit.recipe";
constexpr const char* kProcesses = "onebit.processes";
constexpr const char* kTeacher = "onebit.teacher";
constexpr const char* kData = "onebit.data";

/// Calls visit(name in the file, tensor, its parameter, owner) for every tensor of the state. The
/// moments that another process owns are undefined; the parameters are everyone's, and written by
/// process 0.
template <class Visit>
void for_each_tensor(const Adam& optimizer, Visit&& visit) {
  for (std::size_t i = 0; i < optimizer.parameters().size(); ++i) {
    const nn::Parameter& parameter = optimizer.parameters()[i];
    const int owner = optimizer.owner(i);
    visit(parameter.name, parameter.value, parameter.value, 0);
    visit(parameter.name + ".adam.first", optimizer.first_moments()[i], parameter.value, owner);
    visit(parameter.name + ".adam.second", optimizer.second_moments()[i], parameter.value, owner);
  }
}

formats::DType dtype_of(const Tensor& tensor) {
  ONEBIT_CHECK(tensor.scalar_type() == torch::kFloat32 || tensor.scalar_type() == torch::kFloat64);
  return tensor.scalar_type() == torch::kFloat32 ? formats::DType::kF32 : formats::DType::kF64;
}

class SavedRun {
 public:
  explicit SavedRun(const std::filesystem::path& path)
      : path_(path), file_(file::SafetensorsFile::open(path)) {}

  const std::string& metadata(const char* key) const {
    const auto found = file_.metadata().find(key);
    if (found == file_.metadata().end()) {
      fail(ErrorCode::kCorrupt, fmt::format("found no {}, expected the state of a run", key));
    }
    return found->second;
  }

  template <class Number>
  Number number(const char* key) const {
    const std::string& text = metadata(key);
    Number value = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc{} || end != text.data() + text.size() || !(value >= 0)) {
      fail(ErrorCode::kCorrupt, fmt::format("{}: found '{}', expected a number", key, text));
    }
    return value;
  }

  nlohmann::ordered_json recipe() const {
    auto object = nlohmann::ordered_json::parse(metadata(kRecipe), nullptr, false);
    if (!object.is_object()) {
      fail(ErrorCode::kCorrupt, fmt::format("{}: found no JSON object", kRecipe));
    }
    return object;
  }

  /// The saved run and this one must be the same.
  void check(const RunIdentity& identity, int processes) const {
    const nlohmann::ordered_json saved = recipe();
    const auto wanted = nlohmann::ordered_json::parse(identity.recipe);
    for (const auto& [key, value] : wanted.items()) {
      const auto found = saved.find(key);
      if (found != saved.end() && *found == value) continue;
      fail(ErrorCode::kInvalidArgument,
           fmt::format("the saved run has {} = {}, found {} now; resume with the same settings, or "
                       "start a new run in another folder",
                       key, found == saved.end() ? "none" : found->dump(), value.dump()));
    }
    if (const std::string& saved_number = metadata(kProcesses);
        saved_number != std::to_string(processes)) {
      fail(ErrorCode::kInvalidArgument,
           fmt::format("the saved run has {} processes, found {} now; resume with as many",
                       saved_number, processes));
    }
    if (metadata(kTeacher) != identity.teacher_sha256) {
      fail(ErrorCode::kInvalidArgument, "the saved run has another teacher; resume with the same");
    }
    if (metadata(kData) != identity.data_sha256) {
      fail(ErrorCode::kInvalidArgument,
           "the saved run has other training data; resume with the same");
    }
  }

  void read(const std::string& name, const Tensor& into) const {
    const file::SafeTensor* found = file_.find(name);
    if (found == nullptr) fail(ErrorCode::kCorrupt, fmt::format("found no tensor {}", name));
    if (found->view.dtype != dtype_of(into) || found->view.shape != into.sizes().vec()) {
      fail(ErrorCode::kCorrupt,
           fmt::format("{}: found shape {} of {}, expected {} of {}", name,
                       formats::to_string(found->view.shape), formats::info(found->view.dtype).name,
                       formats::to_string(into.sizes().vec()), formats::info(dtype_of(into)).name));
    }
    Tensor values = torch::empty(into.sizes(), into.options());
    std::memcpy(values.mutable_data_ptr(), found->view.data.data(), found->view.data.size());
    Tensor(into).copy_(values);
    file_.release(found->view);
  }

  [[noreturn]] void fail(ErrorCode code, const std::string& what) const {
    throw Error(code, fmt::format("{}: {}", path_.string(), what));
  }

 private:
  std::filesystem::path path_;
  file::SafetensorsFile file_;
};

}  // namespace

Recipe saved_recipe(const std::filesystem::path& path) {
  const SavedRun saved(path);
  const nlohmann::ordered_json object = saved.recipe();
  try {
    return recipe_from_json(object);
  } catch (const Error& error) {
    saved.fail(error.code(), error.what());
  }
}

void save_state(const std::filesystem::path& path, const Adam& optimizer,
                const RunProgress& progress, const RunIdentity& identity) {
  const torch::NoGradGuard no_grad;
  ProcessGroup& group = optimizer.group();
  std::optional<file::SafetensorsWriter> writer;
  if (group.is_first()) {
    writer.emplace(path);
    writer->set_metadata(kBlocks, std::to_string(progress.blocks));
    writer->set_metadata(kRateScale,
                         fmt::format("{}", progress.rate_scale));  // shortest exact form
    writer->set_metadata(kStep, std::to_string(optimizer.steps()));
    writer->set_metadata(kRecipe, identity.recipe);
    writer->set_metadata(kProcesses, std::to_string(group.size()));
    writer->set_metadata(kTeacher, identity.teacher_sha256);
    writer->set_metadata(kData, identity.data_sha256);
    for_each_tensor(optimizer,
                    [&](const std::string& name, const Tensor&, const Tensor& like, int) {
                      writer->declare(name, dtype_of(like), like.sizes().vec());
                    });
  }
  for_each_tensor(
      optimizer, [&](const std::string& name, const Tensor& tensor, const Tensor& like, int owner) {
        const Tensor whole = group.to_first(tensor, like, owner);
        if (!writer) return;
        const Tensor flat = whole.detach().to(torch::kCPU).contiguous();
        writer->write(name, {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()});
      });
  if (writer) writer->finish();
}

RunProgress load_state(const std::filesystem::path& path, Adam& optimizer,
                       const RunIdentity& identity) {
  const torch::NoGradGuard no_grad;
  const SavedRun saved(path);
  saved.check(identity, optimizer.group().size());
  const auto steps = saved.number<std::int64_t>(kStep);
  const RunProgress progress{saved.number<std::int64_t>(kBlocks), saved.number<double>(kRateScale)};
  for_each_tensor(optimizer,
                  [&](const std::string& name, const Tensor& tensor, const Tensor&, int) {
                    if (tensor.defined()) saved.read(name, tensor);
                  });
  optimizer.set_steps(steps);
  return progress;
}

}  // namespace onebit::distill
