// Tokenizers small enough to work out by hand, and everything that is refused. Real ones are
// compared with their references in arch/tokenizer_golden_test.cc.
#include "text/tokenizer.h"

#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>

#include "base/error.h"

namespace onebit::text {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Ids = std::vector<TokenId>;

/// Ids 0 to 9 in GPT-2's alphabet: U+0120 is a space, U+00C3 U+00A9 the bytes of é.
TokenizerData byte_level() {
  TokenizerData data;
  data.model = "gpt2";
  data.pre = "gpt-2";
  data.tokens = {"a",      "b",      "\u0120", "ab",         "\u0120ab",
                 "\u00C3", "\u00A9", "<s>",    "<|im_end|>", "aa"};
  data.types.assign(10, TokenType::kNormal);
  data.types[7] = data.types[8] = TokenType::kControl;
  data.merges = {"a b", "\u0120 ab", "a a"};
  data.bos = 7;
  return data;
}

/// Ids 0 to 9; without byte tokens. The unused piece "ab" only leads to "abc".
TokenizerData sentencepiece() {
  TokenizerData data;
  data.model = "llama";
  data.tokens = {"<unk>", "<s>", "</s>", "\u2581", "a", "b", "c", "ab", "abc", "\u2581a"};
  data.types.assign(10, TokenType::kNormal);
  data.types[0] = TokenType::kUnknown;
  data.types[1] = data.types[2] = TokenType::kControl;
  data.types[7] = TokenType::kUnused;
  data.scores = {0, 0, 0, -9, -9, -9, -9, -1, -2, -3};
  data.bos = 1;
  data.eos = 2;
  data.unk = 0;
  return data;
}

Ids encode(const TokenizerData& data, std::string_view text, bool add = false,
           bool special = false) {
  return make_tokenizer(data)->encode(text, {.add_special = add, .parse_special = special});
}

void expect_error(ErrorCode code, const std::string& message, const std::function<void()>& act) {
  try {
    act();
    ADD_FAILURE() << "no error; expected " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

TEST(ByteBpe, MergesInsideWordsByRank) {
  EXPECT_THAT(encode(byte_level(), ""), IsEmpty());
  EXPECT_THAT(encode(byte_level(), "ab ab"), ElementsAre(3, 4));
  // "a b" comes before "a a", and among equals the leftmost is first.
  EXPECT_THAT(encode(byte_level(), "aab"), ElementsAre(0, 3));
  EXPECT_THAT(encode(byte_level(), "aaa"), ElementsAre(9, 0));
  // The space belongs to the word after it, so that no merge sees "b" and the space together.
  EXPECT_THAT(encode(byte_level(), "b  b"), ElementsAre(1, 2, 2, 1));
}

TEST(ByteBpe, BytesWithoutATokenAreLost) {
  EXPECT_THAT(encode(byte_level(), "a\u00E9z\n"), ElementsAre(0, 5, 6));
  // Half a character is U+FFFD, none of whose bytes this vocabulary has.
  EXPECT_THAT(encode(byte_level(), "\xC3"), ElementsAre(5));
  EXPECT_THAT(encode(byte_level(), "\xFF"), IsEmpty());
}

TEST(ByteBpe, NfcComposes) {
  TokenizerData data = byte_level();
  data.tokens.emplace_back("e");
  data.types.push_back(TokenType::kNormal);
  EXPECT_THAT(encode(data, "e\u0301"), ElementsAre(10));
  data.nfc = true;
  EXPECT_THAT(encode(data, "e\u0301"), ElementsAre(5, 6));
}

TEST(ByteBpe, IgnoreMergesTakesWholeWords) {
  TokenizerData data = byte_level();
  data.tokens.emplace_back("abb");
  data.types.push_back(TokenType::kNormal);
  EXPECT_THAT(encode(data, "abb"), ElementsAre(3, 1));
  data.ignore_merges = true;
  EXPECT_THAT(encode(data, "abb"), ElementsAre(10));
}

/// Each match stays below PCRE2's limit (compiled; interpreted, it counts more), but there are
/// many.
TEST(ByteBpe, ExpressionsMayNotTakeForEver) {
  TokenizerData data = byte_level();
  data.split_regexes = {"a*a*a*a*b|a"};
  std::string text;
  for (int line = 0; line < 300; ++line) text += std::string(300, 'a') + '\n';
  EXPECT_EQ(encode(data, text.substr(0, 30)).size(), 30U);
  expect_error(ErrorCode::kResource, "90300 bytes of text: ", [&] { encode(data, text); });
}

TEST(ByteBpe, ControlTokensOnlyWhereAskedFor) {
  const auto tokenizer = make_tokenizer(byte_level());
  const Ids ids = tokenizer->encode("a<|im_end|>b", {.add_special = false, .parse_special = true});
  EXPECT_THAT(ids, ElementsAre(0, 8, 1));
  EXPECT_THAT(encode(byte_level(), "<s>a"), ElementsAre(0)) << "plain text: no < in this alphabet";
  EXPECT_EQ(tokenizer->decode(ids, /*skip_special=*/true), "ab");
  EXPECT_EQ(tokenizer->decode(ids, /*skip_special=*/false), "a<|im_end|>b");
  EXPECT_TRUE(tokenizer->is_control(8));
  EXPECT_TRUE(tokenizer->is_end(8)) << "it ends a turn though it is not the EOS";
  EXPECT_FALSE(tokenizer->is_end(7));
}

TEST(ByteBpe, UserDefinedTokensTheLongestFirst) {
  TokenizerData data = byte_level();
  for (const char* text : {"  ", "    "}) {
    data.tokens.emplace_back(text);
    data.types.push_back(TokenType::kUserDefined);
  }
  EXPECT_THAT(encode(data, "a      b"), ElementsAre(0, 11, 10, 1));
}

TEST(Tokenizer, AddsBosAndEosAsConfigured) {
  TokenizerData data = sentencepiece();
  data.add_bos = data.add_eos = true;
  EXPECT_THAT(encode(data, "", true), ElementsAre(1, 2));
  EXPECT_THAT(encode(data, "a", true), ElementsAre(1, 9, 2));
  EXPECT_THAT(encode(data, "a"), ElementsAre(9));
  data.bos = -1;
  EXPECT_THAT(encode(data, "", true), ElementsAre(2)) << "no BOS to add";
}

TEST(SentencePieceBpe, MergesByScoreThroughUnusedPieces) {
  EXPECT_THAT(encode(sentencepiece(), "abc"), ElementsAre(3, 8));
  // "ab" is better than "▁a" and merged first, but never emitted.
  EXPECT_THAT(encode(sentencepiece(), "ab"), ElementsAre(3, 4, 5));
  EXPECT_THAT(encode(sentencepiece(), "aa"), ElementsAre(9, 4));
}

TEST(SentencePieceBpe, UnknownTextIsOnePieceOrBytes) {
  TokenizerData data = sentencepiece();
  EXPECT_THAT(encode(data, "a??b"), ElementsAre(9, 0, 5));
  for (int byte = 0; byte < 256; ++byte) {
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    data.tokens.push_back(std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">");
    data.types.push_back(TokenType::kByte);
    data.scores.push_back(0);
  }
  EXPECT_THAT(encode(data, "a?b"), ElementsAre(9, 10 + '?', 5));
  const auto tokenizer = make_tokenizer(data);
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("\u00E9\xFF <0x41>", {}), false),
            "\u00E9\uFFFD <0x41>");
}

TEST(SentencePieceBpe, MergesMayMakeAByteToken) {
  TokenizerData data;
  data.model = "llama";
  data.tokens = {"<0x41>", "<", "0x41>", "0x4", "1>", "0x", "0", "x", "4", "1", ">"};
  data.merges = {"0 x", "0x 4", "1 >", "0x4 1>", "< 0x41>"};
  data.add_space_prefix = false;
  EXPECT_THAT(encode(data, "<0x41>"), ElementsAre(0)) << "as HF's BPE has it";
}

TEST(SentencePieceBpe, UserDefinedPieces) {
  TokenizerData data = sentencepiece();
  data.tokens.emplace_back("\u2581\u2581");
  data.types.push_back(TokenType::kUserDefined);
  data.scores.push_back(0);
  EXPECT_THAT(encode(data, " a   b"), ElementsAre(10, 4, 10, 3, 5));
  const auto tokenizer = make_tokenizer(data);
  EXPECT_EQ(tokenizer->decode(Ids{10, 4, 10, 3, 5}, false), " a   b") << "less the space before it";
  EXPECT_EQ(tokenizer->piece(10), "  ");
}

TEST(SentencePieceBpe, UserDefinedPieceMayCutACharacter) {
  TokenizerData data = sentencepiece();
  data.tokens.emplace_back("\xC3");
  data.types.push_back(TokenType::kUserDefined);
  data.scores.push_back(0);
  EXPECT_THAT(encode(data, "a\u00E9"), ElementsAre(9, 10, 0));
}

TEST(SentencePieceBpe, SpacePrefix) {
  TokenizerData data = sentencepiece();
  const auto spaces = [&](std::string_view text) { return encode(data, text, false, true); };
  EXPECT_THAT(spaces(" b<s>b"), ElementsAre(3, 3, 5, 1, 3, 5));
  data.space_prefix = SpacePrefix::kSegmentsUnlessSpace;
  EXPECT_THAT(spaces(" b<s>b"), ElementsAre(3, 5, 1, 3, 5));
  data.space_prefix = SpacePrefix::kStartUnlessSpace;
  EXPECT_THAT(spaces("b<s>b"), ElementsAre(3, 5, 1, 5));
  data.add_space_prefix = false;
  EXPECT_THAT(spaces("b<s>b"), ElementsAre(5, 1, 5));
}

TEST(Tokenizer, IdsOutOfRangeAreAnError) {
  for (const auto& data : {byte_level(), sentencepiece()}) {
    const auto tokenizer = make_tokenizer(data);
    for (const TokenId id : {-1, 10, std::numeric_limits<TokenId>::max()}) {
      expect_error(ErrorCode::kInvalidArgument, "expected 0 to 9", [&] { tokenizer->piece(id); });
      expect_error(ErrorCode::kInvalidArgument, "expected 0 to 9", [&] {
        tokenizer->decode(Ids{0, id}, false);
      });
    }
  }
}

struct Broken {
  ErrorCode code;
  const char* message;
  std::function<void(TokenizerData&)> break_it;
};

TEST(Tokenizer, RefusesDataThatContradictsItself) {
  const auto refuse = [](const TokenizerData& good, const std::vector<Broken>& cases) {
    for (const Broken& broken : cases) {
      TokenizerData data = good;
      broken.break_it(data);
      expect_error(broken.code, broken.message, [&] { make_tokenizer(data); });
    }
  };
  using Data = TokenizerData;
  refuse(byte_level(),
         {{ErrorCode::kUnsupported, "found \"bert\"", [](Data& d) { d.model = "bert"; }},
          {ErrorCode::kUnsupported, "found \"gpt-9\"", [](Data& d) { d.pre = "gpt-9"; }},
          {ErrorCode::kUnsupported, "regular expression \"(\"",
           [](Data& d) { d.split_regexes = {"("}; }},
          {ErrorCode::kCorrupt, "found no tokens", [](Data& d) { d.tokens.clear(); }},
          {ErrorCode::kCorrupt, "BOS token: found id 10", [](Data& d) { d.bos = 10; }},
          {ErrorCode::kCorrupt, "EOS token: found id -2", [](Data& d) { d.eos = -2; }},
          {ErrorCode::kCorrupt, "found 9 token types", [](Data& d) { d.types.pop_back(); }},
          {ErrorCode::kCorrupt, "merge 3 of 4: found \"b b\"",
           [](Data& d) { d.merges.emplace_back("b b"); }},
          {ErrorCode::kCorrupt, "found \"ab\"", [](Data& d) { d.merges = {"ab"}; }},
          {ErrorCode::kCorrupt, "found \"\"", [](Data& d) { d.merges = {""}; }}});
  refuse(sentencepiece(),
         {{ErrorCode::kCorrupt, "found 9 scores", [](Data& d) { d.scores.pop_back(); }},
          {ErrorCode::kCorrupt, "score of token 4: found NaN",
           [](Data& d) { d.scores[4] = std::numeric_limits<float>::quiet_NaN(); }},
          {ErrorCode::kCorrupt, "found 3 bytes that are no protobuf message",
           [](Data& d) { d.sentencepiece_model = "\x0A\x05x"; }}});
}

TEST(Tiktoken, ReadsRanksAndAppendsLlama3ControlTokens) {
  const TokenizerData data = parse_tiktoken("YQ== 0\nYg== 1\r\nYWI= 2\n");
  EXPECT_EQ(data.tokens.size(), 3u + 256u);
  EXPECT_EQ(data.tokens[static_cast<std::size_t>(data.bos)], "<|begin_of_text|>");
  EXPECT_EQ(data.tokens[static_cast<std::size_t>(data.eot)], "<|eot_id|>");
  EXPECT_THAT(encode(data, "abba"), ElementsAre(2, 1, 0));
}

TEST(Tiktoken, RefusesWhatIsNoList) {
  const auto refuse = [](std::string_view text, const std::string& message) {
    expect_error(ErrorCode::kCorrupt, message, [&] { parse_tiktoken(text); });
  };
  refuse("YQ== 0\nYg= 1\n", "line 2: found \"Yg= 1\"");
  refuse("YQ==\n", "line 1");
  refuse("YQ== 0x\n", "line 1");
  refuse("YQ== -1\n", "line 1");
  refuse("YQ== 99999999999\n", "line 1");
  refuse("YQ== 0\nYQ== 1\n", "line 2: found a token a second time");
  refuse("YQ== 0\nYg== 0\n", "found rank 0");
  refuse("YQ== 0\nYg== 2\n", "found rank 2, expected each of 0 to 1 once");
}

TEST(VocabMerges, ReadsBothFiles) {
  const char* const vocab = R"({"<s>": 0, "a": 1, "b": 2, "ab": 3, "\u0120": 5})";
  const TokenizerData data = parse_vocab_merges(vocab, "#version: 0.2\na b\n",
                                                {.tokenizer_config = R"({"bos_token": "<s>"})"});
  EXPECT_THAT(encode(data, "ab ba"), ElementsAre(3, 5, 2, 1));
  EXPECT_EQ(data.bos, 0);
  EXPECT_EQ(data.types[4], TokenType::kUnused) << "no token has id 4";
  const TokenizerData chat =
      parse_vocab_merges(vocab, "a b\n",
                         {.tokenizer_config = R"({"eos_token": "<|im_end|>", "pad_token": "a"})",
                          .added_tokens = R"({"<|im_end|>": 7, "b  b": 6})"});
  EXPECT_THAT(encode(chat, "abb  b<|im_end|>", false, true), ElementsAre(1, 2, 6, 7));
  EXPECT_THAT(encode(chat, "abb  b"), ElementsAre(3, 6));
  EXPECT_EQ(chat.eos, 7);
  EXPECT_EQ(chat.types[7], TokenType::kControl);
  EXPECT_EQ(chat.types[1], TokenType::kControl) << "a special token of the vocabulary's own";
  expect_error(ErrorCode::kCorrupt, "vocab.json", [] { parse_vocab_merges("[]", "", {}); });
  expect_error(ErrorCode::kCorrupt, "found id 1 twice",
               [] { parse_vocab_merges(R"({"a": 1, "b": 1})", "", {}); });
  expect_error(ErrorCode::kCorrupt, "found id 2000000000 among 1",
               [] { parse_vocab_merges(R"({"a": 2000000000})", "", {}); });
}

/// A byte-level tokenizer.json whose `member` is replaced.
std::string json_with(const std::string& member, const std::string& value) {
  std::string json = R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": []})";
  if (member != "pre_tokenizer") {
    json += R"(, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false})";
  }
  return json + ", \"" + member + "\": " + value + "}";
}

TEST(TokenizerJson, NamesWhatItDoesNotSupport) {
  const auto refuse = [](const std::string& member, const std::string& value,
                         const std::string& message) {
    expect_error(ErrorCode::kUnsupported, message,
                 [&] { parse_tokenizer_json(json_with(member, value), ""); });
  };
  EXPECT_THAT(encode(parse_tokenizer_json(json_with("version", "1"), ""), "a"), ElementsAre(0));
  refuse("normalizer", R"({"type": "Lowercase"})", "normalizer: found \"Lowercase\"");
  refuse("normalizer", R"({"type": "Prepend", "prepend": "x"})", "Prepend other than");
  refuse("pre_tokenizer", R"({"type": "BertPreTokenizer"})", "found \"BertPreTokenizer\"");
  refuse("pre_tokenizer", R"({"type": "ByteLevel"})", "add_prefix_space");
  refuse("pre_tokenizer", R"({"type": "Digits"})", "neither ByteLevel nor");
  refuse("pre_tokenizer", R"({"type": "Metaspace", "replacement": "\u2581"})", "found split");
  refuse("post_processor", R"({"type": "BertProcessing"})", "found \"BertProcessing\"");
  refuse("added_tokens", R"([{"id": 1, "content": "x", "lstrip": true}])", "lstrip of \"x\"");
  refuse("model", R"({"type": "WordPiece"})", "model: found \"WordPiece\"");
  refuse("model", R"({"type": "BPE", "dropout": 0.1})", "found dropout");
}

TEST(TokenizerJson, RefusesWhatIsNone) {
  const auto refuse = [](const std::string& text, const std::string& message) {
    expect_error(ErrorCode::kCorrupt, message, [&] { parse_tokenizer_json(text, ""); });
  };
  refuse("", "not a JSON object");
  refuse("[1, 2]", "not a JSON object");
  refuse("{}", "model");
  refuse(R"({"model": {"type": "BPE"}})", "merges: found null, expected an array");
  refuse(R"({"model": {"type": "BPE", "merges": [1]}})", "merges[0]");
  refuse(json_with("added_tokens", R"([{"id": -1, "content": "x"}])"), "expected a token id");
  refuse(json_with("post_processor",
                   R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x"}}]})"),
         "found \"x\", which is not in the vocabulary");
}

TEST(SentencePieceModel, RefusesWhatIsNone) {
  const auto refuse = [](std::string_view bytes, const std::string& message) {
    expect_error(ErrorCode::kCorrupt, message, [&] { parse_sentencepiece(bytes); });
  };
  refuse("", "");
  refuse("\x0A\x7F", "no protobuf message");
  refuse(std::string_view("\x0A\x00", 2), "found an empty piece");
  refuse("\x0A\x03\x0A\x01\x61\x0A\x03\x0A\x01\x61", "found \"a\" twice");
  // The library's trie takes C strings.
  refuse(std::string_view("\x0A\x04\x0A\x02\x61\x00", 6), "found a zero byte");
  // Also where the model comes out of another file.
  TokenizerData data = sentencepiece();
  data.sentencepiece_model = std::string("\x0A\x00", 2);
  expect_error(ErrorCode::kCorrupt, "found an empty piece", [&] { make_tokenizer(data); });
}

/// A protobuf field of bytes, with a length of up to 21 bits.
std::string bytes_field(int number, std::string_view bytes) {
  std::string result = {static_cast<char>(number << 3 | 2)};
  result += static_cast<char>(bytes.size() | 0x80);
  result += static_cast<char>(bytes.size() >> 7 | 0x80);
  result += static_cast<char>(bytes.size() >> 14);
  return result.append(bytes);
}

std::string piece_field(std::string_view text, TokenType type) {
  return bytes_field(1, bytes_field(1, text) + "\x18" + static_cast<char>(type));
}

/// Darts-clone's units for the rules "a" and "b", whose replacements are at the two offsets.
std::vector<std::uint32_t> two_rules(std::uint32_t a, std::uint32_t b) {
  constexpr std::uint32_t kLeaf = 1U << 31;  // also marks the free units: no byte leads to them
  std::vector<std::uint32_t> units(512, kLeaf);
  units[0] = 256 << 10;
  units[256 ^ 'a'] = (256 ^ 'a' ^ 1) << 10 | 0x100 | 'a';  // its leaf is unit 1
  units[256 ^ 'b'] = (256 ^ 'b' ^ 2) << 10 | 0x100 | 'b';
  units[1] = kLeaf | a;
  units[2] = kLeaf | b;
  return units;
}

/// A BPE model of x, y and a space that normalises by the rules.
std::string model_with_rules(const std::vector<std::uint32_t>& units, std::string_view texts,
                             int spec = 3) {
  std::string charsmap;
  const auto append = [&](std::size_t value) {
    for (int shift = 0; shift < 32; shift += 8) charsmap += static_cast<char>(value >> shift);
  };
  append(units.size() * 4);
  for (const std::uint32_t unit : units) append(unit);
  return piece_field("<unk>", TokenType::kUnknown) + piece_field("<s>", TokenType::kControl) +
         piece_field("</s>", TokenType::kControl) + piece_field("\u2581", TokenType::kNormal) +
         piece_field("x", TokenType::kNormal) + piece_field("y", TokenType::kNormal) +
         bytes_field(2, "\x18\x02") + bytes_field(spec, bytes_field(2, charsmap.append(texts)));
}

TEST(SentencePieceModel, NormalisesByItsRules) {
  const std::string_view texts("x\0yx\0", 5);
  const TokenizerData data = parse_sentencepiece(model_with_rules(two_rules(0, 2), texts));
  EXPECT_THAT(encode(data, "ab"), ElementsAre(3, 4, 5, 4));
  EXPECT_NO_THROW(parse_sentencepiece(model_with_rules(two_rules(0, 2), texts, /*spec=*/5)));
  // As the trainer writes it where there are no rules.
  EXPECT_NO_THROW(parse_sentencepiece(piece_field("<unk>", TokenType::kUnknown) +
                                      piece_field("x", TokenType::kNormal) +
                                      bytes_field(3, bytes_field(2, ""))));
}

/// The library follows rules without looking where they lead.
TEST(SentencePieceModel, RefusesRulesThatLeadAstray) {
  using Units = std::vector<std::uint32_t>;
  const std::string_view texts("x\0yx\0", 5);
  const auto refuse = [](const std::string& message, const Units& trie, std::string_view all) {
    for (const int spec : {3, 5}) {
      expect_error(ErrorCode::kCorrupt, "precompiled_charsmap: " + message,
                   [&] { parse_sentencepiece(model_with_rules(trie, all, spec)); });
    }
  };
  refuse("found a trie of 0 bytes", {}, texts);
  refuse("found a trie of 0 bytes", {}, "");
  refuse("expected a zero byte at the end", two_rules(0, 2), "x");
  refuse("found a replacement at 5, expected below 5", two_rules(0, 5), texts);
  refuse("found a replacement of more than 256 bytes", two_rules(0, 0),
         std::string(257, 'x') + '\0');
  refuse("unit 0: found children at 0, expected below 5", Units(5, 0), texts);
  Units units = two_rules(0, 2);
  units[0] = 512 << 10;
  refuse("unit 0: found children at 512, expected below 512", units, texts);
  units = two_rules(0, 2);
  units[256 ^ 'a'] |= 1 << 30;
  refuse("unit 353", units, texts);
  units = two_rules(0, 2);
  units['c'] = 256 << 10 | 'c';  // "c" below "b" leads back to "b"
  units[256 ^ 'b'] = (256 ^ 'b') << 10 | 'b';
  refuse("found a rule of more than 256 bytes", units, texts);
  // "a", "aa", "aaa", ...: the library has room for 32 at one place.
  units.assign(std::size_t{35} * 256, 1U << 31);
  units[0] = 256 << 10;
  for (std::uint32_t i = 1; i <= 33; ++i) {
    const std::uint32_t index = i * 256 ^ 'a';
    const std::uint32_t base = (i + 1) * 256;
    units[index] = (index ^ base) << 10 | 0x100 | 'a';
  }
  refuse("found more than 32 rules", units, texts);
  // A field number whose bits beyond 32 protobuf would drop.
  expect_error(ErrorCode::kCorrupt, "no protobuf message",
               [] { parse_sentencepiece("\x9A\x80\x80\x80\x10\x01x"); });
}

const char* const kDecoder = R"({"eos_token": "<|im_end|>", "add_bos_token": false,
  "added_tokens_decoder": {
    "0": {"content": "<unk>", "special": true}, "1": {"content": "<s>", "special": true},
    "6": {"content": "<|im_start|>", "special": true, "normalized": false, "lstrip": false},
    "7": {"content": "<|im_end|>", "special": true},
    "9": {"content": "xy", "special": false, "normalized": true}}})";

