// `onebit eval`: zero-shot and few-shot tasks, as lm-eval defines and counts them.
#include <chrono>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "arch/packed_writer.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/command_table.h"
#include "cli/eval_results.h"
#include "cli/flags.h"
#include "cli/model_record.h"
#include "cli/number_text.h"
#include "cli/samples_file.h"
#include "cli/scorer_source.h"
#include "cli/suggestion.h"
#include "eval/task_run.h"

namespace onebit::cli {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kList = "list";

std::string notes() {
  std::string tasks;
  for (const eval::Task& task : eval::all_tasks()) {
    if (task.subject.empty()) tasks += (tasks.empty() ? "" : " ") + task.name;
  }
  std::string groups;
  for (const eval::Group& group : eval::all_groups()) groups += " " + group.name;
  return fmt::format(
      "Tasks: {},\n"
      "and MMLU's subjects (mmlu_anatomy, …).\n"
      "Groups:{}; all.\n"
      "--tasks list shows where each looks for its set. Prompts, metrics and errors are\n"
      "those of lm-eval 0.4.\n"
      "\n"
      "-o results.json is lm-eval's results object, with one more member, \"onebit\". Beside it\n"
      "results.samples.jsonl holds every document's scores; an interrupted run leaves it as\n"
      "results.samples.jsonl.part, and the same command goes on from there.\n",
      tasks, groups);
}

std::string list_of_tasks() {
  std::string text;
  for (const eval::Task& task : eval::all_tasks()) {
    text += fmt::format("{:<40} {}-shot  {}{}{}, in", task.name, task.shots, task.set,
                        task.subset.empty() ? "" : ": ", task.subset);
    for (const eval::Split& split : task.splits) text += fmt::format(" {}", split.files.front());
    text += '\n';
  }
  for (const eval::Group& group : eval::all_groups()) {
    text += fmt::format("{:<40} {}\n", group.name, fmt::join(group.members, " "));
  }
  return text;
}

ordered_json json_of_tasks() {
  ordered_json tasks = ordered_json::array();
  for (const eval::Task& task : eval::all_tasks()) {
    ordered_json files = ordered_json::array();
    for (const eval::Split& split : task.splits) files.push_back(split.files.front());
    tasks.push_back({{"task", task.name},
                     {"shots", task.shots},
                     {"set", task.set},
                     {"subset", task.subset},
                     {"files", std::move(files)}});
  }
  ordered_json groups = ordered_json::array();
  for (const eval::Group& group : eval::all_groups()) {
    groups.push_back({{"group", group.name}, {"members", group.members}});
  }
  return {{"tasks", std::move(tasks)}, {"groups", std::move(groups)}};
}

/// The words between commas, none of them empty.
std::vector<std::string> words_of(const std::string& list) {
  std::vector<std::string> words;
  std::string word;
  for (const char c : list + ',') {
    if (c != ',') {
      word += c;
    } else if (!word.empty()) {
      words.push_back(std::exchange(word, {}));
    }
  }
  return words;
}

eval::Selection select(const std::string& list) {
  eval::Selection selection;
  for (const std::string& word : words_of(list)) {
    if (!selection.add(word)) {
      throw UsageError(with_suggestion(fmt::format("--tasks: unknown task '{}'", word), word,
                                       eval::task_names()));
    }
  }
  if (selection.tasks.empty()) throw UsageError("--tasks: found no name, expected one at least");
  return selection;
}

/// "results.json" has its samples in "results.samples.jsonl".
std::filesystem::path samples_path(std::filesystem::path out) {
  if (out.extension() == ".json") out.replace_extension();
  out += ".samples.jsonl";
  return out;
}

/// A task, and what is known of it.
struct Work {
  eval::TaskPlan plan;
  std::vector<eval::Sample> samples = {};  ///< of the first documents

  const eval::Task& task() const { return *plan.data.task; }
};

class Eval final : public Command {
 public:
  Eval() { make_exact(runtime_); }

  bool needs_torch() const override { return scorer_.engine == Engine::kTorch; }

