// A SentencePiece tokenizer.model through the SentencePiece library: its normaliser and encoder
// (BPE and unigram), and its pieces as data.
#include <algorithm>
#include <exception>
#include <fmt/format.h>
#include <sentencepiece_processor.h>
#include <unordered_set>

#include "base/error.h"
#include "text/hf_config.h"
#include "text/proto_reader.h"
#include "text/quote.h"
#include "text/sentencepiece.h"
#include "text/sentencepiece_base.h"
#include "text/sentencepiece_charsmap.h"

namespace onebit::text {
namespace {

using sentencepiece::SentencePieceProcessor;

/// The parts of sentencepiece_model.proto that the library does not show. Field numbers are the
/// proto's; defaults too.
struct ModelProto {
  enum Type : std::uint64_t { kUnigram = 1, kBpe = 2 };

  std::uint64_t type = kUnigram;  ///< trainer_spec.model_type
  bool space_suffix = false;      ///< trainer_spec.treat_whitespace_as_suffix
  bool space_prefix = true;       ///< normalizer_spec.add_dummy_prefix
  std::vector<TokenType> types;   ///< pieces[].type, which GGUF's numbers repeat
};

[[noreturn]] void corrupt(std::string_view what) {
  throw Error(ErrorCode::kCorrupt, fmt::format("SentencePiece model: {}", what));
}

/// Real pieces have up to some hundred bytes; the library builds its trie recursively, a level a
/// byte.
constexpr std::size_t kLongestPiece = 512;

TokenType read_piece(std::string_view message, std::unordered_set<std::string_view>& seen,
                     std::vector<std::string_view>& user_defined) {
  std::string_view text;
  std::uint64_t type = static_cast<std::uint64_t>(TokenType::kNormal);
  const bool ok = for_each_field(message, [&](const ProtoField& field) {
    if (field.number == 1) text = field.bytes;
    if (field.number == 3) type = field.value;
  });
  if (!ok) corrupt("found a piece cut short");
  // The library does not check these and would end the program later.
  if (text.empty()) corrupt("found an empty piece");
  if (text.size() > kLongestPiece) {
    corrupt(fmt::format("piece {}: found {} bytes, expected at most {}", in_quotes(text),
                        text.size(), kLongestPiece));
  }
  if (text.find('\0') != std::string_view::npos) {
    corrupt(fmt::format("piece {}: found a zero byte", in_quotes(text)));
  }
  if (!seen.insert(text).second) corrupt(fmt::format("found {} twice", in_quotes(text)));
  if (type < 1 || type > 6) {
    corrupt(fmt::format("piece {}: found type {}, expected 1 to 6", in_quotes(text), type));
  }
  if (static_cast<TokenType>(type) == TokenType::kUserDefined) user_defined.push_back(text);
  return static_cast<TokenType>(type);
}

/// The library keeps room for 64 user-defined pieces that begin with each other, and does not
/// check.
void check_prefixes(std::vector<std::string_view> pieces) {
  constexpr std::size_t kMostPrefixes = 64;
  std::sort(pieces.begin(), pieces.end());
  std::vector<std::string_view> chain;
  for (const std::string_view piece : pieces) {
    while (!chain.empty() && !piece.starts_with(chain.back())) chain.pop_back();
    chain.push_back(piece);
    if (chain.size() > kMostPrefixes) {
      corrupt(fmt::format("found more than {} user-defined pieces that begin with each other",
                          kMostPrefixes));
    }
  }
}

ModelProto read_proto(std::string_view model) {
  ModelProto result;
  std::unordered_set<std::string_view> seen;
  std::vector<std::string_view> user_defined;
  const bool ok = for_each_field(model, [&](const ProtoField& field) {
    bool inner = true;
    if (field.number == 1) {
      result.types.push_back(read_piece(field.bytes, seen, user_defined));
    } else if (field.number == 2) {
      inner = for_each_field(field.bytes, [&](const ProtoField& option) {
        if (option.number == 3) result.type = option.value;
        if (option.number == 24) result.space_suffix = option.value != 0;
      });
    } else if (field.number == 3 || field.number == 5) {  // normalizer and denormalizer
      inner = for_each_field(field.bytes, [&](const ProtoField& option) {
        if (option.number == 2) check_charsmap(option.bytes);
        if (field.number == 3 && option.number == 3) result.space_prefix = option.value != 0;
      });
    }
    if (!inner) corrupt(fmt::format("found field {} cut short", field.number));
  });
  if (!ok) corrupt(fmt::format("found {} bytes that are no protobuf message", model.size()));
  check_prefixes(std::move(user_defined));
  return result;
}

struct Model {
  ModelProto proto;
  std::unique_ptr<SentencePieceProcessor> processor;
};

void require_supported(const ModelProto& proto) {
  if (proto.type != ModelProto::kBpe && proto.type != ModelProto::kUnigram) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("SentencePiece model: found model_type {}, expected 1 (unigram) or 2 "
                            "(BPE)",
                            proto.type));
  }
  if (proto.space_suffix) {
    throw Error(ErrorCode::kUnsupported,
                "SentencePiece model: found treat_whitespace_as_suffix, expected spaces as prefix");
  }
}

