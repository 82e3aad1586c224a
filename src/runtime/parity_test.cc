// The runtime's full-precision logits against transformers': tools/golden/make_logits.py.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "base/test_paths.h"
#include "runtime/model.h"

namespace onebit::runtime {
namespace {

using text::TokenId;
using Ids = std::vector<TokenId>;

struct Golden {
  explicit Golden(const std::string& name)
      : json(nlohmann::json::parse(read_file(testing::golden("logits/" + name + ".json")))) {}

  template <class T>
  T get(const char* key) const {
    return json.at(key).get<T>();
  }

  nlohmann::json json;
};

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const float v : logits) sum += std::exp(v - top);
  return top + std::log(sum);
}

TokenId argmax(std::span<const float> logits) {
  return static_cast<TokenId>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

/// Every figure of the golden file, and the continuation, with one model.
void expect_parity(Model& model, const Golden& golden) {
  // The target, or twice what f32 arithmetic alone moves transformers' own logits, if that is more.
  const double tolerance = std::max(1e-3, 2 * golden.get<double>("f64_gap"));
  const Ids tokens = golden.get<Ids>("tokens");
  const auto sums = golden.get<std::vector<double>>("logsumexp");
  const Ids best = golden.get<Ids>("argmax");
  const auto positions = golden.get<std::vector<std::int64_t>>("positions");
  const auto ids = golden.get<std::vector<Ids>>("ids");
  const auto expected = golden.get<std::vector<std::vector<float>>>("logits");
  const Ids greedy = golden.get<Ids>("greedy");
  const auto vocab = static_cast<std::size_t>(model.config().vocab);

  KvCache cache = model.make_cache(std::ssize(tokens) + std::ssize(greedy));
  double worst = 0;
  double worst_sum = 0;
  std::size_t position = 0;
  TokenId next = -1;
  model.forward_each(tokens, cache, 0, [&](std::int64_t first, std::span<const float> rows) {
    ASSERT_EQ(first, static_cast<std::int64_t>(position));
    for (; !rows.empty(); rows = rows.subspan(vocab), ++position) {
      const std::span<const float> logits = rows.first(vocab);
      next = argmax(logits);
      worst_sum = std::max(worst_sum, std::abs(log_sum_exp(logits) - sums[position]));
      // Another id may win only where the two are as close as the tolerance allows.
      EXPECT_LE(
          logits[static_cast<std::size_t>(next)] - logits[static_cast<std::size_t>(best[position])],
          2 * tolerance)
          << "position " << position;
      const auto at = std::find(positions.begin(), positions.end(), position) - positions.begin();
      if (at == std::ssize(positions)) continue;
      const auto row = static_cast<std::size_t>(at);
      for (std::size_t i = 0; i < ids[row].size(); ++i) {
        const double found = logits[static_cast<std::size_t>(ids[row][i])];
        worst = std::max(worst, std::abs(found - static_cast<double>(expected[row][i])));
      }
    }
  });
  ASSERT_EQ(position, tokens.size());
  EXPECT_LE(worst, tolerance);
  EXPECT_LE(worst_sum, tolerance);
  ::testing::Test::RecordProperty("max_logit_difference", fmt::format("{:.3g}", worst));

  Ids found;
  while (true) {
    found.push_back(next);
    if (found.size() == greedy.size()) break;
    next = argmax(model.forward({&next, 1}, cache));
  }
  EXPECT_EQ(found, greedy);
}

TEST(Parity, StoriesOnEveryIsaInBothFormats) {
  ONEBIT_REQUIRE_FILE(testing::model("stories260k.gguf"));
  const Golden golden("stories260k");
  for (const kernels::KernelSet* set : kernels::available_kernels()) {
    for (const char* file : {"stories260k", "stories260k.gguf"}) {
      SCOPED_TRACE(fmt::format("{} {}", set->name, file));
      Model model = Model::load(testing::model(file),
                                {.threads = 2, .kv = KvType::kF32, .isa = std::string(set->name)});
      EXPECT_EQ(model.kernels().name, set->name);
      expect_parity(model, golden);
    }
  }
}

TEST(Parity, SmolLm2) {
  ONEBIT_REQUIRE_FILE(testing::model("smollm2-135m-instruct.gguf"));
  Model model =
      Model::load(testing::model("smollm2-135m-instruct.gguf"), {.kv = KvType::kF32, .isa = {}});
  expect_parity(model, Golden("smollm2"));
}

}  // namespace
}  // namespace onebit::runtime