  void define(CLI::App& app) override {
    define_model(app, runtime_.model);
    app.get_option("MODEL")->required(false);  // --tasks list has no use for it
    app.add_option("--tasks", tasks_, "names of tasks and groups, with commas between them")
        ->required()
        ->check(not_empty("a name"))
        ->type_name("NAMES");
    define_path(app, "--data", data_, "the folder that holds the tasks' sets in JSON lines");
    define_path(app, "-o,--output", out_, "JSON to write; documents' scores go beside it");
    define_number(app, "--limit", options_.limit, "the first N documents of a task; 0: all",
                  std::int64_t{0}, kMaxCount);
    app.add_option_function<int>(
           "--shots", [this](int shots) { options_.shots = shots; },
           "examples before each document, whatever the task has by itself")
        ->transform(number_within(0, kMaxShots))
        ->type_name("N");
    define_number(app, "-c,--ctx-size", context_size_,
                  "tokens of a sequence at most, longer ones lose their beginning; 0: the model's "
                  "context",
                  std::int64_t{0}, kMaxCount);
    define_seed(app, seed_)
        ->description(
            "seed of the draw of examples (lm-eval's fewshot_seed); -1: another every time");
    app.add_flag("--restart", restart_, "begin anew where an interrupted run has left scores");
    define_scorer(app, scorer_);
    app.footer(notes());
  }

  void run(Context& context) override {
    if (tasks_ == kList) {
      context.console.print(list_of_tasks());
      context.console.print_json(json_of_tasks());
      return;
    }
    if (restart_ && out_.empty()) throw UsageError("--restart: expected -o FILE beside it");
    const eval::Selection selection = select(tasks_);
    if (runtime_.model.empty()) throw UsageError("MODEL is required");
    if (data_.empty()) throw UsageError("--data: found none, expected the folder of the sets");
    begin_ = std::chrono::steady_clock::now();
    date_ = std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch());
    seed_used_ = actual_seed(seed_);
    if (!out_.empty()) {
      require_other_file(runtime_.model, out_);
      require_writable(out_);
      require_writable(samples_path(out_));
      context.console.outlive_stdout();
    }

    eval::DataFolder folder(data_);
    std::vector<Work> work;
    for (const eval::Task* task : selection.tasks) {
      work.push_back({.plan = {.data = folder.load(*task, options_)}});
    }
    if (!out_.empty()) require_sets_stay(folder);
    const std::unique_ptr<ScorerSource> engine = open_scorer(context, scorer_);
    window_ = window(engine->scorer().context());
    ThreadPool pool(runtime_.threads);
    plan(context, work, engine->checkpoint().tokenizer(), pool);

    ordered_json record = engine->settings();
    const ordered_json threads = record["threads"];
    record.erase("threads");  // of no bearing on scores: a run may go on with others
    record["context"] = window_;
    record["model_info"] = model_record(runtime_.model, engine->checkpoint());
    std::optional<SamplesFile> samples;
    if (!out_.empty()) {
      samples.emplace(samples_path(out_), identity(work, folder, record), restart_);
      resume(context.console, *samples, work);
    }
    score(context, work, engine->scorer(), pool, samples ? &*samples : nullptr);
    record["threads"] = threads;
    report(context, work, selection, record, samples ? &*samples : nullptr);
  }

 private:
  static constexpr int kMaxShots = 1000;

  /// No file of the results takes the place of a set that was read.
  void require_sets_stay(const eval::DataFolder& folder) const {
    std::vector<std::string> sets;
    for (const auto& [file, hash] : folder.hashes()) {
      sets.push_back((std::filesystem::path(data_) / file).string());
    }
    require_other_files(sets, out_);
    require_other_files(sets, samples_path(out_));
  }

