// A GGUF file written again with one thing changed: damage, for tests of what its reader says.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "file/gguf.h"

namespace onebit::arch::test_models {

/// Called for each key with its value, and for each tensor with the other three; an emptied name
/// drops the key or tensor.
using GgufChange =
    std::function<void(std::string& key_or_tensor, file::GgufValue* value,
                       std::vector<std::byte>* bytes, formats::Shape* shape, formats::DType* type)>;

inline void rewrite_gguf(const std::filesystem::path& from, const std::filesystem::path& to,
                         const GgufChange& change) {
  const auto good = file::GgufFile::open(from);
  file::GgufWriter writer(to);
  for (auto [key, value] : good.metadata()) {
    change(key, &value, nullptr, nullptr, nullptr);
    if (!key.empty()) writer.set(key, value);
  }
  std::vector<std::pair<std::string, std::vector<std::byte>>> contents;
  for (const file::GgufTensor& tensor : good.tensors()) {
    std::string name = tensor.name;
    formats::Shape shape = tensor.view.shape;
    formats::DType type = tensor.view.dtype;
    std::vector<std::byte> bytes(tensor.view.data.begin(), tensor.view.data.end());
    change(name, nullptr, &bytes, &shape, &type);
    if (name.empty()) continue;
    writer.declare(name, type, shape);
    contents.emplace_back(name, std::move(bytes));
  }
  for (const auto& [name, bytes] : contents) writer.write(name, bytes);
  writer.finish();
}

}  // namespace onebit::arch::test_models
