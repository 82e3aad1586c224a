// A Hugging Face model folder as a checkpoint: config.json, safetensors, tokenizer files.
#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <set>

#include "arch/checkpoint_impl.h"
#include "arch/gguf_config.h"
#include "arch/gguf_tokenizer.h"
#include "arch/hf_config.h"
#include "arch/packed_format.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "file/quote.h"
#include "file/safetensors.h"

namespace onebit::arch {
namespace {

using Json = nlohmann::json;

class HfCheckpoint final : public Checkpoint::Impl {
 public:
  explicit HfCheckpoint(const std::filesystem::path& folder) {
    path = folder;
    // A trailing slash leaves filename() empty; "." and ".." name nothing.
    name = std::filesystem::weakly_canonical(folder).filename().string();
    const std::filesystem::path config_path = folder / "config.json";
    settings = read_file(config_path);
    config = parse_hf_config(settings, config_path.string());
    weights_ = file::SafetensorsSet::open(folder);
    for (const TensorId& id : tensor_ids(config)) tensors.emplace(id, find_stored(id));
    check_no_others();
  }

  void release(const formats::TensorView& view) const override { weights_.release(view); }

  std::vector<std::span<const std::byte>> weight_files() const override {
    std::vector<std::size_t> order(weights_.files().size());
    for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::sort(order.begin(), order.end(), [this](std::size_t a, std::size_t b) {
      return weights_.files()[a].filename() < weights_.files()[b].filename();
    });
    std::vector<std::span<const std::byte>> result;
    result.reserve(order.size());
    for (const std::size_t i : order) result.push_back(weights_.shards()[i].bytes());
    return result;
  }

  std::optional<text::TokenizerData> tokenizer_data() const override {
    const std::string options = read_if_there("tokenizer_config.json");
    if (has("tokenizer.json")) {
      return text::parse_tokenizer_json(read_file(path / "tokenizer.json"), options);
    }
    const std::string added = read_if_there("added_tokens.json");
    const std::string special = read_if_there("special_tokens_map.json");
    const text::HfOptions hf = {options, added, special};
    if (has("tokenizer.model")) return tokenizer_model(hf);
    if (has("vocab.json") && has("merges.txt")) {
      return text::parse_vocab_merges(read_file(path / "vocab.json"),
                                      read_file(path / "merges.txt"), hf);
    }
    return std::nullopt;
  }

  std::string chat_template() const override {
    if (has("chat_template.jinja")) return read_file(path / "chat_template.jinja");
    const Json json = tokenizer_config();
    const auto it = json.find("chat_template");
    if (it == json.end() || it->is_null()) return "";
    if (it->is_string()) return it->get<std::string>();
    // Older folders name several templates; the one called "default" is for chat.
    if (it->is_array()) {
      for (const Json& entry : *it) {
        if (entry.is_object() && entry.value("name", Json()) == "default" &&
            entry.value("template", Json()).is_string()) {
          return entry["template"].get<std::string>();
        }
      }
    }
    throw Error(ErrorCode::kUnsupported,
                fmt::format("{}: chat_template: found {}, expected a string or a list with one "
                            "named 'default'",
                            (path / "tokenizer_config.json").string(), it->type_name()));
  }

  Metadata metadata() const override {
    Metadata result = config_to_gguf(config);
    result.insert(result.begin() + 1,
                  {{"general.type", {std::string("model")}}, {"general.name", {name}}});
    if (auto data = tokenizer_data()) {
      pad_tokens(*data, config.vocab);
      for (auto& entry : tokenizer_to_gguf(*data)) result.push_back(std::move(entry));
      if (std::string source = chat_template(); !source.empty()) {
        result.emplace_back(kChatTemplateKey, file::GgufValue{std::move(source)});
      }
    }
    return result;
  }

 private:
  bool has(const char* file) const {
    std::error_code ignored;
    return std::filesystem::exists(path / file, ignored);
  }

  std::string read_if_there(const char* file) const {
    return has(file) ? read_file(path / file) : std::string();
  }

  /// A tokenizer.model is SentencePiece's, or a list of BPE ranks in Llama 3's own folders.
  text::TokenizerData tokenizer_model(const text::HfOptions& options) const {
    constexpr char kFirstPieceTag = 0x0A;  // protobuf: field 1 of ModelProto, length-delimited
    const std::string bytes = read_file(path / "tokenizer.model");
    if (!bytes.starts_with(kFirstPieceTag)) return text::parse_tiktoken(bytes);
    return text::parse_sentencepiece(bytes, options);
  }

  Json tokenizer_config() const {
    const std::string text = read_if_there("tokenizer_config.json");
    if (text.empty()) return Json::object();
    Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object()) {
      throw Error(ErrorCode::kCorrupt, fmt::format("{}: found text that is not a JSON object",
                                                   (path / "tokenizer_config.json").string()));
    }
    return json;
  }

  StoredTensor find_stored(const TensorId& id) const {
    const TensorSpec& spec = *find_tensor(*config.arch, id.role);
    const std::string tensor_name = hf_name(spec, id.layer) + std::string(kWeightSuffix);
    const formats::Shape shape = shape_of(config, spec);
    const file::SafeTensor* tensor = weights_.find(tensor_name);
    if (tensor == nullptr) {
      throw Error(ErrorCode::kNotFound,
                  fmt::format("{}: tensor {} is absent, expected with shape {}", path.string(),
                              tensor_name, formats::to_string(shape)));
    }
    check_shape(path.string(), tensor_name, tensor->view.shape, shape);
    const bool permute = is_rotary(id.role) && config.arch->gguf_rope == RopePairs::kNeighbours;
    StoredTensor result;
    result.dense = Checkpoint::Stored{tensor->view, permute};
    return result;
  }

  /// A tensor that the architecture does not know (a bias, a second norm) would change results.
  void check_no_others() const {
    std::set<std::string, std::less<>> known;
    for (const auto& [id, stored] : tensors) {
      known.insert(hf_name(*find_tensor(*config.arch, id.role), id.layer) +
                   std::string(kWeightSuffix));
    }
    // A tied head may be stored twice.
    known.insert(std::string(find_tensor(*config.arch, Role::kOutput)->hf) +
                 std::string(kWeightSuffix));
    for (const file::SafetensorsFile& shard : weights_.shards()) {
      for (const file::SafeTensor& tensor : shard.tensors()) {
        // Rotary frequencies that old checkpoints repeat; they follow from config.json.
        if (tensor.name.ends_with(".rotary_emb.inv_freq")) continue;
        if (known.contains(tensor.name)) continue;
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("{}: found tensor {}, which architecture {} with {} layers does "
                                "not have",
                                path.string(), file::in_quotes(tensor.name), config.arch->name,
                                config.layers));
      }
    }
  }

  file::SafetensorsSet weights_;
};

}  // namespace

std::unique_ptr<Checkpoint::Impl> open_hf(const std::filesystem::path& folder) {
  return std::make_unique<HfCheckpoint>(folder);
}

}  // namespace onebit::arch
