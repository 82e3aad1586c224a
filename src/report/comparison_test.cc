#include "report/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "report/test_records.h"

namespace onebit::report {
namespace {

using namespace ::onebit::report::testing;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<std::string> names(const Comparison& comparison) {
  std::vector<std::string> result;
  for (const ModelEntry& model : comparison.models()) result.push_back(model.name);
  return result;
}

std::string says(const std::vector<Json>& files, const std::vector<Label>& labels = {}) {
  return message_of([&] { const Comparison comparison(records(files), labels); });
}

Json bench_json(const std::string& path) {
  return {{"model", path},
          {"file_bytes", 250000},
          {"results", {{{"test", "pp8"}, {"threads", 1}, {"tokens_per_second", 5}}}}};
}

TEST(Comparison, JoinsByHash) {
  const Comparison comparison(
      records({perplexity_json(model_info('a', "one")), perplexity_json(model_info('b', "two")),
               eval_json(model_info('a', "one"), {{"piqa", task_json(0.5)}})}),
      {});
  EXPECT_THAT(names(comparison), ElementsAre("one", "two"));
  EXPECT_EQ(comparison.models()[0].perplexities.size(), 1U);
  EXPECT_EQ(comparison.models()[0].tasks.size(), 1U);
  EXPECT_TRUE(comparison.models()[1].tasks.empty());
  EXPECT_EQ(comparison.sources()[2].name, "one");
  EXPECT_THAT(comparison.texts(), ElementsAre("wiki.raw"));
}

TEST(Comparison, JoinsByPathWithoutAHash) {
  const Comparison comparison(
      records({bench_json("models/a.gguf"), perplexity_json(model_info('a')),
               bench_json("models/c.gguf")}),
      {});
  ASSERT_EQ(comparison.models().size(), 2U);
  EXPECT_EQ(comparison.models()[0].benches.size(), 1U);
  EXPECT_EQ(comparison.models()[0].perplexities.size(), 1U);
  EXPECT_EQ(comparison.models()[0].info.sha256, std::string(64, 'a'));
}

TEST(Comparison, NamesTellModelsApart) {
  const auto of = [](const std::vector<Json>& infos) {
    std::vector<Json> files;
    files.reserve(infos.size());
    for (const Json& info : infos) files.push_back(perplexity_json(info));
    const Comparison comparison(records(files), {});
    return names(comparison);
  };
  EXPECT_THAT(of({model_info('a', "x", "full precision"), model_info('b', "x", "onebit")}),
              ElementsAre("x, full precision", "x, onebit"));
  EXPECT_THAT(
      of({model_info('a', "x", "full precision"), model_info('b', "x"), model_info('c', "x")}),
      ElementsAre("x, full precision", "b", "c"));
  Json same = model_info('b', "x");
  same["path"] = "other/a.gguf";
  EXPECT_THAT(of({model_info('a', "x"), same}), ElementsAre("models/a.gguf", "other/a.gguf"));
  same["path"] = "models/a.gguf";
  EXPECT_THAT(of({model_info('a', "x"), same}),
              ElementsAre("models/a.gguf aaaaaaaaaaaa", "models/a.gguf bbbbbbbbbbbb"));
}

TEST(Comparison, LabelsNameAndSeparateRows) {
  const std::vector<Json> files = {perplexity_json(model_info('a'), 20),
                                   perplexity_json(model_info('a'), 21),
                                   bench_json("models/z.gguf")};
  const Comparison comparison(records(files),
                              {{"1.json", "exact"}, {"2.json", "int8"}, {"3.json", "int8"}});
  EXPECT_THAT(names(comparison), ElementsAre("exact", "int8"));
  EXPECT_EQ(comparison.models()[1].benches.size(), 1U);
  EXPECT_EQ(comparison.model_named("int8"), 1U);
  EXPECT_THAT(message_of([&] { comparison.model_named("none"); }),
              AllOf(HasSubstr("'none'"), HasSubstr("'exact', 'int8'")));
}

TEST(Comparison, WhatHasNoLabelJoinsTheOneRowOfItsModel) {
  const std::vector<Json> files = {eval_json(model_info('a'), {{"piqa", task_json(0.5)}}),
                                   perplexity_json(model_info('a'))};
  const Comparison comparison(records(files), {{"2.json", "mine"}});
  EXPECT_THAT(names(comparison), ElementsAre("mine"));
  EXPECT_EQ(comparison.models()[0].tasks.size(), 1U);
}

TEST(Comparison, OneMeasurementWithAndWithoutATeacher) {
  Json with = perplexity_json(model_info('a'));
  with.update({{"kl_mean", 0.5}, {"kl_stderr", 0.01}, {"teacher", "t.gguf"}});
  const Json without = perplexity_json(model_info('a'));
  for (const std::vector<Json>& files : {std::vector{with, without}, std::vector{without, with}}) {
    const Comparison comparison(records(files), {});
    ASSERT_EQ(comparison.models()[0].perplexities.size(), 1U);
    ASSERT_TRUE(comparison.models()[0].perplexities[0]->kl);
    EXPECT_EQ(comparison.models()[0].perplexities[0]->kl->teacher, "t.gguf");
  }
}

TEST(Comparison, Contradictions) {
  EXPECT_THAT(
      says({perplexity_json(model_info('a'), 20), perplexity_json(model_info('a'), 21)}),
      AllOf(HasSubstr("1.json and 2.json: found two results of the perplexity of a/wiki.raw"),
            HasSubstr("--label")));
  EXPECT_EQ(says({perplexity_json(model_info('a')), perplexity_json(model_info('a'))}),
            "");  // the same twice
  const auto diverges = [](const std::string& teacher, double kl) {
    Json json = perplexity_json(model_info('a'));
    json.update({{"kl_mean", kl}, {"kl_stderr", 0.01}, {"teacher", teacher}});
    return json;
  };
  EXPECT_THAT(says({diverges("t.gguf", 0.5), diverges("u.gguf", 0.6)}),
              HasSubstr("1.json and 2.json: found two results of the divergence on a/wiki.raw"));
  const auto quantized = [](double error) {
    return Json{{"model", "full.gguf"},
                {"output", "models/x.gguf"},
                {"method", "rtn"},
                {"matrices", Json::array()},
                {"totals", {{"relative_error", error}}}};
  };
  EXPECT_THAT(says({quantized(0.1), quantized(0.2)}),
              HasSubstr("1.json and 2.json: found two results of its matrices' errors"));
  EXPECT_EQ(says({quantized(0.1), quantized(0.1)}), "");
  EXPECT_THAT(says({eval_json(model_info('a'), {{"piqa", task_json(0.5)}}),
                    eval_json(model_info('a'), {{"piqa", task_json(0.6)}})}),
              HasSubstr("1.json and 2.json: found two results of piqa"));
  EXPECT_THAT(says({eval_json(model_info('a'), {{"piqa", task_json(0.5)}}, 0),
                    eval_json(model_info('a'), {{"piqa", task_json(0.5)}}, 5)}),
              HasSubstr("two results of piqa"));
  Json other = model_info('a');
  other["parameters"] = 7;
  EXPECT_THAT(
      says({perplexity_json(model_info('a')), eval_json(other, {{"piqa", task_json(0.5)}})}),
      HasSubstr("1.json and 2.json: found 1000000 and 7 parameters of the model tiny"));
  EXPECT_THAT(says({perplexity_json(model_info('a')), perplexity_json(model_info('b'))},
                   {{"1.json", "x"}, {"2.json", "x"}}),
              HasSubstr("--label x: found two models"));
  EXPECT_THAT(says({perplexity_json(model_info('a')), perplexity_json(model_info('a'), 21),
                    bench_json("models/a.gguf")},
                   {{"1.json", "x"}, {"2.json", "y"}}),
              AllOf(HasSubstr("3.json: found two rows"), HasSubstr("'x' and 'y'"),
                    HasSubstr("--label 3.json=NAME")));
}

TEST(Comparison, TextsOfOneNameAreToldApartByTheirPaths) {
  const Comparison comparison(records({perplexity_json(model_info('a'), 20, "a/t.txt"),
                                       perplexity_json(model_info('a'), 30, "b/t.txt"),
                                       perplexity_json(model_info('b', "other"), 40, "a/t.txt")}),
                              {});
  EXPECT_THAT(comparison.texts(), ElementsAre("a/t.txt", "b/t.txt"));
  EXPECT_EQ(comparison.models()[0].find_text("b/t.txt")->ppl.value, 30);
  EXPECT_EQ(comparison.models()[1].find_text("b/t.txt"), nullptr);
}

EvalRecord with_samples(char digit, const std::string& lines, double acc) {
  auto eval = std::get<EvalRecord>(
      record(eval_json(model_info(digit, std::string(1, digit)), {{"piqa", task_json(acc)}}),
             std::string(1, digit) + ".json"));
  eval.samples_file = "s.jsonl";
  if (!lines.empty()) eval.samples = parse_samples(lines, "s.jsonl");
  return eval;
}

TEST(Comparison, SamplesMustBelongTogether) {
  const std::string one = "{\"task\":\"piqa\",\"doc_id\":1,\"target\":0,\"acc\":1.0}\n";
  const std::string two = "{\"task\":\"piqa\",\"doc_id\":1,\"target\":1,\"acc\":1.0}\n";
  EXPECT_THAT(
      message_of([&] { const Comparison c({with_samples('a', one, 0.5)}, {}); }),
      AllOf(HasSubstr("a.json: found acc 0.500000 of piqa"), HasSubstr("samples of the same run")));
  EXPECT_THAT(message_of([&] {
                const Comparison c({with_samples('a', one, 1), with_samples('b', two, 1)}, {});
              }),
              HasSubstr("samples of a and b: found other answers to document 1 of piqa"));
  const Comparison good({with_samples('a', one, 1), with_samples('b', one, 1)}, {});
  EXPECT_TRUE(good.warnings().empty());
  const Comparison absent({with_samples('a', "", 1)}, {});
  ASSERT_EQ(absent.warnings().size(), 1U);
  EXPECT_THAT(absent.warnings()[0], HasSubstr("s.jsonl"));
}

TEST(RunNames, AreShortAndDiffer) {
  EXPECT_THAT(run_names({"a/x", "b/y/"}), ElementsAre("x", "y"));
  EXPECT_THAT(run_names({"a/x", "b/x", "c"}), ElementsAre("a/x", "b/x", "c"));
}

}  // namespace
}  // namespace onebit::report
