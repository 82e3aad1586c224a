// `onebit compare`: tables and figures over result files and runs, as one page.
#include <algorithm>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <system_error>

#include "arch/packed_writer.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/gnuplot.h"
#include "cli/model_record.h"
#include "report/input.h"
#include "report/markup.h"
#include "report/report.h"

namespace onebit::cli {
namespace {

constexpr const char* kNotes =
    "INPUT is a file of `onebit eval`, `perplexity --json`, `bench -o json`, `sensitivity` or\n"
    "`quantize --json`, results of lm-eval, or the folder of a run of `onebit distill`; which\n"
    "it is, its content tells. What is of one model is joined by the model's hash, or without\n"
    "one by its path or name. --label FILE=NAME names the row that FILE belongs to: so one\n"
    "model can have two rows, and files of other programs join a row.\n"
    "\n"
    "Numbers measured otherwise than most of their column (shots, limit, split, protocol,\n"
    "window, ...) get a note, and are not compared for the best value. docs/compare.md says\n"
    "what each table and figure shows.\n";

class Compare final : public Command {
 public:
  void define(CLI::App& app) override {
    app.add_option("INPUT", inputs_, "result files, and folders of runs")
        ->required()
        ->type_name("PATH");
    define_path(app, "-o,--output", out_, "the report: one HTML file that needs no other")
        ->required();
    define_path(app, "--markdown", markdown_, "its tables as Markdown, too");
    define_path(app, "--csv", csv_, "its tables as CSV, too, each a file of this folder")
        ->type_name("DIR");
    app.add_option("--label", labels_, "the name of a file's row, or of a run (repeatable)")
        ->type_name("FILE=NAME")
        ->allow_extra_args(false);
    app.add_option("--base", base_, "the row that paired differences are to; without it the first")
        ->type_name("NAME");
    define_choice(app, "--accuracy", options_.accuracy,
                  "of the main table: acc_norm where a task has it, as in the papers, or acc");
    app.add_option("--title", title_, "the report's title")->type_name("TEXT");
    app.footer(kNotes);
  }

  void run(Context& context) override {
    const std::vector<report::Label> labels = parse_labels();
    check_paths();
    std::vector<report::Record> records;
    for (const std::string& input : inputs_) records.push_back(report::read_input(input));
    const report::Comparison comparison(std::move(records), labels);
    if (!base_.empty()) options_.base = base_index(comparison);
    const report::Report result =
        report::build_report(comparison, options_, title_of(comparison), arch::program_name());
    // All of it, before the first file is written.
    const std::string html = report::report_html(result, [&](const report::Figure& figure) {
      if (context.interrupts.token().stop_requested()) {
        throw Error(ErrorCode::kInterrupted, "compare was interrupted");
      }
      return draw_svg(figure.script, figure.width, figure.height, report::kFontSize);
    });
    Console& console = context.console;
    if (!markdown_.empty()) write_file(markdown_, report::report_markdown(result));
    if (!csv_.empty()) write_csv(result);
    write_file(out_, html);
    for (const std::string& warning : result.warnings) {
      console.message(LogLevel::kWarning, warning);
    }
    console.print(fmt::format("wrote {} ({} models, {} runs; {} tables, {} figures)\n", out_,
                              comparison.models().size(), comparison.runs().size(),
                              result.table_count(), result.figure_count()));
    print_json(console, comparison, result);
  }

 private:
  /// FILE is one of the inputs: both it and NAME may hold an equals sign.
  std::vector<report::Label> parse_labels() const {
    std::vector<report::Label> labels;
    for (const std::string& word : labels_) {
      const auto names = [&](const std::string& input) {
        return word.size() > input.size() + 1 && word.starts_with(input) &&
               word[input.size()] == '=';
      };
      const auto found = std::find_if(inputs_.begin(), inputs_.end(), names);
      if (found == inputs_.end()) {
        throw UsageError(
            fmt::format("--label: found '{}', expected FILE=NAME with one of the inputs", word));
      }
      labels.push_back({*found, word.substr(found->size() + 1)});
    }
    return labels;
  }

  void check_paths() const {
    if (!out_.empty() && std::filesystem::path(out_).lexically_normal() ==
                             std::filesystem::path(markdown_).lexically_normal()) {
      throw UsageError(fmt::format(
          "--markdown: found {}, which -o writes to, expected another file", markdown_));
    }
    for (auto input = inputs_.begin(); input != inputs_.end(); ++input) {
      if (std::find(input + 1, inputs_.end(), *input) != inputs_.end()) {
        throw UsageError(fmt::format("found {} twice, expected each input once", *input));
      }
      for (const std::string& out : {out_, markdown_}) {
        for (const char* file : {"", "metrics.jsonl", "recipe.json"}) {  // of a run's folder
          std::error_code absent;
          const std::filesystem::path path(*input);
          if (!std::filesystem::equivalent(*file == '\0' ? path : path / file, out, absent))
            continue;
          throw Error(ErrorCode::kInvalidArgument,
                      fmt::format("{}: found an input, expected another file to write", out));
        }
      }
    }
    require_writable(out_);
    if (!markdown_.empty()) require_writable(markdown_);
  }

  std::size_t base_index(const report::Comparison& comparison) const {
    try {
      return comparison.model_named(base_);
    } catch (const Error& error) {
      throw Error(error.code(), fmt::format("--base: {}", error.what()));
    }
  }

  std::string title_of(const report::Comparison& comparison) const {
    if (!title_.empty()) return title_;
    const std::size_t models = comparison.models().size();
    const std::size_t runs = comparison.runs().size();
    if (models == 0)
      return fmt::format("Comparison of {} training {}", runs, runs == 1 ? "run" : "runs");
    return fmt::format("Comparison of {} {}", models, models == 1 ? "model" : "models");
  }

  void write_csv(const report::Report& result) const {
    std::error_code failed;
    std::filesystem::create_directories(csv_, failed);
    if (failed) {
      throw Error(ErrorCode::kIo,
                  fmt::format("cannot create the folder {}: {}", csv_, failed.message()));
    }
    for (const auto& [name, text] : report::report_csv(result)) {
      write_file(std::filesystem::path(csv_) / name, text);
    }
  }

  void print_json(Console& console, const report::Comparison& comparison,
                  const report::Report& result) const {
    nlohmann::ordered_json models = nlohmann::ordered_json::array();
    for (const report::ModelEntry& model : comparison.models())
      models.push_back(report::clean_text(model.name));
    nlohmann::ordered_json runs = nlohmann::ordered_json::array();
    for (const report::RunEntry& run : comparison.runs())
      runs.push_back(report::clean_text(run.name));
    nlohmann::ordered_json warnings = nlohmann::ordered_json::array();
    for (const std::string& warning : result.warnings) {
      warnings.push_back(report::clean_text(warning));
    }
    console.print_json({{"output", out_},
                        {"markdown", markdown_},
                        {"csv", csv_},
                        {"models", models},
                        {"runs", runs},
                        {"tables", result.table_count()},
                        {"figures", result.figure_count()},
                        {"warnings", warnings}});
  }

  std::vector<std::string> inputs_;
  std::string out_;
  std::string markdown_;
  std::string csv_;
  std::vector<std::string> labels_;
  std::string base_;
  std::string title_;
  report::TableOptions options_;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(compare, onebit::cli::Compare);
