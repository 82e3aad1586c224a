// Every task's prompts, written out: what lm-eval 0.4.13 makes of the same row.
#include "eval/task.h"

#include <gmock/gmock.h>
#include <set>

#include "eval/requests.h"
#include "eval/task_table.h"
#include "eval/test_eval.h"

namespace onebit::eval {
namespace {

using testing::document;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::Pair;

/// {context, continuation} of each choice, without examples.
std::vector<std::pair<std::string, std::string>> prompts(std::string_view task,
                                                         const std::string& json) {
  const Task& found = *find_task(task);
  std::vector<std::pair<std::string, std::string>> pairs;
  for (Prompt& prompt : make_prompts(found, document(task, json), found.description)) {
    pairs.emplace_back(std::move(prompt.context), std::move(prompt.continuation));
  }
  return pairs;
}

std::string broken(std::string_view task, const std::string& json) {
  return error_of(ErrorCode::kCorrupt, [&] { document(task, json); });
}

TEST(Piqa, Prompts) {
  const auto* json = R"({"goal": "dresser", "sol1": "replace drawer with bobby pin ",
                         "sol2": "finish, woodgrain with  bobby pin ", "label": 1})";
  const std::string context = "Question: dresser\nAnswer:";
  EXPECT_THAT(prompts("piqa", json),
              ElementsAre(Pair(context, " replace drawer with bobby pin "),
                          Pair(context, " finish, woodgrain with  bobby pin ")));
  EXPECT_EQ(document("piqa", json).target, 1U);
}

TEST(HellaSwag, Prompts) {
  const auto* json =
      R"({"activity_label": "Getting a [substeps] haircut", "ctx_a": "[header] How to cut hair [title] Wash it.",
          "ctx_b": "the LADY", "ctx": "unused", "label": "2",
          "endings": [" smiles. ", "is [step] cut  short.", "[title] ends.", "[un[closed] [open\n]"]})";
  const std::string context = "Getting a haircut: How to cut hair. Wash it. The lady";
  EXPECT_THAT(prompts("hellaswag", json),
              ElementsAre(Pair(context, " smiles."), Pair(context, " is cut short."),
                          Pair(context, "  ends."), Pair(context, "  [open\n]")));
  EXPECT_EQ(document("hellaswag", json).target, 2U);
}

TEST(HellaSwag, AnEmptySecondPart) {
  const auto* json = R"({"activity_label": "Baking", "ctx_a": "A cake.", "ctx_b": "", "label": 0,
                         "endings": ["rises"]})";
  // The space before the second part is stripped; the choice brings one of its own.
  EXPECT_THAT(prompts("hellaswag", json), ElementsAre(Pair("Baking: A cake.", " rises")));
}

TEST(WinoGrande, Prompts) {
  const auto* json = R"({"sentence": "Ann was faster than Eve so _  always won_.",
                         "option1": "Ann", "option2": "Eve", "answer": "2"})";
  EXPECT_THAT(prompts("winogrande", json),
              ElementsAre(Pair("Ann was faster than Eve so Ann", " always won_."),
                          Pair("Ann was faster than Eve so Eve", " always won_.")));
  EXPECT_EQ(document("winogrande", json).target, 1U);
}

TEST(BoolQ, Prompts) {
  const auto* json = R"({"question": "is it wet", "passage": "Water is wet.", "answer": true})";
  const std::string context = "Water is wet.\nQuestion: is it wet?\nAnswer:";
  EXPECT_THAT(prompts("boolq", json), ElementsAre(Pair(context, " no"), Pair(context, " yes")));
  EXPECT_EQ(document("boolq", json).target, 1U);
  EXPECT_EQ(document("boolq", R"({"question": "", "passage": "", "label": 0})").target, 0U);
}

