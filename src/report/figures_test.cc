#include "report/figures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/plots.h"
#include "report/run_curves.h"
#include "report/test_records.h"

namespace onebit::report {
namespace {

using namespace ::onebit::report::testing;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(PerplexityFigures, NeedTwoModels) {
  const Comparison one(records({perplexity_json(model_info('a'))}), {});
  EXPECT_TRUE(perplexity_figures(one).empty());
  Json large = model_info('b', "it's `id` $x");
  large["matrix_bits_per_weight"] = 16;
  const Comparison two(records({perplexity_json(model_info('a')), perplexity_json(large, 900)}),
                       {});
  const std::vector<Figure> figures = perplexity_figures(two);
  ASSERT_EQ(figures.size(), 2U);
  EXPECT_EQ(figures[0].id, "bits_wiki_raw");
  EXPECT_THAT(figures[0].script, HasSubstr("set label 'it''s `id` $x'"));
  EXPECT_THAT(figures[0].script, HasSubstr("set logscale y"));
  EXPECT_THAT(figures[0].alt, HasSubstr("it's `id` $x at 16.00 and 900.00"));
  EXPECT_THAT(figures[1].caption, HasSubstr("file size, MB"));
}

TEST(TaskFigures, HaveBarsOfWhatIsThere) {
  const Comparison comparison(
      records(
          {eval_json(model_info('a', "one"), {{"piqa", task_json(0.5)}, {"mmlu", task_json(0.3)}}),
           eval_json(model_info('b', "two"), {{"boolq", task_json(0.6)}}),
           perplexity_json(model_info('c', "three"))}),
      {});
  const std::vector<Figure> figures = task_figures(comparison, {});
  ASSERT_EQ(figures.size(), 2U);
  ASSERT_EQ(figures[0].legend.size(), 2U);
  EXPECT_EQ(figures[0].legend[1].name, "two");
  EXPECT_THAT(figures[0].script, HasSubstr("set ytics scale 0 ('PIQA' 0, 'BoolQ' 1)"));
  EXPECT_THAT(figures[0].script, HasSubstr("xerrorbars"));
  EXPECT_EQ(figures[0].alt, "Bars. PIQA: one 50.0; BoolQ: two 60.0.");
  EXPECT_EQ(figures[1].id, "mmlu_bars");
}

TEST(SpeedFigures, AreOneATest) {
  const Comparison comparison(
      records({{{"model", "a"},
                {"results",
                 {{{"test", "pp8"}, {"threads", 1}, {"tokens_per_second", 5}},
                  {{"test", "tg8"}, {"threads", 1}, {"tokens_per_second", 3}},
                  {{"test", "tg8"}, {"threads", 2}, {"tokens_per_second", 4}}}}},
               {{"model", "b"},
                {"results", {{{"test", "tg8"}, {"threads", 2}, {"tokens_per_second", 7}}}}}}),
      {});
  const std::vector<Figure> figures = speed_figures(comparison);
  ASSERT_EQ(figures.size(), 2U);
  EXPECT_EQ(figures[1].alt, "Bars. 1 thread: a 3.0; 2 threads: a 4.0, b 7.0.");
}

TrainingRun run(const std::string& folder, const std::string& init) {
  TrainingRun result{.origin = {.file = folder}, .recipe = {{"init", init}}};
  for (int block = 0; block < 3; ++block) {
    result.rows.push_back(
        {.step = 0, .block = block, .metrics = {{"block_error", 0.5 - 0.1 * block}, {"loss", 99}}});
  }
  for (int step = 1; step <= 1000; ++step) {
    result.rows.push_back(
        {.step = static_cast<double>(step), .metrics = {{"loss", 2}, {"kl", 3.0 / step}}});
  }
  return result;
}

TEST(RunFigures, NameRunsByTheirStarts) {
  const Comparison comparison({run("a", "nmf"), run("b", "svd")}, {});
  const std::vector<Figure> figures = run_figures(comparison);
  ASSERT_EQ(figures.size(), 1U);  // the loss does not vary
  EXPECT_EQ(figures[0].id, "curve_kl");
  EXPECT_EQ(figures[0].legend[0].name, "a (start nmf)");
  EXPECT_THAT(figures[0].script, HasSubstr("set logscale y"));
  EXPECT_LT(figures[0].script.size(), 20000U);  // thinned
  const std::vector<Figure> layers = layer_figures(comparison);
  ASSERT_EQ(layers.size(), 1U);
  EXPECT_EQ(layers[0].id, "block_errors");
}

TEST(CurvePoints, SmoothAndThin) {
  TrainingRun training;
  for (int step = 1; step <= 4; ++step) {
    training.rows.push_back({.step = static_cast<double>(step), .metrics = {{"kl", 2.0 * step}}});
  }
  EXPECT_EQ(curve_points(training, "kl", 1), (Points{{1, 2}, {2, 4}, {3, 6}, {4, 8}}));
  EXPECT_EQ(curve_points(training, "kl", 2), (Points{{1, 2}, {2, 3}, {3, 5}, {4, 7}}));
  EXPECT_TRUE(curve_points(training, "lr", 1).empty());
  EXPECT_EQ(thinned(curve_points(training, "kl", 1), 2), (Points{{1.5, 3}, {3.5, 7}}));
  EXPECT_EQ(thinned({{1, 2}, {2, 4}, {3, 6}}, 2), (Points{{1.5, 3}, {3, 6}}));
  EXPECT_TRUE(varies({{1, 2}, {2, 3}}));
  EXPECT_FALSE(varies({{1, 2}, {2, 2}}));
  EXPECT_FALSE(varies({}));
}

TEST(LineScript, LeavesOutWhatALogarithmHasNoPlaceFor) {
  LinePlot plot{.id = "x",
                .lines = {{"a", {{1, 0}, {2, 10}, {3, 1000}}, 0}, {"b", {{1, -1}}, 1}},
                .log = true,
                .key = true};
  const LineScript script = line_script(plot);
  EXPECT_THAT(script.data, HasSubstr("$x_0 << END\n2 10\n3 1000\nEND\n"));
  EXPECT_THAT(script.data, Not(HasSubstr("$x_1")));
  EXPECT_THAT(script.commands, HasSubstr("title 'a'"));
  plot.lines.clear();
  EXPECT_EQ(line_script(plot).commands, "");
}

TEST(SensitivityFigures, AreMapsOfLayersAndMatrices) {
  Json json = {{"model", "x"}, {"rows", Json::array()}};
  for (int layer = 0; layer < 3; ++layer) {
    json["rows"].push_back({{"matrix", fmt::format("blk.{}.attn_q", layer)},
                            {"method", "onebit"},
                            {"bits", 1.02},
                            {"kl_mean", std::pow(10, layer)},
                            {"relative_error", 0.1}});
  }
  json["rows"].push_back(
      {{"matrix", "output"}, {"method", "onebit"}, {"bits", 1.02}, {"kl_mean", 5000}});
  const Comparison comparison(records({json}), {});
  const std::vector<Figure> figures = sensitivity_figures(comparison);
  ASSERT_EQ(figures.size(), 1U);
  EXPECT_THAT(figures[0].script, HasSubstr("set logscale cb\nset cbrange [1:100]"));
  EXPECT_THAT(figures[0].script, HasSubstr("$map << END\n0 0 1\n0 1 10\n0 2 100\nEND\n"));
  EXPECT_THAT(figures[0].alt, HasSubstr("largest divergence is 100.0000 nats of blk.2.attn_q"));
  EXPECT_EQ(layer_figures(comparison).size(), 1U);
}

TEST(SensitivityFigures, NothingPositiveGivesNone) {
  const Comparison comparison(
      records(
          {{{"model", "x"},
            {"rows", {{{"matrix", "blk.0.a"}, {"method", "m"}, {"bits", 1}, {"kl_mean", 0}}}}}}),
      {});
  EXPECT_TRUE(sensitivity_figures(comparison).empty());
}

}  // namespace
}  // namespace onebit::report