/// Checks the model before the library sees it.
Model load(std::string_view bytes) {
  Model model = {read_proto(bytes), std::make_unique<SentencePieceProcessor>()};
  require_supported(model.proto);
  std::string wrong;
  try {
    const auto status = model.processor->LoadFromSerializedProto(bytes);
    if (!status.ok()) wrong = status.ToString();
  } catch (const std::exception& error) {  // its trie throws
    wrong = error.what();
  }
  if (!wrong.empty()) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("SentencePiece model of {} bytes: {}", bytes.size(), in_quotes(wrong)));
  }
  const int size = model.processor->GetPieceSize();
  if (static_cast<std::size_t>(size) != model.proto.types.size()) {
    corrupt(fmt::format("found {} pieces, expected {}", size, model.proto.types.size()));
  }
  return model;
}

class SentencePieceLibrary final : public SentencePieceBase {
 public:
  explicit SentencePieceLibrary(TokenizerData data)
      : SentencePieceBase(data), processor_(load(data.sentencepiece_model).processor) {
    // Added tokens, which the library never sees, and rows of the model that no token uses.
    bool fits = vocab_size() >= processor_->GetPieceSize();
    for (auto id = processor_->GetPieceSize(); id < vocab_size(); ++id) {
      fits = fits && (type(id) == TokenType::kUnused || type(id) == TokenType::kControl ||
                      type(id) == TokenType::kUserDefined);
    }
    if (!fits) {
      throw Error(ErrorCode::kCorrupt,
                  fmt::format("tokenizer: found {} tokens beside a SentencePiece model of {}, "
                              "expected as many, or unused and added ones after them",
                              vocab_size(), processor_->GetPieceSize()));
    }
    build_pieces();
  }

 private:
  void encode_segment(std::string_view segment, SegmentPlace,
                      std::vector<TokenId>& ids) const override {
    std::vector<int> segment_ids;
    const auto status = processor_->Encode(segment, &segment_ids);
    if (!status.ok()) {
      throw Error(ErrorCode::kResource, fmt::format("SentencePiece on {} bytes of text: {}",
                                                    segment.size(), in_quotes(status.ToString())));
    }
    ids.insert(ids.end(), segment_ids.begin(), segment_ids.end());
  }

  std::unique_ptr<SentencePieceProcessor> processor_;
};

}  // namespace

TokenizerData parse_sentencepiece(std::string_view model, const HfOptions& options) {
  const auto [proto, processor] = load(model);
  TokenizerData data;
  data.model = proto.type == ModelProto::kBpe ? "llama" : "t5";
  for (int id = 0; id < processor->GetPieceSize(); ++id) {
    data.tokens.push_back(processor->IdToPiece(id));
    data.scores.push_back(processor->GetScore(id));
  }
  data.types = proto.types;
  data.bos = processor->bos_id();
  data.eos = processor->eos_id();
  // Who trains a causal model on such a vocabulary begins texts with BOS, as Llama does; the model
  // file itself has no say on it.
  data.add_bos = data.bos >= 0;
  data.add_space_prefix = proto.space_prefix;
  data.sentencepiece_model = model;
  apply_hf_options(options, data);
  data.unk = processor->unk_id();  // whatever the options call so, this is what the library emits
  return data;
}

std::unique_ptr<Tokenizer> make_sentencepiece_library(TokenizerData data) {
  return std::make_unique<SentencePieceLibrary>(std::move(data));
}

}  // namespace onebit::text
