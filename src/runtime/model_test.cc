// The forward pass against a float64 one, in every stored type and form; and what must not change
// its results: threads, chunks, batches, what a cache held before.
#include "runtime/model.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <fstream>
#include <functional>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "arch/test_models.h"
#include "base/check.h"
#include "base/test_paths.h"
#include "runtime/test_logits.h"
#include "runtime/test_reference.h"

namespace onebit::runtime {
namespace {

using arch::ModelConfig;
using arch::RopeScaling;
using arch::test_models::FormCase;
using arch::test_models::TinyModel;
using formats::DType;
using testing::all_logits;
using testing::Floats;
using ::testing::HasSubstr;
using testing::Ids;
using testing::long_config;
using testing::message_of;
using testing::random_tokens;
using text::TokenId;

/// Enough positions for three blocks of keys, the last of them begun.
constexpr std::int64_t kTokens = 2 * KvCache::kBlock + 7;

/// The tiny model with rows that hold whole blocks of quantised types.
ModelConfig block_config() {
  ModelConfig config = long_config();
  config.dim = 64;
  config.heads = 8;
  config.kv_heads = 4;
  config.head_dim = 8;
  config.ffn = 96;
  return config;
}

/// The largest difference over all positions, and the largest logit.
struct Difference {
  double worst = 0;
  double scale = 0;
};

Difference against_reference(const std::filesystem::path& path, const std::string& isa) {
  Model model = Model::load(
      path, {.threads = 2, .activations = Activations::kF32, .kv = KvType::kF32, .isa = isa});
  testing::ReferenceModel reference(model.checkpoint());
  const Ids tokens = random_tokens(kTokens, model.config().vocab);
  const std::vector<Floats> found = all_logits(model, tokens);
  EXPECT_EQ(found.size(), tokens.size());
  Difference result;
  for (std::size_t t = 0; t < found.size(); ++t) {
    const std::vector<double> expected = reference.next(tokens[t]);
    for (std::size_t i = 0; i < expected.size(); ++i) {
      result.worst = std::max(result.worst, std::abs(found[t][i] - expected[i]));
      result.scale = std::max(result.scale, std::abs(expected[i]));
    }
  }
  return result;
}

void expect_reference(const std::filesystem::path& path) {
  for (const kernels::KernelSet* set : kernels::available_kernels()) {
    SCOPED_TRACE(set->name);
    const Difference d = against_reference(path, std::string(set->name));
    // Two layers of sums over at most 96 terms, each off by 96 · 2^-24 of its terms' size at worst,
    // and a few such sums one after the other.
    EXPECT_LE(d.worst, 16 * 96 * 0x1p-24 * d.scale);
    EXPECT_GT(d.scale, 0.1);
  }
}

class RuntimeModel : public ::testing::Test {
 protected:
  std::filesystem::path write(const ModelConfig& config, DType type = DType::kF32) {
    std::filesystem::path path = dir_ / fmt::format("{}.gguf", files_++);
    arch::test_models::write_gguf(arch::test_models::random_model(config, 5), path, type);
    return path;
  }

  std::filesystem::path write_packed(const ModelConfig& config, const FormCase& form) {
    const TinyModel model = arch::test_models::random_model(config, 6);
    const std::filesystem::path source = dir_ / fmt::format("{}.gguf", files_++);
    arch::test_models::write_gguf(model, source);
    const arch::Checkpoint from = arch::Checkpoint::open(source);
    arch::PackOptions options;
    options.provenance = arch::provenance_of(from, "onebit", form.form, form.group_size);
    options.embedding = options.head = DType::kF32;
    options.scales = DType::kF32;
    options.dense = {{{arch::Role::kAttnV, 1}, DType::kF16}};
    std::filesystem::path path = dir_ / fmt::format("{}.gguf", files_++);
    arch::test_models::write_packed(path, model, from, options);
    return path;
  }

