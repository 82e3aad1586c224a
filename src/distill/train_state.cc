#include "distill/train_state.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <torch/utils.h>

#include "base/atomic_file.h"
#include "base/check.h"
#include "base/error.h"
#include "file/safetensors.h"

namespace onebit::distill {
namespace {

using torch::Tensor;

constexpr const char* kStep = "onebit.step";
constexpr const char* kRateScale = "onebit.rate_scale";
constexpr const char* kRecipe = "onebit.recipe";
constexpr const char* kProcesses = "onebit.processes";
constexpr const char* kStart = "onebit.start";
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
    const std::string& teacher = metadata(kTeacher);
    if (teacher != identity.teacher && teacher != identity.teacher_sha256) {
      fail(
          ErrorCode::kInvalidArgument,
          "the saved run has another teacher, of other weights or another config.json; resume with "
          "the same");
    }
    if (metadata(kData) != identity.data_sha256) {
      fail(ErrorCode::kInvalidArgument,
           "the saved run has other training data; resume with the same");
    }
  }

  /// Of the packed student that the run began with, empty for none; `otherwise` in files of
  /// programs that did not say.
  std::string start(const std::string& otherwise) const {
    const auto found = file_.metadata().find(kStart);
    return found == file_.metadata().end() ? otherwise : found->second;
  }

  void require_start(const std::string& sha256) const {
    const std::string saved = start(sha256);
    if (saved == sha256) return;
    fail(ErrorCode::kInvalidArgument,
         fmt::format("the saved run began {}; resume with the same --start",
                     saved.empty() ? "without a packed student" : "with another packed student"));
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
    Tensor values = torch::empty(into.sizes(), torch::dtype(into.scalar_type()));
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

void set_identity(file::SafetensorsWriter& writer, const RunIdentity& identity, int processes) {
  writer.set_metadata(kRecipe, identity.recipe);
  writer.set_metadata(kProcesses, std::to_string(processes));
  writer.set_metadata(kTeacher, identity.teacher);
  writer.set_metadata(kData, identity.data_sha256);
  writer.set_metadata(kStart, identity.start_sha256);
}

void write(file::SafetensorsWriter& writer, const std::string& name, const Tensor& tensor) {
  const Tensor flat = tensor.detach().to(torch::kCPU).contiguous();
  writer.write(name, {static_cast<const std::byte*>(flat.const_data_ptr()), flat.nbytes()});
}

}  // namespace

std::filesystem::path state_file(const std::filesystem::path& folder) {
  return folder / "state.safetensors";
}

std::filesystem::path block_file(const std::filesystem::path& folder, std::int64_t layer) {
  return folder / "blocks" / fmt::format("{}.safetensors", layer);
}

std::int64_t blocks_saved(const std::filesystem::path& folder) {
  std::int64_t count = 0;
  while (std::filesystem::exists(block_file(folder, count))) ++count;
  return count;
}

void keep_checkpoint(const std::filesystem::path& folder, std::int64_t step, std::int64_t count) {
  const std::filesystem::path kept = folder / "checkpoints";
  const auto name = [](std::int64_t number) { return fmt::format("{}.safetensors", number); };
  try {
    std::filesystem::create_directories(kept);
    copy_atomically(state_file(folder), kept / name(step));
    std::vector<std::int64_t> older;
    std::vector<std::filesystem::path> torn;  // copies of processes that were killed meanwhile
    for (const auto& entry : std::filesystem::directory_iterator(kept)) {
      if (entry.path().extension() != ".safetensors") torn.push_back(kept / entry.path().stem());
      const std::string stem = entry.path().stem().string();
      std::int64_t number = -1;
      const auto [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), number);
      if (error != std::errc{} || end != stem.data() + stem.size() || number == step) continue;
      older.push_back(number);
    }
    // Later ones are of a run that went on from here before.
    std::sort(older.begin(), older.end());
    const auto first_later = std::lower_bound(older.begin(), older.end(), step);
    const auto before = std::distance(older.begin(), first_later);
    for (std::ptrdiff_t i = 0; i < std::ssize(older); ++i) {
      if (i < before - count || i >= before) {
        std::filesystem::remove(kept / name(older[static_cast<std::size_t>(i)]));
      }
    }
    for (const std::filesystem::path& file : torn) remove_abandoned(file);
  } catch (const std::filesystem::filesystem_error& error) {
    throw Error(ErrorCode::kIo, fmt::format("{}: {}", kept.string(), error.code().message()));
  }
}

