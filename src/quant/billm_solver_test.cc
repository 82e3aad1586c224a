// BiLLM of single matrices against tools/golden/make_billm.py.
#include "quant/billm_solver.h"

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/test_paths.h"
#include "file/safetensors.h"
#include "nn/test_golden.h"

namespace onebit::quant {
namespace {

using Json = nlohmann::json;
using torch::Tensor;

TEST(Billm, IsTheReferences) {
  const std::filesystem::path path = testing::golden("rivals/billm.safetensors");
  const testing::GoldenTensors golden(path);
  const Json cases = Json::parse(file::SafetensorsFile::open(path).metadata().at("cases"));
  int compared = 0;
  for (const auto& [name, settings] : cases.items()) {
    if (settings.at("form") != "github" || settings.at("metric") != "hessian") continue;
    SCOPED_TRACE(name);
    ++compared;
    const std::string of = name == "wide" ? "wide/" : "";
    const Tensor w = golden.get(of + "W").contiguous();
    const Tensor x = golden.get(name == "dead" ? "dead/x" : of + "x").to(torch::kFloat64);
    const Tensor rows = x.reshape({-1, x.size(-1)});
    BillmOptions options;
    options.block = settings.at("block");
    options.damping = settings.value("percdamp", 0.01);
    options.levels = formats::DType::kF64;
    const BillmResult found =
        billm({w.data_ptr<float>(), static_cast<std::size_t>(w.numel())}, w.size(0), w.size(1),
              rows.t().matmul(rows) * (2.0 / static_cast<double>(x.size(0))), options);
    const Tensor expected = golden.get(name + "/weight");
    EXPECT_LE((found.weights - expected).abs().max().item<double>(), 1e-9);

    // What is stored stands for that: salient columns first in each block, in f32.
    const arch::CodeSpec spec = billm_spec(w.size(1), options.block);
    ASSERT_EQ(std::ssize(found.values.ends), spec.groups);
    std::vector<float> weights(found.values.codes.size());
    arch::dequantize(spec, found.values, weights);
    EXPECT_LE(
        (torch::tensor(at::ArrayRef<float>(weights)).view(w.sizes()).to(torch::kFloat64) - expected)
            .abs()
            .max()
            .item<double>(),
        0x1p-23 * expected.abs().max().item<double>());
    const Tensor salient = golden.get(name + "/salient");
    std::int64_t begin = 0;
    for (std::size_t s = 0; s < found.values.ends.size(); ++s) {
      for (; begin < found.values.ends[s]; ++begin) {
        EXPECT_EQ(salient[found.values.order[static_cast<std::size_t>(begin)]].item<int>(),
                  s % 2 == 0 ? 1 : 0);
      }
    }
  }
  EXPECT_EQ(compared, 5);
}

TEST(Billm, SpecsOfAwkwardWidths) {
  EXPECT_EQ(billm_spec(576, 128).groups, 10);
  EXPECT_EQ(billm_spec(129, 128).groups, 3);  // the last block has one column
  EXPECT_EQ(billm_spec(64, 128).groups, 2);
  EXPECT_EQ(billm_spec(129, 1).groups, 129);
  ASSERT_EQ(billm_spec(1, 128).groups, 1);
  const Tensor w = torch::rand({3, 129});
  const Tensor x = torch::rand({400, 129}, torch::kFloat64);
  const BillmResult found = billm({w.data_ptr<float>(), 387}, 3, 129, x.t().matmul(x), {});
  EXPECT_EQ(found.values.ends.back(), 129);
  EXPECT_TRUE(found.weights.isfinite().all().item<bool>());
}

}  // namespace
}  // namespace onebit::quant
