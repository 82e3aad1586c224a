#include "eval/task_data.h"

#include <gmock/gmock.h>

#include "base/atomic_file.h"
#include "base/test_paths.h"
#include "eval/test_eval.h"

namespace onebit::eval {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

std::string piqa_row(int i) {
  return R"({"goal": "g)" + std::to_string(i) + R"(", "sol1": "a", "sol2": "b", "label": )" +
         std::to_string(i % 2) + "}\n";
}

std::string piqa_rows(int count) {
  std::string rows;
  for (int i = 0; i < count; ++i) rows += piqa_row(i);
  return rows;
}

std::string mmlu_row(const std::string& subject, int i) {
  return R"({"question": "q)" + std::to_string(i) + R"(", "subject": ")" + subject +
         R"(", "choices": ["w", "x", "y", "z"], "answer": )" + std::to_string(i % 4) + "}\n";
}

class Data : public ::testing::Test {
 protected:
  void write(const std::string& name, std::string_view content) {
    std::filesystem::create_directories((dir_ / name).parent_path());
    write_file(dir_ / name, content);
  }
  TaskData load(std::string_view task, const DataOptions& options = {}) {
    DataFolder folder(dir_.path());
    return folder.load(*find_task(task), options);
  }
  std::string load_error(ErrorCode code, std::string_view task, const DataOptions& options = {}) {
    return error_of(code, [&] { load(task, options); });
  }
  /// What precedes documents 0, 1, …
  std::vector<std::string> before(const TaskData& data, std::uint64_t seed = 1234) {
    Examples examples(data, seed);
    std::vector<std::string> texts;
    for (std::size_t i = 0; i < data.documents.size(); ++i) texts.push_back(examples.before(i));
    return texts;
  }

  onebit::testing::TempDir dir_;
};

TEST_F(Data, DocumentsInTheFilesOrder) {
  write("piqa.validation.jsonl", piqa_rows(5));
  const TaskData all = load("piqa");
  EXPECT_EQ(all.split, "validation");
  EXPECT_EQ(all.file, dir_ / "piqa.validation.jsonl");
  EXPECT_EQ(all.documents.size(), 5U);
  EXPECT_EQ(all.documents[3].context, "Question: g3\nAnswer:");
  EXPECT_EQ(all.shots, 0);
  const TaskData some = load("piqa", {.limit = 2});
  EXPECT_EQ(some.documents.size(), 2U);
  EXPECT_EQ(some.available, 5);
  EXPECT_EQ(load("piqa", {.limit = 9}).documents.size(), 5U);
  EXPECT_THAT(before(some), ElementsAre("", ""));
}

TEST_F(Data, OtherNamesAndSplits) {
  const std::string row =
      R"({"question": "q", "choices": {"text": ["a"], "label": ["A"]}, "answerKey": "A"})";
  write("ARC-Easy/ARC-Easy-Dev.jsonl", row);
  EXPECT_EQ(load("arc_easy").split, "validation");
  write("arc_easy/test.jsonl", row);
  EXPECT_EQ(load("arc_easy").split, "test");  // lm-eval's own
  EXPECT_EQ(load("arc_easy").file, dir_ / "arc_easy/test.jsonl");
}

TEST_F(Data, AMissingSetSaysWhereItIsToBeHad) {
  EXPECT_EQ(load_error(ErrorCode::kNotFound, "piqa"),
            "piqa: found no piqa.validation.jsonl in " + dir_.path().string() +
                ", expected rows of baber/piqa (a data set of the Hugging Face hub) in JSON lines");
  EXPECT_THAT(load_error(ErrorCode::kNotFound, "arc_easy"),
              AllOf(HasSubstr("no arc_easy.test.jsonl or arc_easy.validation.jsonl in"),
                    HasSubstr("allenai/ai2_arc, ARC-Easy")));
  write("piqa.validation.jsonl", piqa_rows(5));
  EXPECT_THAT(load_error(ErrorCode::kNotFound, "piqa", {.shots = 1}),
              HasSubstr("found no piqa.train.jsonl in"));
}

TEST_F(Data, BrokenRowsNameFileAndLine) {
  write("piqa.validation.jsonl", piqa_rows(2) + "{\"goal\": 1}\n");
  EXPECT_EQ(
      load_error(ErrorCode::kCorrupt, "piqa"),
      (dir_ / "piqa.validation.jsonl").string() + ", line 3: goal: found 1, expected a string");
  write("piqa.validation.jsonl", "\n");
  EXPECT_THAT(load_error(ErrorCode::kCorrupt, "piqa"), HasSubstr("found no rows"));
}

TEST_F(Data, SubjectsOfOneFile) {
  write("mmlu.test.jsonl",
        mmlu_row("anatomy", 0) + mmlu_row("virology", 1) + mmlu_row("anatomy", 2));
  write("mmlu.dev.jsonl",
        mmlu_row("virology", 3) + mmlu_row("anatomy", 5) + mmlu_row("anatomy", 6));
  const TaskData data = load("mmlu_anatomy", {.shots = 2});
  ASSERT_EQ(data.documents.size(), 2U);
  EXPECT_THAT(data.documents[1].context, HasSubstr("q2\nA. w"));
  const std::string expected =
      "The following are multiple choice questions (with answers) about anatomy.\n\n"
      "q5\nA. w\nB. x\nC. y\nD. z\nAnswer: B\n\n"
      "q6\nA. w\nB. x\nC. y\nD. z\nAnswer: C\n\n";
  EXPECT_THAT(before(data), ElementsAre(expected, expected));
  EXPECT_THAT(load_error(ErrorCode::kInvalidArgument, "mmlu_anatomy"),
              AllOf(HasSubstr("mmlu.dev.jsonl: found 2 examples, expected 5 for 5 shots")));
  EXPECT_THAT(load_error(ErrorCode::kCorrupt, "mmlu_astronomy"),
              HasSubstr("found no row of subject \"astronomy\""));
}

