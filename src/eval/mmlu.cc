// MMLU: examination questions of 57 subjects in four categories (arXiv 2009.03300), after the first
// five of the same subject's development set.
#include <fmt/format.h>

#include "eval/python_text.h"
#include "eval/task_table.h"

namespace onebit::eval {
namespace {

enum class Category : std::uint8_t { kStem, kOther, kSocialSciences, kHumanities };

struct Subject {
  std::string_view name;
  Category category;
};

constexpr Subject kSubjects[] = {
    {"abstract_algebra", Category::kStem},
    {"anatomy", Category::kStem},
    {"astronomy", Category::kStem},
    {"college_biology", Category::kStem},
    {"college_chemistry", Category::kStem},
    {"college_computer_science", Category::kStem},
    {"college_mathematics", Category::kStem},
    {"college_physics", Category::kStem},
    {"computer_security", Category::kStem},
    {"conceptual_physics", Category::kStem},
    {"electrical_engineering", Category::kStem},
    {"elementary_mathematics", Category::kStem},
    {"high_school_biology", Category::kStem},
    {"high_school_chemistry", Category::kStem},
    {"high_school_computer_science", Category::kStem},
    {"high_school_mathematics", Category::kStem},
    {"high_school_physics", Category::kStem},
    {"high_school_statistics", Category::kStem},
    {"machine_learning", Category::kStem},
    {"business_ethics", Category::kOther},
    {"clinical_knowledge", Category::kOther},
    {"college_medicine", Category::kOther},
    {"global_facts", Category::kOther},
    {"human_aging", Category::kOther},
    {"management", Category::kOther},
    {"marketing", Category::kOther},
    {"medical_genetics", Category::kOther},
    {"miscellaneous", Category::kOther},
    {"nutrition", Category::kOther},
    {"professional_accounting", Category::kOther},
    {"professional_medicine", Category::kOther},
    {"virology", Category::kOther},
    {"econometrics", Category::kSocialSciences},
    {"high_school_geography", Category::kSocialSciences},
    {"high_school_government_and_politics", Category::kSocialSciences},
    {"high_school_macroeconomics", Category::kSocialSciences},
    {"high_school_microeconomics", Category::kSocialSciences},
    {"high_school_psychology", Category::kSocialSciences},
    {"human_sexuality", Category::kSocialSciences},
    {"professional_psychology", Category::kSocialSciences},
    {"public_relations", Category::kSocialSciences},
    {"security_studies", Category::kSocialSciences},
    {"sociology", Category::kSocialSciences},
    {"us_foreign_policy", Category::kSocialSciences},
    {"formal_logic", Category::kHumanities},
    {"high_school_european_history", Category::kHumanities},
    {"high_school_us_history", Category::kHumanities},
    {"high_school_world_history", Category::kHumanities},
    {"international_law", Category::kHumanities},
    {"jurisprudence", Category::kHumanities},
    {"logical_fallacies", Category::kHumanities},
    {"moral_disputes", Category::kHumanities},
    {"moral_scenarios", Category::kHumanities},
    {"philosophy", Category::kHumanities},
    {"prehistory", Category::kHumanities},
    {"professional_law", Category::kHumanities},
    {"world_religions", Category::kHumanities},
};

constexpr std::size_t kChoices = 4;
constexpr std::string_view kLetters[kChoices] = {"A", "B", "C", "D"};

Document document(const Row& row) {
  const std::string question = row.text("question");
  const std::vector<std::string> choices = row.texts("choices");
  if (choices.size() != kChoices) {
    row.fail("choices", fmt::format("{} of them", choices.size()), fmt::format("{}", kChoices));
  }
  Document made = {.context = std::string(strip(question)),
                   .target = row.label("answer", kChoices)};
  for (std::size_t i = 0; i < kChoices; ++i) {
    made.context += fmt::format("\n{}. {}", kLetters[i], choices[i]);
    made.choices.emplace_back(kLetters[i]);
  }
  made.context += "\nAnswer:";
  return made;
}

Task subject_task(std::string_view subject) {
  return {.name = fmt::format("mmlu_{}", subject),
          .alias = std::string(subject),
          .set = "cais/mmlu",
          .subset = subject,
          .splits = {{"test", {"mmlu.test.jsonl", "mmlu/test.jsonl"}}},
          .examples = {"dev", {"mmlu.dev.jsonl", "mmlu/dev.jsonl"}},
          .sampler = Sampler::kFirst,
          .shots = 5,
          .subject = std::string(subject),
          .description = fmt::format("The following are multiple choice questions (with answers) "
                                     "about {}.\n\n",
                                     replace_all(subject, "_", " ")),
          .metrics = {Metric::kAcc},
          .document = document};
}

}  // namespace

TaskSet make_mmlu() {
  constexpr int kGroupVersion = 2;
  TaskSet set;
  Group all = {.name = "mmlu", .alias = "mmlu", .version = kGroupVersion};
  const auto add_category = [&](Category category, std::string name, std::string alias) {
    Group group = {.name = std::move(name), .alias = std::move(alias), .version = kGroupVersion};
    for (const Subject& subject : kSubjects) {
      if (subject.category != category) continue;
      set.tasks.push_back(subject_task(subject.name));
      group.members.push_back(set.tasks.back().name);
    }
    all.members.push_back(group.name);
    set.groups.push_back(std::move(group));
  };
  add_category(Category::kStem, "mmlu_stem", "stem");
  add_category(Category::kOther, "mmlu_other", "other");
  add_category(Category::kSocialSciences, "mmlu_social_sciences", "social sciences");
  add_category(Category::kHumanities, "mmlu_humanities", "humanities");
  set.groups.push_back(std::move(all));
  return set;
}

}  // namespace onebit::eval