/// The ids are those of transformers' SentencePieceBackend on the same files.
TEST(SentencePieceModel, TakesAddedTokensFromTheFilesBesideIt) {
  const std::string model = model_with_rules(two_rules(0, 2), std::string("x\0yx\0", 5));
  const auto expect_added = [](const TokenizerData& data) {
    EXPECT_THAT(encode(data, "x<|im_start|>y xy x<|im_end|>", false, true),
                ElementsAre(3, 4, 6, 3, 5, 9, 3, 4, 7));
    EXPECT_THAT(encode(data, "xyx y"), ElementsAre(9, 3, 4, 3, 5));
    EXPECT_THAT(encode(data, "<s>x", false, true), ElementsAre(1, 3, 4));
    EXPECT_EQ(data.eos, 7);
    EXPECT_EQ(data.types[0], TokenType::kUnknown);
    EXPECT_EQ(data.tokens[8], "[PAD8]");
    EXPECT_EQ(data.types[8], TokenType::kUnused);
    EXPECT_EQ(data.scores.size(), 10U);
    const auto tokenizer = make_tokenizer(data);
    EXPECT_TRUE(tokenizer->is_end(7));
    EXPECT_EQ(tokenizer->decode(Ids{6, 4, 9}, /*skip_special=*/true), "xxy");
  };
  const TokenizerData from_decoder = parse_sentencepiece(
      model, {.tokenizer_config = kDecoder, .added_tokens = R"({"not read": 6})"});
  expect_added(from_decoder);
  EXPECT_FALSE(from_decoder.add_bos);
  const char* const added = R"({"<|im_start|>": 6, "<|im_end|>": 7, "xy": 9})";
  const TokenizerData from_names = parse_sentencepiece(
      model, {.tokenizer_config = R"({"eos_token": {"content": "<|im_end|>"}})",
              .added_tokens = added,
              .special_tokens_map = R"({"additional_special_tokens": ["<|im_start|>"]})"});
  expect_added(from_names);
  EXPECT_TRUE(from_names.add_bos);
  // Not special unless a file says so.
  const TokenizerData plain = parse_sentencepiece(model, {.added_tokens = added});
  EXPECT_EQ(plain.types[6], TokenType::kUserDefined);
  EXPECT_THAT(encode(plain, "<|im_start|>"), ElementsAre(6));
}