  testing::TempDir dir_;
  int files_ = 0;
};

TEST_F(RuntimeModel, LogitsOfEveryShape) {
  const std::vector<std::function<void(ModelConfig&)>> changes = {
      [](ModelConfig&) {},
      [](ModelConfig& c) { c.tied_head = true; },
      [](ModelConfig& c) { c.kv_heads = 6; },
      [](ModelConfig& c) { c.kv_heads = 1; },
      [](ModelConfig& c) { c.heads = 30, c.kv_heads = 1, c.head_dim = 2; },
      [](ModelConfig& c) { c.norm_eps = 0.1; },
      [](ModelConfig& c) {
        c.rope = {.theta = 500, .scaling = RopeScaling::kLinear, .factor = 4, .factors = {}};
      },
      [](ModelConfig& c) {
        c.rope = {.theta = 500,
                  .scaling = RopeScaling::kLlama3,
                  .factor = 8,
                  .low_freq_factor = 1,
                  .high_freq_factor = 4,
                  .original_context = 32,
                  .factors = {}};
      }};
  for (std::size_t i = 0; i < changes.size(); ++i) {
    SCOPED_TRACE(i);
    ModelConfig config = long_config();
    changes[i](config);
    expect_reference(write(config));
  }
}

TEST_F(RuntimeModel, LogitsInEveryStoredType) {
  for (const bool tied : {false, true}) {
    ModelConfig config = block_config();
    config.tied_head = tied;
    for (const DType type : {DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_1, DType::kQ4_0,
                             DType::kQ5_0, DType::kQ5_1}) {
      SCOPED_TRACE(formats::info(type).name);
      expect_reference(write(config, type));
    }
  }
}

TEST_F(RuntimeModel, LogitsOfPackedModels) {
  for (const FormCase& form : arch::test_models::kForms) {
    SCOPED_TRACE(form.name);
    expect_reference(write_packed(long_config(), form));
    expect_reference(write_packed(block_config(), form));
  }
}

// Rounding an activation to one of 255 steps moves it by at most 1/254 of the row's largest; what
// reaches the logits is of that order, not more, and not nothing.
TEST_F(RuntimeModel, Int8ActivationsComeClose) {
  for (const FormCase& form : arch::test_models::kForms) {
    if (form.group_size > 0) continue;  // these multiply floats
    const std::filesystem::path path = write_packed(block_config(), form);
    const Ids tokens = random_tokens(kTokens, block_config().vocab);
    Model exact = Model::load(path, {.activations = Activations::kF32, .isa = {}});
    Model rounded = Model::load(path, {.activations = Activations::kI8, .isa = {}});
    const std::vector<Floats> a = all_logits(exact, tokens);
    const std::vector<Floats> b = all_logits(rounded, tokens);
    double error = 0;
    double norm = 0;
    for (std::size_t t = 0; t < a.size(); ++t) {
      for (std::size_t i = 0; i < a[t].size(); ++i) {
        error += std::pow(b[t][i] - a[t][i], 2);
        norm += std::pow(a[t][i], 2);
      }
    }
    EXPECT_GT(error, 0);
    EXPECT_LT(std::sqrt(error / norm), 0.03);
  }
}

TEST_F(RuntimeModel, AFolderGivesTheSameBits) {
  const TinyModel model = arch::test_models::random_model(long_config(), 7);
  arch::test_models::write_hf(model, dir_ / "hf");
  arch::test_models::write_gguf(model, dir_ / "m.gguf");
  const Ids tokens = random_tokens(20, model.config.vocab);
  Model folder = Model::load(dir_ / "hf", {});
  Model gguf = Model::load(dir_ / "m.gguf", {});
  EXPECT_EQ(all_logits(folder, tokens), all_logits(gguf, tokens));
}

TEST_F(RuntimeModel, ThreadsAndChunksChangeNothing) {
  for (const std::filesystem::path& path :
       {write(long_config()), write_packed(long_config(), arch::test_models::kForms[0])}) {
    const Ids tokens = random_tokens(kTokens, long_config().vocab);
    Model first = Model::load(path, {.threads = 1, .isa = {}});
    const std::vector<Floats> expected = all_logits(first, tokens);
    for (const int threads : {1, 3}) {
      for (const std::int64_t chunk : {1, 5, 64, 100}) {
        SCOPED_TRACE(fmt::format("{} threads, chunks of {}", threads, chunk));
        Model model = Model::load(path, {.threads = threads, .isa = {}, .prompt_chunk = chunk});
        EXPECT_EQ(model.threads(), threads);
        EXPECT_EQ(all_logits(model, tokens), expected);
        KvCache cache = model.make_cache(kTokens);
        const std::span<const float> last = model.forward(tokens, cache);
        EXPECT_EQ(Floats(last.begin(), last.end()), expected.back());
        EXPECT_EQ(cache.length(), kTokens);
      }
    }
  }
}

TEST_F(RuntimeModel, ABatchGivesWhatEachSequenceGivesAlone) {
  for (const std::filesystem::path& path :
       {write(long_config()), write_packed(long_config(), arch::test_models::kForms[2])}) {
    Model model = Model::load(path, {.threads = 2, .isa = {}});
    const std::vector<std::int64_t> lengths = {1, 63, 64, 65, 90, 2, 128};  // before the batch
    std::vector<Ids> sequences;
    std::vector<std::vector<Floats>> expected;
    std::vector<KvCache> caches;
    for (std::size_t s = 0; s < lengths.size(); ++s) {
      sequences.push_back(random_tokens(lengths[s] + 3, model.config().vocab, s));
      expected.push_back(all_logits(model, sequences[s]));
      caches.push_back(model.make_cache(lengths[s] + 3));
      model.forward(std::span(sequences[s]).first(static_cast<std::size_t>(lengths[s])), caches[s]);
    }
    const auto vocab = static_cast<std::size_t>(model.config().vocab);
    for (std::int64_t step = 0; step < 3; ++step) {
      std::vector<BatchItem> items;
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        items.push_back({sequences[s][static_cast<std::size_t>(lengths[s] + step)], &caches[s]});
      }
      const std::span<const float> logits = model.forward_batch(items);
      ASSERT_EQ(logits.size(), lengths.size() * vocab);
      for (std::size_t s = 0; s < lengths.size(); ++s) {
        const std::span<const float> row = logits.subspan(s * vocab, vocab);
        EXPECT_EQ(Floats(row.begin(), row.end()),
                  expected[s][static_cast<std::size_t>(lengths[s] + step)])
            << "sequence " << s << " step " << step;
      }
    }
  }
}

/// Rows by continuation and token, each given once and in order.
std::vector<std::vector<Floats>> run_all(Model& model, const std::vector<Continuation>& items) {
  const auto vocab = static_cast<std::size_t>(model.config().vocab);
  std::vector<std::vector<Floats>> found(items.size());
  std::size_t last = 0;
  model.forward_all(items, [&](std::size_t item, std::int64_t first, std::span<const float> rows) {
    EXPECT_GE(item, last);
    last = item;
    EXPECT_EQ(first, items[item].first + std::ssize(found[item]));
    EXPECT_LE(rows.size(), static_cast<std::size_t>(Model::kLogitRows) * vocab);
    for (; !rows.empty(); rows = rows.subspan(vocab)) {
      found[item].emplace_back(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(vocab));
    }
  });
  return found;
}

// One token, a whole pass, more than one, none wanted, all wanted; after contexts that end at every
// edge of a block, in every chunking, so that sequences are divided at every place.
TEST_F(RuntimeModel, SequencesSideBySideGiveWhatEachGivesAlone) {
  struct Case {
    std::int64_t held;
    std::int64_t tokens;
    std::int64_t first;
  };
  const std::vector<Case> cases = {{0, 1, 0},   {63, 1, 0},  {64, 16, 15}, {65, 33, 0},
                                   {1, 64, 64}, {0, 40, 39}, {90, 7, 100}, {2, 100, 50}};
  for (const std::filesystem::path& path :
       {write(long_config()), write_packed(long_config(), arch::test_models::kForms[0])}) {
    for (const std::int64_t chunk : {1, 16, 64, 512}) {
      SCOPED_TRACE(fmt::format("passes of {}", chunk));
      Model model = Model::load(path, {.threads = 2, .isa = {}, .prompt_chunk = chunk});
      std::vector<Ids> sequences;
      std::vector<KvCache> caches;
      for (const Case& c : cases) {
        sequences.push_back(
            random_tokens(c.held + c.tokens, model.config().vocab, sequences.size()));
        caches.push_back(model.make_cache(c.held + c.tokens));
        const std::span<const TokenId> held =
            std::span(sequences.back()).first(static_cast<std::size_t>(c.held));
        if (!held.empty()) model.forward(held, caches.back());
      }
      std::vector<Continuation> items;
      for (std::size_t s = 0; s < cases.size(); ++s) {
        items.push_back({std::span(sequences[s]).subspan(static_cast<std::size_t>(cases[s].held)),
                         &caches[s], cases[s].first});
      }
      const std::vector<std::vector<Floats>> found = run_all(model, items);
      for (std::size_t s = 0; s < cases.size(); ++s) {
        const std::vector<Floats> alone = all_logits(model, sequences[s]);
        const std::int64_t wanted = std::max(cases[s].tokens - cases[s].first, std::int64_t{0});
        EXPECT_EQ(found[s], std::vector<Floats>(alone.end() - wanted, alone.end()))
            << "sequence " << s;
        EXPECT_EQ(caches[s].length(), cases[s].held + cases[s].tokens);
      }
    }
  }
}

TEST_F(RuntimeModel, WhatOneOfSeveralSequencesHasWrongIsSaid) {
  Model model = Model::load(write(long_config()), {.isa = {}});
  const Ids good = {1, 2, 3};
  const Ids bad = {1, 37, 3};
  std::vector<KvCache> caches;
  caches.reserve(4);
  for (int i = 0; i < 4; ++i) caches.push_back(model.make_cache(4));
  const auto says = [&](ErrorCode code, const Ids& third) {
    const std::vector<Continuation> items = {
        {good, &caches[0]}, {good, &caches[1]}, {third, &caches[2]}, {good, &caches[3]}};
    return message_of(code, [&] { run_all(model, items); });
  };
  EXPECT_EQ(says(ErrorCode::kInvalidArgument, bad),
            "sequence 2 of 4: token 1 of 3: found id 37, expected 0 to 36");
  EXPECT_THAT(says(ErrorCode::kInvalidArgument, {}), HasSubstr("sequence 2 of 4: "));
  EXPECT_EQ(says(ErrorCode::kResource, {1, 2, 3, 4, 5}),
            "sequence 2 of 4: context: found 5 tokens after the 0 held, expected at most 4 in all");
  message_of(ErrorCode::kInvalidArgument, [&] { run_all(model, {}); });
  for (const KvCache& cache : caches) EXPECT_EQ(cache.length(), 0);
}

TEST_F(RuntimeModel, ATruncatedCacheForgets) {
  Model model = Model::load(write(long_config()), {});
  const Ids tokens = random_tokens(kTokens, model.config().vocab);
  const Ids others = random_tokens(kTokens, model.config().vocab, 10);
  const std::vector<Floats> expected = all_logits(model, tokens);
  for (const std::int64_t keep : {0, 1, 63, 64, 65, 128, 130}) {
    const auto kept = static_cast<std::size_t>(keep);
    KvCache cache = model.make_cache(kTokens);
    if (keep > 0) model.forward(std::span(tokens).first(kept), cache);
    model.forward(std::span(others).subspan(kept), cache);
    cache.truncate(keep);
    EXPECT_EQ(cache.length(), keep);
    const std::span<const float> last = model.forward(std::span(tokens).subspan(kept), cache);
    EXPECT_EQ(Floats(last.begin(), last.end()), expected.back()) << "after " << keep;
  }
}

TEST_F(RuntimeModel, RefusesWhatCannotRun) {
  const std::filesystem::path path = write(long_config());
  Model model = Model::load(path, {});
  KvCache cache = model.make_cache(4);
  const Ids good = {1, 2, 3};
  model.forward(good, cache);
  EXPECT_THAT(message_of(ErrorCode::kResource, [&] { model.forward(good, cache); }),
              HasSubstr("found 3 tokens after the 3 held, expected at most 4 in all"));
  const BatchItem item = {1, &cache};
  for (const TokenId bad : {-1, 37}) {
    EXPECT_THAT(message_of(ErrorCode::kInvalidArgument, [&] { model.forward(Ids{bad}, cache); }),
                HasSubstr(fmt::format("found id {}, expected 0 to 36", bad)));
  }
  message_of(ErrorCode::kInvalidArgument, [&] { model.forward({}, cache); });
  message_of(ErrorCode::kInvalidArgument, [&] { model.forward_batch({}); });
  EXPECT_EQ(cache.length(), 3);
  model.forward_batch({&item, 1});
  message_of(ErrorCode::kResource, [&] { model.forward_batch({&item, 1}); });
  EXPECT_EQ(cache.length(), 4);

  message_of(ErrorCode::kInvalidArgument, [&] { Model::load(path, {.threads = -1, .isa = {}}); });
  message_of(ErrorCode::kInvalidArgument,
             [&] { Model::load(path, {.isa = {}, .prompt_chunk = 0}); });
  message_of(ErrorCode::kUnsupported, [&] { Model::load(path, {.isa = "avx9"}); });
  message_of(ErrorCode::kNotFound, [&] { Model::load(dir_ / "nothing", {}); });
}

TEST_F(RuntimeModel, CacheSizes) {
  const ModelConfig config = long_config();
  // 2 layers, 2 heads of 10; values lie in rows of 16. Whole blocks of 64.
  EXPECT_EQ(KvCache::bytes(config, 1, KvType::kF32), 4U * 2 * 2 * (10 + 16) * 64);
  EXPECT_EQ(KvCache::bytes(config, 64, KvType::kF16), 2U * 2 * 2 * (10 + 16) * 64);
  EXPECT_EQ(KvCache::bytes(config, 65, KvType::kF16), 2U * 2 * 2 * (10 + 16) * 128);
  EXPECT_EQ(KvCache::bytes(config, 64, KvType::kQ8_0), 1U * 2 * 2 * (10 + 2 + 16 + 2) * 64);
  message_of(ErrorCode::kInvalidArgument, [&] { const KvCache cache(config, 0, KvType::kF16); });
  EXPECT_THAT(message_of(ErrorCode::kResource,
                         [&] { const KvCache cache(config, std::int64_t{1} << 62, KvType::kF32); }),
              HasSubstr("found no memory for 416 bytes a token"));
}

TEST_F(RuntimeModel, ACacheMayBeLargerThanTheMemory) {
  std::string mode;
  std::ifstream("/proc/sys/vm/overcommit_memory") >> mode;
  if (mode == "2") GTEST_SKIP() << "the system reserves memory for whatever is asked for";
  const ModelConfig config = long_config();
  const std::int64_t memory = ::sysconf(_SC_PHYS_PAGES) * ::sysconf(_SC_PAGESIZE);
  const std::int64_t capacity = 2 * memory / 416;
  KvCache cache(config, capacity, KvType::kF32);
  Floats row(20);
  for (std::size_t i = 0; i < row.size(); ++i) row[i] = static_cast<float>(i);
  cache.store(kernels::best_kernels(), 1, 1, capacity - 1, row.data() + 10, row.data() + 10);
  const std::int64_t block = (capacity - 1) / KvCache::kBlock;
  const kernels::KvLayout& layout = cache.layout();
  Floats key(10);
  Floats value(10);
  layout.load((capacity - 1) % KvCache::kBlock, cache.keys(1, 1) + block * layout.key_bytes(),
              cache.values(1, 1) + block * layout.value_bytes(), key.data(), value.data());
  EXPECT_EQ(key, Floats(row.begin() + 10, row.end()));
  EXPECT_EQ(value, key);
  layout.load(0, cache.keys(0, 0), cache.values(0, 0), key.data(), value.data());
  EXPECT_EQ(key, Floats(10, 0.0F));
}

// What is computed after a copied beginning is what is computed after the whole: at every edge of a
// block, whatever the other cache's size, and with what it held before.
TEST_F(RuntimeModel, ACopiedBeginningGoesOnAsTheWhole) {
  const std::filesystem::path path = write(long_config());
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    Model model = Model::load(path, {.threads = 2, .kv = type, .isa = {}});
    const Ids tokens = random_tokens(kTokens, model.config().vocab);
    const std::vector<Floats> expected = all_logits(model, tokens);
    KvCache whole = model.make_cache(kTokens);
    model.forward(tokens, whole);
    KvCache copy = model.make_cache(3 * kTokens);
    model.forward(random_tokens(kTokens, model.config().vocab, 10), copy);
    for (const std::int64_t length : {130, 128, 65, 64, 63, 1, 0}) {
      SCOPED_TRACE(fmt::format("{} tokens of {}", length, word_of(type)));
      copy.copy_prefix(whole, length);
      EXPECT_EQ(copy.length(), length);
      const std::span<const float> last =
          model.forward(std::span(tokens).subspan(static_cast<std::size_t>(length)), copy);
      EXPECT_EQ(Floats(last.begin(), last.end()), expected.back());
      EXPECT_EQ(whole.length(), kTokens);
    }
    KvCache small = model.make_cache(64);
    EXPECT_THROW(small.copy_prefix(whole, 65), InternalError);
    EXPECT_THROW(copy.copy_prefix(whole, kTokens + 1), InternalError);
    EXPECT_THROW(copy.copy_prefix(copy, 1), InternalError);
  }
}