TEST_F(Data, HashesOfWhatWasRead) {
  write("mmlu.test.jsonl", mmlu_row("anatomy", 0));
  write("mmlu.dev.jsonl", mmlu_row("anatomy", 1));
  DataFolder folder(dir_.path());
  folder.load(*find_task("mmlu_anatomy"), {.shots = 1});
  ASSERT_EQ(folder.hashes().size(), 2U);
  EXPECT_EQ(folder.hashes().begin()->first, "mmlu.dev.jsonl");
  EXPECT_EQ(folder.hashes().begin()->second.size(), 64U);
}

TEST_F(Data, RandomExamplesAreDrawnForEveryDocument) {
  write(
      "arc_easy.test.jsonl",
      R"({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"})"
      "\n"
      R"({"question": "r", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"})");
  std::string train;
  for (int i = 0; i < 30; ++i) {
    train += R"({"question": "t)" + std::to_string(i) +
             R"(", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "B"})" + "\n";
  }
  write("arc_easy.train.jsonl", train);
  const auto text = [](std::size_t i) {
    return "Question: t" + std::to_string(i) + "\nAnswer: b\n\n";
  };
  PythonRandom random(7);
  std::vector<std::string> expected;
  for (int document = 0; document < 2; ++document) {
    const auto drawn = random.sample(30, 2);
    expected.push_back(text(drawn[0]) + text(drawn[1]));
  }
  EXPECT_EQ(before(load("arc_easy", {.shots = 2}), 7), expected);
  EXPECT_NE(expected[0], expected[1]);
}

TEST_F(Data, TheDocumentIsNotItsOwnExample) {
  write("piqa.validation.jsonl", piqa_rows(3));
  write("piqa.train.jsonl", piqa_rows(3));
  const TaskData data = load("piqa", {.shots = 2});
  const auto texts = before(data);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 3; ++j) {
      EXPECT_EQ(texts[i].find("g" + std::to_string(j)) == std::string::npos, i == j);
    }
  }
  EXPECT_THAT(load_error(ErrorCode::kInvalidArgument, "piqa", {.shots = 3}),
              HasSubstr("found 3 examples, expected 4 for 3 shots"));
}

TEST_F(Data, ARowThatIsThereTwiceIsDrawnAround) {
  write("piqa.validation.jsonl", piqa_row(0));
  write("piqa.train.jsonl", piqa_row(0) + piqa_row(0) + piqa_row(1));
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    EXPECT_THAT(before(load("piqa", {.shots = 1}), seed),
                ElementsAre("Question: g1\nAnswer: b\n\n"));
  }
  write("piqa.train.jsonl", piqa_row(0) + piqa_row(0));
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { before(load("piqa", {.shots = 1})); }),
              HasSubstr("found 0 examples other than document 0"));
}

TEST_F(Data, ExamplesOfOtherKinds) {
  write("winogrande.validation.jsonl",
        R"({"sentence": "a _ b", "option1": "x", "option2": "y", "answer": "1"})");
  write("winogrande.train.jsonl",
        R"({"sentence": "The _ ran.", "option1": "cat", "option2": "dog", "answer": "2"})"
        "\n"
        R"({"sentence": "The _ ran.", "option1": "dog", "option2": "cat", "answer": "1"})");
  EXPECT_THAT(before(load("winogrande", {.shots = 1})), ElementsAre("The dog ran.\n\n"));
  // Two spaces: the word brings one of its own.
  write("lambada_openai.test.jsonl", R"({"text": "See Bob"})");
  EXPECT_THAT(before(load("lambada_openai", {.shots = 1})), ElementsAre("See  Bob\n\n"));
}

TEST(SharedData, RealSetsAreRead) {
  const auto folder = onebit::testing::shared_data("zeroshot");
  ONEBIT_REQUIRE_FILE(folder);
  DataFolder data(folder);
  for (const auto& [task, count, split] :
       {std::tuple("piqa", 1838, "validation"), std::tuple("winogrande", 1267, "validation"),
        std::tuple("hellaswag", 10042, "validation"), std::tuple("boolq", 3270, "validation"),
        std::tuple("arc_easy", 570, "validation"),
        std::tuple("arc_challenge", 299, "validation")}) {
    const TaskData found = data.load(*find_task(task), {});
    EXPECT_EQ(found.available, count) << task;
    EXPECT_EQ(found.split, split) << task;
  }
  std::int64_t questions = 0;
  for (const Task& task : all_tasks()) {
    if (task.subject.empty()) continue;
    const TaskData found = data.load(task, {});
    EXPECT_EQ(found.examples.size(), 5U) << task.name;
    questions += found.available;
  }
  EXPECT_EQ(questions, 14042);
}

}  // namespace
}  // namespace onebit::eval
