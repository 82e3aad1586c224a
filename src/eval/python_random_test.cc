#include "eval/python_random.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/atomic_file.h"
#include "base/test_paths.h"

namespace onebit::eval {
namespace {

TEST(PythonRandom, DrawsWhatCPythonDraws) {
  const auto golden = nlohmann::json::parse(read_file(testing::golden("eval/python_random.json")));
  ASSERT_GE(golden["cases"].size(), 7U);
  for (const auto& c : golden["cases"]) {
    PythonRandom random(c["seed"].get<std::uint64_t>());
    for (const auto& draw : c["draws"]) {
      auto found = random.sample(draw["population"], draw["count"]);
      EXPECT_EQ(found.size(), draw["count"]);
      found.resize(draw["sample"].size());
      EXPECT_EQ(nlohmann::json(found), draw["sample"])
          << "seed " << c["seed"] << ", population " << draw["population"];
    }
  }
}

}  // namespace
}  // namespace onebit::eval