bool holds_run(const std::filesystem::path& folder) {
  return std::filesystem::exists(state_file(folder)) || blocks_saved(folder) > 0;
}

Recipe saved_recipe(const std::filesystem::path& folder) {
  const bool steps = std::filesystem::exists(state_file(folder));
  const SavedRun saved(steps ? state_file(folder) : block_file(folder, 0));
  const nlohmann::ordered_json object = saved.recipe();
  try {
    return recipe_from_json(object);
  } catch (const Error& error) {
    saved.fail(error.code(), error.what());
  }
}

void save_state(const std::filesystem::path& path, const Adam& optimizer, double rate_scale,
                const RunIdentity& identity) {
  const torch::NoGradGuard no_grad;
  ProcessGroup& group = optimizer.group();
  std::optional<file::SafetensorsWriter> writer;
  if (group.is_first()) {
    writer.emplace(path);
    set_identity(*writer, identity, group.size());
    writer->set_metadata(kRateScale, fmt::format("{}", rate_scale));  // shortest exact form
    writer->set_metadata(kStep, std::to_string(optimizer.steps()));
    for_each_tensor(optimizer,
                    [&](const std::string& name, const Tensor&, const Tensor& like, int) {
                      writer->declare(name, dtype_of(like), like.sizes().vec());
                    });
  }
  for_each_tensor(
      optimizer, [&](const std::string& name, const Tensor& tensor, const Tensor& like, int owner) {
        const Tensor whole = group.to_first(tensor, like, owner);
        if (writer) write(*writer, name, whole);
      });
  if (writer) writer->finish();
}

double load_state(const std::filesystem::path& path, Adam& optimizer, RunIdentity& identity) {
  const torch::NoGradGuard no_grad;
  const SavedRun saved(path);
  saved.check(identity, optimizer.group().size());
  if (identity.start_sha256.empty()) identity.start_sha256 = saved.start("");
  saved.require_start(identity.start_sha256);
  const auto steps = saved.number<std::int64_t>(kStep);
  const auto rate_scale = saved.number<double>(kRateScale);
  for_each_tensor(optimizer,
                  [&](const std::string& name, const Tensor& tensor, const Tensor&, int) {
                    if (tensor.defined()) saved.read(name, tensor);
                  });
  optimizer.set_steps(steps);
  return rate_scale;
}

void save_block(const std::filesystem::path& path, const std::vector<nn::Parameter>& parameters,
                const RunIdentity& identity, int processes) {
  std::error_code error;
  std::filesystem::create_directories(path.parent_path(), error);
  if (error) {
    throw Error(ErrorCode::kIo,
                fmt::format("{}: {}", path.parent_path().string(), error.message()));
  }
  file::SafetensorsWriter writer(path);
  set_identity(writer, identity, processes);
  for (const nn::Parameter& p : parameters) {
    writer.declare(p.name, dtype_of(p.value), p.value.sizes().vec());
  }
  for (const nn::Parameter& p : parameters) write(writer, p.name, p.value);
  writer.finish();
}

void load_block(const std::filesystem::path& path, const std::vector<nn::Parameter>& parameters,
                const RunIdentity& identity, int processes) {
  const torch::NoGradGuard no_grad;
  const SavedRun saved(path);
  saved.check(identity, processes);
  saved.require_start(identity.start_sha256);
  for (const nn::Parameter& p : parameters) saved.read(p.name, p.value);
}

}  // namespace onebit::distill
