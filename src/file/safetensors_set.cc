// A model folder's weights: one safetensors file, or several and the index that lists them.
#include <algorithm>
#include <fmt/format.h>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <unordered_set>

#include "base/atomic_file.h"
#include "base/error.h"
#include "file/quote.h"
#include "file/safetensors.h"
#include "file/safetensors_format.h"

namespace onebit::file {
namespace {

using Json = nlohmann::json;

constexpr const char* kSingle = "model.safetensors";
constexpr const char* kIndex = "model.safetensors.index.json";
constexpr int kMaxIndexDepth = 8;  // the index nests twice; metadata may hold a little more

[[noreturn]] void fail(std::string_view where, const std::string& what) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}", where, what));
}

}  // namespace

WeightMap parse_weight_map(std::string_view json, std::string_view where) {
  const auto depth_limit = [&](int depth, Json::parse_event_t, Json&) {
    if (depth > kMaxIndexDepth) {
      fail(where, fmt::format("found JSON nested deeper than {} levels, expected a weight_map",
                              kMaxIndexDepth));
    }
    return true;
  };
  Json index;
  try {
    index = Json::parse(json, depth_limit);
  } catch (const Json::parse_error& error) {
    fail(where, fmt::format("found no valid JSON at byte {}", error.byte));
  } catch (const Json::out_of_range&) {
    fail(where, "found a number that is too large, expected JSON with numbers of 64 bits");
  }
  const auto entry = index.is_object() ? index.find("weight_map") : index.end();
  if (entry == index.end() || !entry->is_object()) {
    fail(where, "weight_map: not found, expected an object of tensor names and files");
  }
  WeightMap files;
  for (const auto& [tensor, file] : entry->items()) {
    const std::string name = file.is_string() ? file.get<std::string>() : std::string();
    // A shard lies beside its index: a path could lead anywhere.
    if (name.empty() || name == "." || name == ".." ||
        name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
      fail(where, fmt::format("weight_map: tensor {}: found {}, expected a file name",
                              in_quotes(tensor), file.is_string() ? in_quotes(name) : "no string"));
    }
    files[name].push_back(tensor);
  }
  if (files.empty()) fail(where, "weight_map: found no tensors, expected some");
  return files;
}

SafetensorsSet SafetensorsSet::open(const std::filesystem::path& folder) {
  SafetensorsSet set;
  const std::filesystem::path index_path = folder / kIndex;
  if (std::filesystem::exists(folder / kSingle)) {
    set.paths_.push_back(folder / kSingle);
    set.shards_.push_back(SafetensorsFile::open(folder / kSingle));
    return set;
  }
  if (!std::filesystem::exists(index_path)) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("{}: found neither {} nor {}", folder.string(), kSingle, kIndex));
  }
  for (const auto& [name, tensors] : parse_weight_map(read_file(index_path), index_path.string())) {
    set.paths_.push_back(folder / name);
    set.shards_.push_back(SafetensorsFile::open(folder / name));
    for (const std::string& tensor : tensors) {
      if (!set.shards_.back().contains(tensor)) {
        fail(index_path.string(), fmt::format("weight_map: tensor {}: not found in {}",
                                              in_quotes(tensor), in_quotes(name)));
      }
    }
  }
  std::unordered_set<std::string_view> seen;
  for (std::size_t i = 0; i < set.shards_.size(); ++i) {
    for (const SafeTensor& tensor : set.shards_[i].tensors()) {
      if (!seen.insert(tensor.name).second) {
        fail(set.paths_[i].string(),
             fmt::format("tensor {}: found in more than one shard, expected in one",
                         in_quotes(tensor.name)));
      }
    }
  }
  return set;
}

const SafeTensor* SafetensorsSet::find(std::string_view name) const {
  for (const SafetensorsFile& shard : shards_) {
    if (const SafeTensor* tensor = shard.find(name)) return tensor;
  }
  return nullptr;
}

void SafetensorsSet::release(const formats::TensorView& view) const noexcept {
  for (const SafetensorsFile& shard : shards_) {
    const auto bytes = shard.bytes();
    const std::byte* begin = bytes.data();
    if (std::less_equal<>()(begin, view.data.data()) &&
        std::less<>()(view.data.data(), begin + bytes.size())) {
      shard.release(view);
      return;
    }
  }
}

}  // namespace onebit::file