  /// Tokens of a sequence at most.
  std::int64_t window(std::int64_t model_context) const {
    if (context_size_ > model_context) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("--ctx-size: found {}, expected at most {}, the context of {}",
                              context_size_, model_context, runtime_.model));
    }
    return context_size_ == 0 ? model_context : context_size_;
  }

  /// Everything that decides the scores, and so whether a run can go on from another's.
  ordered_json identity(const std::vector<Work>& work, const eval::DataFolder& folder,
                        const ordered_json& record) const {
    ordered_json tasks = ordered_json::array();
    bool draws = false;  // the seed matters
    for (const Work& one : work) {
      draws = draws || (one.plan.data.shots > 0 && one.task().sampler != eval::Sampler::kFirst);
      tasks.push_back({{"task", one.task().name},
                       {"version", one.task().version},
                       {"shots", one.plan.data.shots},
                       {"split", one.plan.data.split},
                       {"documents", one.plan.documents.size()}});
    }
    ordered_json identity = record;
    identity.erase("model_info");
    identity["model_sha256"] = record.at("model_info").at("sha256");
    identity["program"] = arch::program_name();
    if (draws) identity["seed"] = seed_used_;
    identity["tasks"] = std::move(tasks);
    identity["data"] = folder.hashes();
    return identity;
  }

  void plan(Context& context, std::vector<Work>& work, const text::Tokenizer& tokenizer,
            ThreadPool& pool) const {
    const eval::PlanOptions options = {.context = window_, .seed = seed_used_};
    for (Work& one : work) {
      const auto progress = context.console.progress("tokenize", "documents");
      one.plan = eval::plan_task(std::move(one.plan.data), tokenizer, options, pool, *progress,
                                 context.interrupts.token());
    }
  }

  /// Takes over what an earlier run has scored, up to its last whole batch.
  static void resume(Console& console, SamplesFile& file, std::vector<Work>& work) {
    constexpr auto kBatch = static_cast<std::size_t>(eval::kBatchDocuments);
    const std::vector<eval::Sample>& found = file.found();
    std::size_t taken = 0;
    for (Work& one : work) {
      const std::vector<eval::Document>& documents = one.plan.data.documents;
      std::size_t count = std::min(documents.size(), found.size() - taken);
      for (std::size_t i = 0; i < count; ++i) {
        const eval::Sample& sample = found[taken + i];
        if (sample.task == one.task().name && sample.document == static_cast<std::int64_t>(i) &&
            sample.target == documents[i].target &&
            sample.choices.size() == documents[i].choices.size()) {
          continue;
        }
        throw Error(
            ErrorCode::kCorrupt,
            fmt::format("{}: found document {} of {}, expected document {} of {} (--restart "
                        "begins anew)",
                        file.place(taken + i + 2), sample.document, sample.task, i,
                        one.task().name));
      }
      if (count < documents.size()) count -= count % kBatch;
      const auto begin = found.begin() + static_cast<std::ptrdiff_t>(taken);
      one.samples.assign(begin, begin + static_cast<std::ptrdiff_t>(count));
      taken += count;
      if (count < documents.size()) break;
    }
    file.keep(taken);
    if (taken > 0) {
      console.message(LogLevel::kInfo,
                      fmt::format("{}: going on after {} documents", file.part().string(),
                                  grouped(static_cast<std::int64_t>(taken))));
    }
  }

  void score(Context& context, std::vector<Work>& work, eval::Scorer& scorer, ThreadPool& pool,
             SamplesFile* file) {
    std::uint64_t total = 0;
    for (const Work& one : work) {
      total += one.plan.tokens(one.samples.size(), one.plan.documents.size());
    }
    eval::DocumentScorer documents(scorer, pool);
    const auto begin = std::chrono::steady_clock::now();
    auto progress = context.console.progress("eval", "tokens");
    std::uint64_t done = 0;
    for (Work& one : work) {
      const auto take = [&](std::vector<eval::Sample> samples) {
        if (file != nullptr) file->add(samples);
        const std::size_t before = one.samples.size();
        std::move(samples.begin(), samples.end(), std::back_inserter(one.samples));
        done += one.plan.tokens(before, one.samples.size());
        progress->update(done, total, note(one));
      };
      try {
        eval::score_task(one.plan, one.samples.size(), documents, take, context.interrupts.token());
      } catch (const Error& error) {
        if (error.code() != ErrorCode::kInterrupted) throw;
        throw Error(error.code(), interrupted_text(work, file));
      }
    }
    progress.reset();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    context.console.message(LogLevel::kInfo,
                            fmt::format("{} tokens in {:.1f} s, {:.0f} tokens/s",
                                        grouped(static_cast<std::int64_t>(total)), seconds.count(),
                                        static_cast<double>(total) / seconds.count()));
  }

  static std::string note(const Work& work) {
    double right = 0;
    for (const eval::Sample& sample : work.samples) right += sample.acc.value_or(0);
    const auto count = work.samples.size();
    return fmt::format("{} {}/{}, acc {:.3f}", work.task().name, count, work.plan.documents.size(),
                       right / static_cast<double>(count));
  }

  static std::string interrupted_text(const std::vector<Work>& work, const SamplesFile* file) {
    if (file == nullptr) return "eval was interrupted";
    std::size_t count = 0;
    for (const Work& one : work) count += one.samples.size();
    return fmt::format(
        "eval was interrupted; the scores of {} documents are in {}, and the same "
        "command goes on from there",
        grouped(static_cast<std::int64_t>(count)), file->part().string());
  }

  /// Until the results are written, an interrupted run's scores keep their place.
  void report(Context& context, const std::vector<Work>& work, const eval::Selection& selection,
              const ordered_json& record, SamplesFile* samples) const {
    std::vector<TaskReport> reports;
    std::vector<eval::TaskResult> results;
    ordered_json splits = ordered_json::object();
    ordered_json truncated = ordered_json::object();
    for (const Work& one : work) {
      const eval::TaskData& data = one.plan.data;
      results.push_back(eval::summarize(one.task(), one.samples));
      reports.push_back({.result = results.back(),
                         .split = data.split,
                         .file = data.file.string(),
                         .available = data.available,
                         .shots = data.shots});
      splits[one.task().name] = data.split;
      truncated[one.task().name] = results.back().truncated;
      if (results.back().truncated > 0) {
        context.console.message(
            LogLevel::kWarning,
            fmt::format(
                "{}: {} of {} documents were longer than {} tokens and lost their beginning",
                one.task().name, results.back().truncated, results.back().documents, window_));
      }
    }
    std::vector<eval::GroupResult> groups;
    for (const eval::Group* group : selection.groups) {
      groups.push_back(eval::summarize(*group, results));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin_;

    ordered_json json = results_json(reports, groups);
    const ordered_json limit = options_.limit > 0 ? ordered_json(options_.limit) : ordered_json();
    json["config"] = {{"model", "onebit"},
                      {"model_args", fmt::format("pretrained={}", runtime_.model)},
                      {"batch_size", eval::kBatchDocuments},
                      {"device", runtime_.device},
                      {"limit", limit},
                      {"random_seed", 0},
                      {"fewshot_seed", seed_used_}};
    json["date"] = date_.count();
    json["total_evaluation_time_seconds"] = fmt::format("{:.1f}", seconds.count());
    ordered_json& own =
        json["onebit"] = {{"program", arch::program_name()}, {"command", context.command}};
    own.update(record);
    own["samples"] = nullptr;
    if (!out_.empty()) own["samples"] = samples_path(out_).string();
    own["split"] = std::move(splits);
    own["truncated"] = std::move(truncated);
    if (samples != nullptr) {
      write_file(out_, json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n');
      samples->commit();
    }
    context.console.print(results_table(json));
    context.console.print_json(json);
  }

  ScorerFlags scorer_;
  RuntimeFlags& runtime_ = scorer_.runtime;
  eval::DataOptions options_;
  std::string tasks_;
  std::string data_;
  std::string out_;
  std::int64_t context_size_ = 0;
  std::int64_t seed_ = 1234;  // lm-eval's own
  std::uint64_t seed_used_ = 0;
  std::int64_t window_ = 0;
  bool restart_ = false;
  std::chrono::steady_clock::time_point begin_;
  std::chrono::duration<double> date_ = {};
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(eval, onebit::cli::Eval);