// f16 moves a key or value by at most 2^-11 of itself, q8_0 by 1/254 of its group's largest, some
// three times as much beside one of usual size; two layers add what reaches the logits.
TEST_F(RuntimeModel, RoundedKeysAndValuesComeClose) {
  const std::filesystem::path path = write(block_config());
  const Ids tokens = random_tokens(kTokens, block_config().vocab);
  std::vector<std::vector<Floats>> found;
  for (const KvType type : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
    Model model = Model::load(path, {.kv = type, .isa = {}});
    EXPECT_EQ(model.make_cache(1).type(), type);
    found.push_back(all_logits(model, tokens));
  }
  const auto distance = [&](std::size_t i) {
    double error = 0;
    double norm = 0;
    for (std::size_t t = 0; t < found[0].size(); ++t) {
      for (std::size_t j = 0; j < found[0][t].size(); ++j) {
        error += std::pow(found[i][t][j] - found[0][t][j], 2);
        norm += std::pow(found[0][t][j], 2);
      }
    }
    return std::sqrt(error / norm);
  };
  EXPECT_GT(distance(1), 0);
  EXPECT_LE(distance(1), 0x1p-11);
  EXPECT_GT(distance(2), distance(1));
  EXPECT_LE(distance(2), 2.0 / 127);
}

}  // namespace
}  // namespace onebit::runtime
