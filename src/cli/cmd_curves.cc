// `onebit curves`: what runs have measured while they trained, as a picture.
#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/gnuplot.h"
#include "report/comparison.h"
#include "report/input.h"
#include "report/run_curves.h"

namespace onebit::cli {
namespace {

class Curves final : public Command {
 public:
  void define(CLI::App& app) override {
    app.add_option("RUN_DIR", runs_, "folders of runs")->required()->type_name("PATH");
    define_path(app, "-o,--output", out_, "the picture: .svg or .png")->required();
    std::vector<std::string_view> keys;
    for (const report::CurvePanel& panel : report::kCurvePanels) keys.emplace_back(panel.key);
    app.add_option("--show", shown_,
                   fmt::format("which curves (repeatable), all that vary where it is not said: {}",
                               fmt::join(keys, ", ")))
        ->check(one_of(keys))
        ->allow_extra_args(false)
        ->type_name("NAME");
    define_number(app, "--smooth", smooth_,
                  "training curves: each point is the mean of the last N steps", std::int64_t{1},
                  std::int64_t{1} << 20);
    app.add_flag("--log", log_, "logarithmic values");
  }

  void run(Context& context) override {
    picture_terminal(out_);  // before any work
    std::vector<report::TrainingRun> runs;
    for (const std::string& folder : runs_) runs.push_back(report::read_run(folder));
    std::string data;
    std::string plots;
    int panels = 0;
    for (const report::CurvePanel& panel : report::kCurvePanels) {
      const report::LineScript script = report::line_script(plot_of(panel, runs));
      if (script.commands.empty()) continue;
      data += script.data;
      plots += script.commands;
      ++panels;
    }
    if (panels == 0) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}/metrics.jsonl: found nothing to draw, expected steps or "
                              "evaluations",
                              runs_.front()));
    }
    constexpr int kWidth = 960;
    constexpr int kPanelHeight = 320;
    draw(report::figure_style() + data +
             fmt::format("set multiplot layout {},1\nset lmargin 10\n", panels) + plots +
             "unset multiplot\n",
         kWidth, kPanelHeight * panels, out_);
    context.console.print(fmt::format("wrote {}\n", out_));
    context.console.print_json({{"output", out_}, {"panels", panels}, {"runs", runs_}});
  }

 private:
  /// One panel; without lines when it is not shown.
  report::LinePlot plot_of(const report::CurvePanel& panel,
                           const std::vector<report::TrainingRun>& runs) const {
    const bool evaluation = report::is_evaluation(panel.key);
    report::LinePlot plot{.id = panel.key,
                          .title = panel.title,
                          .x_title = "step",
                          .marks = evaluation,
                          .log = log_,
                          .key = true};
    const bool wanted = std::find(shown_.begin(), shown_.end(), panel.key) != shown_.end();
    if (!shown_.empty() && !wanted) return plot;
    const std::vector<std::string> names = report::run_names(runs_);
    for (std::size_t i = 0; i < runs.size(); ++i) {
      report::Points points = report::curve_points(
          runs[i], panel.key, evaluation ? 1 : static_cast<std::size_t>(smooth_));
      if (wanted || report::varies(points)) plot.lines.push_back({names[i], std::move(points), i});
    }
    return plot;
  }

  std::vector<std::string> runs_;
  std::string out_;
  std::vector<std::string> shown_;
  std::int64_t smooth_ = 1;
  bool log_ = false;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(curves, onebit::cli::Curves);