TEST(HfOptions, RefusesWhatIsNoAddedToken) {
  const auto refuse = [](ErrorCode code, const HfOptions& options, const std::string& message) {
    expect_error(code, message, [&] { parse_vocab_merges(R"({"a": 0})", "", options); });
  };
  const auto decoder = [&](ErrorCode code, const std::string& value, const std::string& message) {
    refuse(code, {.tokenizer_config = R"({"added_tokens_decoder": )" + value + "}"}, message);
  };
  decoder(ErrorCode::kCorrupt, "[]", "added_tokens_decoder: found array, expected an object");
  decoder(ErrorCode::kCorrupt, R"({"x": {"content": "t"}})", "found key \"x\", expected a token");
  decoder(ErrorCode::kCorrupt, R"({"-1": {"content": "t"}})", "found key \"-1\"");
  decoder(ErrorCode::kCorrupt, R"({"1": {}})", "content: found null, expected a string");
  decoder(ErrorCode::kUnsupported, R"({"1": {"content": "t", "rstrip": true}})",
          "tokenizer_config.json: added_tokens_decoder: found rstrip of \"t\"");
  refuse(ErrorCode::kCorrupt, {.added_tokens = "[]"}, "added_tokens.json");
  refuse(ErrorCode::kCorrupt, {.added_tokens = R"({"t": "1"})"}, "added_tokens.json: \"t\"");
  refuse(ErrorCode::kCorrupt, {.added_tokens = R"({"t": 2000000000})"}, "found id 2000000000");
  refuse(ErrorCode::kCorrupt, {.special_tokens_map = "[]"}, "special_tokens_map.json");
}

TEST(SentencePieceModel, RefusesPiecesThatTheLibraryHasNoRoomFor) {
  const auto model = [](std::size_t size, TokenType type) {
    std::string bytes = piece_field("<unk>", TokenType::kUnknown);
    for (std::size_t i = 1; i <= size; ++i) bytes += piece_field(std::string(i, 'a'), type);
    return bytes + bytes_field(2, "\x18\x02");
  };
  EXPECT_NO_THROW(parse_sentencepiece(model(512, TokenType::kNormal)));
  expect_error(ErrorCode::kCorrupt, "found 513 bytes, expected at most 512",
               [&] { parse_sentencepiece(model(513, TokenType::kNormal)); });
  EXPECT_NO_THROW(parse_sentencepiece(model(64, TokenType::kUserDefined)));
  expect_error(ErrorCode::kCorrupt, "found more than 64 user-defined pieces",
               [&] { parse_sentencepiece(model(65, TokenType::kUserDefined)); });
}

}  // namespace
}  // namespace onebit::text