TEST(Arc, Prompts) {
  const auto* json =
      R"({"id": "x", "question": "Which is red? ", "choices": {"text": ["sky", "blood", "grass"],
          "label": ["A", "B", "C"]}, "answerKey": "B"})";
  const std::string context = "Question: Which is red? \nAnswer:";
  for (const char* task : {"arc_easy", "arc_challenge"}) {
    EXPECT_THAT(prompts(task, json), ElementsAre(Pair(context, " sky"), Pair(context, " blood"),
                                                 Pair(context, " grass")));
    EXPECT_EQ(document(task, json).target, 1U);
  }
}

TEST(Arc, LabelsOfDigitsAndTheInstitutesOwnShape) {
  const auto* json =
      R"({"question": {"stem": "Two?", "choices": [{"text": "one", "label": "1"},
          {"text": "two", "label": "2"}]}, "answerKey": "2"})";
  EXPECT_THAT(prompts("arc_easy", json), ElementsAre(Pair("Question: Two?\nAnswer:", " one"),
                                                     Pair("Question: Two?\nAnswer:", " two")));
  EXPECT_EQ(document("arc_easy", json).target, 1U);
}

TEST(OpenBookQA, Prompts) {
  const auto* json =
      R"({"question_stem": "The sun is", "choices": {"text": ["a star", "a lamp"],
          "label": ["A", "B"]}, "answerKey": " A"})";
  EXPECT_THAT(prompts("openbookqa", json),
              ElementsAre(Pair("The sun is", " a star"), Pair("The sun is", " a lamp")));
  EXPECT_EQ(document("openbookqa", json).target, 0U);
}

TEST(Lambada, Prompts) {
  EXPECT_THAT(prompts("lambada_openai", R"({"text": "He gave it to  Bob"})"),
              ElementsAre(Pair("He gave it to ", " Bob")));
  EXPECT_THAT(prompts("lambada_openai", R"({"text": "Bob"})"), ElementsAre(Pair("", " Bob")));
}

TEST(Mmlu, Prompts) {
  const auto* json = R"({"question": " What is 1+1?\n", "subject": "high_school_us_history",
                         "choices": ["0", "1", "2", " 3"], "answer": 2})";
  const std::string context =
      "The following are multiple choice questions (with answers) about high school us history.\n\n"
      "What is 1+1?\nA. 0\nB. 1\nC. 2\nD.  3\nAnswer:";
  EXPECT_THAT(prompts("mmlu_high_school_us_history", json),
              ElementsAre(Pair(context, " A"), Pair(context, " B"), Pair(context, " C"),
                          Pair(context, " D")));
  EXPECT_EQ(document("mmlu_anatomy", json).target, 2U);
}

TEST(Tasks, BrokenRows) {
  const std::string place = "data.jsonl, line 1: ";
  EXPECT_EQ(broken("piqa", R"({"goal": "g", "sol1": "a", "label": 0})"),
            place + "sol2: found no such field, expected a string");
  EXPECT_EQ(broken("piqa", R"({"goal": "g", "sol1": "a", "sol2": "b", "label": 2})"),
            place + "label: found 2, expected a number from 0 to 1");
  EXPECT_EQ(broken("hellaswag", R"({"activity_label": "", "ctx_a": "", "ctx_b": "", "endings": [],
                                    "label": 0})"),
            place + "endings: found none, expected an array of strings");
  EXPECT_THAT(broken("hellaswag", R"({"activity_label": "", "ctx_a": "", "ctx_b": "",
                                      "endings": ["x"], "label": "1"})"),
              HasSubstr("label: found \"1\", expected a number from 0 to 0"));
  EXPECT_EQ(broken("winogrande", R"({"sentence": "no blank"})"),
            place + "sentence: found no '_' in it, expected a sentence with a blank");
  EXPECT_EQ(broken("winogrande", R"({"sentence": "ends with _ "})"),
            place + "sentence: found nothing after its '_', expected words that can be scored");
  EXPECT_THAT(broken("winogrande", R"({"sentence": "a _ b", "option1": "x", "option2": "y",
                                       "answer": ""})"),
              HasSubstr("answer: found \"\", expected a number from 1 to 2"));
  EXPECT_THAT(broken("boolq", R"({"question": "", "passage": ""})"),
              HasSubstr("answer: found no such field"));
  EXPECT_EQ(broken("arc_easy", R"({"question": "q", "choices": {"text": ["a", "b"],
                                   "label": ["A"]}, "answerKey": "A"})"),
            place + "choices: found 2 texts and 1 labels, expected a label for every text");
  EXPECT_EQ(broken("arc_easy", R"({"question": "q", "choices": {"text": ["a", "b"],
                                   "label": ["A", "B"]}, "answerKey": "E"})"),
            place + "answerKey: found \"E\", expected one of the labels A, B");
  EXPECT_THAT(broken("arc_easy", R"({"question": {"stem": "q", "choices": []}, "answerKey": "A"})"),
              HasSubstr("found 0 texts and 0 labels"));
  EXPECT_EQ(broken("mmlu_anatomy", R"({"question": "q", "choices": ["a", "b"], "answer": 0})"),
            place + "choices: found 2 of them, expected 4");
  EXPECT_THAT(broken("lambada_openai", R"({"txt": ""})"), HasSubstr("text: found no such field"));
}

