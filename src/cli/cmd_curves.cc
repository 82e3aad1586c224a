// `onebit curves`: what runs have measured while they trained, as a picture.
#include <algorithm>
#include <fmt/format.h>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/gnuplot.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::json;

/// One curve: pairs of a step and a value.
using Points = std::vector<std::pair<double, double>>;

/// What a figure shows of a run's metrics.jsonl, in the order in which panels are offered.
struct Panel {
  const char* key;
  const char* title;
};
constexpr Panel kPanels[] = {{"held_out_kl", "held-out KL, nats a token"},
                             {"kl", "training KL, nats a token"},
                             {"loss", "loss"},
                             {"hidden", "hidden-state term"},
                             {"attention", "attention term"},
                             {"cross_entropy", "training cross-entropy, nats a token"},
                             {"grad_norm", "norm of the gradient"},
                             {"lr", "learning rate"}};

std::vector<Json> read_rows(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "metrics.jsonl";
  std::ifstream in(path);
  if (!in) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("{}: found no such file, expected the folder of a run", path.string()));
  }
  std::vector<Json> rows;
  for (std::string line; std::getline(in, line);) {
    Json row = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    // A run that goes on may be in the middle of its last line.
    if (row.is_object() && row.contains("step")) rows.push_back(std::move(row));
  }
  return rows;
}

/// `smooth`: the mean over a window of this many values that ends at the point.
Points points_of(const std::vector<Json>& rows, const std::string& key, std::int64_t smooth) {
  Points points;
  std::vector<double> values;
  for (const Json& row : rows) {
    const auto found = row.find(key);
    if (found == row.end() || !found->is_number() || row.contains("block")) continue;
    values.push_back(found->get<double>());
    const std::size_t count = std::min(values.size(), static_cast<std::size_t>(smooth));
    double sum = 0;
    for (std::size_t i = values.size() - count; i < values.size(); ++i) sum += values[i];
    points.emplace_back(row["step"].get<double>(), sum / static_cast<double>(count));
  }
  return points;
}

bool varies(const Points& points) {
  return std::any_of(points.begin(), points.end(),
                     [&](const auto& p) { return p.second != points.front().second; });
}

class Curves final : public Command {
 public:
  void define(CLI::App& app) override {
    app.add_option("RUN_DIR", runs_, "folders of runs")->required()->type_name("PATH");
    define_path(app, "-o,--output", out_, "the picture: .svg or .png")->required();
    std::vector<std::string> keys;
    for (const Panel& panel : kPanels) keys.emplace_back(panel.key);
    app.add_option("--show", shown_, "which curves (repeatable); none: all that vary")
        ->check(CLI::IsMember(keys))
        ->type_name("NAME");
    define_number(app, "--smooth", smooth_,
                  "training curves: each point is the mean of the last N steps", std::int64_t{1},
                  std::int64_t{1} << 20);
    app.add_flag("--log", log_, "logarithmic values");
  }

  void run(Context& context) override {
    picture_terminal(out_);  // before any work
    std::vector<std::vector<Json>> rows;
    for (const std::string& run : runs_) rows.push_back(read_rows(run));
    std::string data;
    std::string plots;
    int panels = 0;
    for (const Panel& panel : kPanels) {
      const std::string plot = plot_of(panel, rows, data);
      if (plot.empty()) continue;
      plots += plot;
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
    draw(data +
             fmt::format("set multiplot layout {},1\nset grid lc rgb '#dddddd'\nset border 3\n"
                         "set tics nomirror\nset key right top\nset lmargin 10\n{}",
                         panels, log_ ? "set logscale y\n" : "") +
             plots + "unset multiplot\n",
         kWidth, kPanelHeight * panels, out_);
    context.console.print(fmt::format("wrote {}\n", out_));
    context.console.print_json({{"output", out_}, {"panels", panels}, {"runs", runs_}});
  }

 private:
  /// The commands of one panel, its data added to `data`; empty when it is not shown.
  std::string plot_of(const Panel& panel, const std::vector<std::vector<Json>>& rows,
                      std::string& data) const {
    const bool wanted = std::find(shown_.begin(), shown_.end(), panel.key) != shown_.end();
    if (!shown_.empty() && !wanted) return {};
    const bool evaluation = std::string_view(panel.key).starts_with("held_out");
    std::string curves;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      Points points = points_of(rows[i], panel.key, evaluation ? 1 : smooth_);
      if (log_) std::erase_if(points, [](const auto& p) { return p.second <= 0; });
      if (points.empty() || (!wanted && !varies(points))) continue;
      const std::string name = fmt::format("${}_{}", panel.key, i);
      data += name + " << END\n";
      for (const auto& [step, value] : points) data += fmt::format("{} {}\n", step, value);
      data += "END\n";
      curves += fmt::format("{}{} using 1:2 with {} lw 1.5 lc {} title {}",
                            curves.empty() ? "plot " : ", ", name,
                            evaluation ? "linespoints pt 7 ps 0.6" : "lines", i + 1,
                            gnuplot_quoted(label_of(runs_[i])));
    }
    if (curves.empty()) return {};
    return fmt::format("set title {}\nset xlabel 'step'\n{}\n", gnuplot_quoted(panel.title),
                       curves);
  }

  /// The folder's name, or its whole path where another run's is the same.
  std::string label_of(const std::string& run) const {
    const auto name_of = [](const std::string& folder) {
      const std::filesystem::path path = std::filesystem::path(folder).lexically_normal();
      return (path.has_filename() ? path : path.parent_path()).filename().string();
    };
    const auto same = [&](const std::string& other) { return name_of(other) == name_of(run); };
    return std::count_if(runs_.begin(), runs_.end(), same) > 1 ? run : name_of(run);
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