TEST(Tasks, TheTable) {
  std::set<std::string_view> names;
  for (const Task& task : all_tasks()) {
    SCOPED_TRACE(task.name);
    EXPECT_TRUE(names.insert(task.name).second);
    EXPECT_EQ(task.name, task.subject.empty() ? task.alias : "mmlu_" + task.alias);
    EXPECT_FALSE(task.set.empty());
    ASSERT_FALSE(task.splits.empty());
    for (const Split& split : task.splits) EXPECT_FALSE(split.files.empty());
    EXPECT_FALSE(task.examples.files.empty());
    EXPECT_FALSE(task.metrics.empty());
    EXPECT_NE(task.document, nullptr);
  }
  for (const Group& group : all_groups()) {
    EXPECT_TRUE(names.insert(group.name).second) << group.name;
    for (const std::string& member : group.members) EXPECT_TRUE(names.contains(member)) << member;
  }
  EXPECT_EQ(task_names().size(), names.size() + 1);
}

TEST(Mmlu, Categories) {
  std::size_t subjects = 0;
  for (const auto& [name, count] :
       {std::pair("mmlu_stem", 19U), std::pair("mmlu_other", 13U),
        std::pair("mmlu_social_sciences", 12U), std::pair("mmlu_humanities", 13U)}) {
    EXPECT_EQ(find_group(name)->members.size(), count) << name;
    subjects += count;
  }
  EXPECT_EQ(subjects, 57U);
  EXPECT_EQ(find_task("mmlu_anatomy")->shots, 5);
}

TEST(Selection, KeepsTheOrderAndEachTaskOnce) {
  Selection some;
  EXPECT_TRUE(some.add("piqa"));
  EXPECT_TRUE(some.add("paper"));
  EXPECT_FALSE(some.add("piqua"));
  EXPECT_TRUE(some.add("piqa"));
  std::vector<std::string> names;
  for (const Task* task : some.tasks) names.push_back(task->name);
  EXPECT_THAT(names,
              ElementsAre("piqa", "winogrande", "hellaswag", "boolq", "arc_easy", "arc_challenge"));
  EXPECT_TRUE(some.groups.empty());  // a name for tasks, no mean
}

TEST(Selection, GroupsWithTheirMembers) {
  Selection mmlu;
  EXPECT_TRUE(mmlu.add("mmlu"));
  EXPECT_TRUE(mmlu.add("mmlu_stem"));
  EXPECT_EQ(mmlu.tasks.size(), 57U);
  ASSERT_EQ(mmlu.groups.size(), 5U);
  EXPECT_EQ(mmlu.groups.back()->name, "mmlu");

  Selection all;
  EXPECT_TRUE(all.add("all"));
  EXPECT_EQ(all.tasks.size(), all_tasks().size());
  EXPECT_EQ(all.groups.size(), 5U);
}

}  // namespace
}  // namespace onebit::eval
