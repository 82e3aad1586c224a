// Figures of layers: errors, sensitivity; and the curves of runs.
#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <set>

#include "report/axis.h"
#include "report/figures.h"
#include "report/names.h"
#include "report/plots.h"
#include "report/run_curves.h"
#include "report/sensitivity.h"

namespace onebit::report {
namespace {

/// Means by layer of what some matrices of it have.
class LayerMeans {
 public:
  void add(std::int64_t layer, double value) {
    if (layer < 0) return;
    auto& [sum, count] = sums_[layer];
    sum += value;
    count += 1;
  }

  Points points() const {
    Points result;
    for (const auto& [layer, sum] : sums_) {
      result.emplace_back(static_cast<double>(layer), sum.first / sum.second);
    }
    return result;
  }

 private:
  std::map<std::int64_t, std::pair<double, double>> sums_;
};

/// Where each line of a figure begins and ends, in words.
std::string spoken(const LinePlot& plot) {
  std::string text;
  for (const LinePlot::Line& line : plot.lines) {
    if (line.points.empty()) continue;
    const auto& [x0, y0] = line.points.front();
    const auto& [x1, y1] = line.points.back();
    text +=
        fmt::format("{}{} from {} at {} to {} at {}", text.empty() ? "" : "; ", line.name,
                    number_text(y0, 3), number_text(x0, 0), number_text(y1, 3), number_text(x1, 0));
  }
  return text;
}

std::vector<double> values_of(const LinePlot& plot) {
  std::vector<double> values;
  for (const LinePlot::Line& line : plot.lines) {
    for (const auto& [x, y] : line.points) values.push_back(y);
  }
  return values;
}

void add_lines(LinePlot plot, std::string id, std::string caption, std::vector<Figure>& figures) {
  if (plot.lines.empty()) return;
  constexpr double kLog = 20;
  plot.id = "curve";
  plot.log = spread_out(values_of(plot), kLog);
  Figure figure = line_figure(plot);
  figure.id = std::move(id);
  figure.caption = std::move(caption);
  figure.alt =
      fmt::format("Lines, {} across and {} upwards: {}.", plot.x_title, plot.y_title, spoken(plot));
  figures.push_back(std::move(figure));
}

/// "one (start nmf)" where runs differ in their starts.
std::vector<std::string> curve_names(const Comparison& comparison) {
  std::set<std::string> starts;
  for (const RunEntry& entry : comparison.runs()) {
    const auto found = entry.run->recipe.find("init");
    if (found != entry.run->recipe.end()) starts.insert(found->second);
  }
  std::vector<std::string> names;
  for (const RunEntry& entry : comparison.runs()) {
    const auto found = entry.run->recipe.find("init");
    const bool say = starts.size() > 1 && found != entry.run->recipe.end();
    names.push_back(say ? fmt::format("{} (start {})", entry.name, found->second) : entry.name);
  }
  return names;
}

}  // namespace

std::vector<Figure> run_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  const std::vector<std::string> names = curve_names(comparison);
  constexpr std::size_t kMostPoints = 300;  // more than a figure has room for
  for (const CurvePanel& panel : kCurvePanels) {
    const std::string key = panel.key;
    if (key != "held_out_kl" && key != "kl" && key != "loss") continue;
    LinePlot plot{.x_title = "step", .y_title = panel.title, .marks = is_evaluation(key)};
    for (std::size_t r = 0; r < comparison.runs().size(); ++r) {
      Points points = thinned(curve_points(*comparison.runs()[r].run, key, 1), kMostPoints);
      if (points.size() > 1 && varies(points))
        plot.lines.push_back({names[r], std::move(points), r});
    }
    add_lines(std::move(plot), "curve_" + key, fmt::format("Training runs: {}", panel.title),
              figures);
  }
  return figures;
}

std::vector<Figure> layer_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  LinePlot errors{.x_title = "layer", .y_title = "relative error", .marks = true};
  for (std::size_t m = 0; m < comparison.models().size(); ++m) {
    const ModelEntry& model = comparison.models()[m];
    if (model.quantize != nullptr) {
      LayerMeans means;
      for (const MatrixError& matrix : model.quantize->matrices) {
        means.add(matrix.layer, matrix.relative_error);
      }
      errors.lines.push_back({model.name, means.points(), errors.lines.size()});
    }
    for (const SensitivityRecord* record : model.sensitivities) {
      const SensitivityGrid grid(*record);
      std::vector<LayerMeans> means(grid.methods().size());
      for (std::size_t i = 0; i < record->rows.size(); ++i) {
        const SensitivityRow& row = record->rows[i];
        if (row.relative_error) means[grid.method_of(i)].add(row.layer, *row.relative_error);
      }
      for (std::size_t g = 0; g < means.size(); ++g) {
        errors.lines.push_back({fmt::format("{}: {}", model.name, grid.methods()[g]),
                                means[g].points(), errors.lines.size()});
      }
    }
  }
  std::erase_if(errors.lines, [](const LinePlot::Line& line) { return line.points.empty(); });
  add_lines(std::move(errors), "layer_errors", "Mean relative error of each layer's matrices",
            figures);

  LinePlot blocks{.x_title = "block", .y_title = "relative error of its output", .marks = true};
  const std::vector<std::string> names = curve_names(comparison);
  for (std::size_t r = 0; r < comparison.runs().size(); ++r) {
    LayerMeans last;
    std::map<std::int64_t, double> by_block;  // a resumed run may have fitted one again
    for (const MetricsRow& row : comparison.runs()[r].run->rows) {
      const auto found = row.metrics.find("block_error");
      if (row.block && found != row.metrics.end()) by_block[*row.block] = found->second;
    }
    for (const auto& [block, error] : by_block) last.add(block, error);
    if (!by_block.empty()) blocks.lines.push_back({names[r], last.points(), r});
  }
  add_lines(std::move(blocks), "block_errors", "Error of each block after it was trained alone",
            figures);
  return figures;
}

std::vector<Figure> sensitivity_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  for (const ModelEntry& model : comparison.models()) {
    for (const SensitivityRecord* record : model.sensitivities) {
      const SensitivityGrid grid(*record);
      Names roles;
      std::int64_t layers = 0;
      std::vector<double> values;
      for (const SensitivityRow& row : record->rows) {
        if (row.layer < 0) continue;
        roles.add(row.role);
        layers = std::max(layers, row.layer + 1);
        if (row.kl.value > 0 && std::isfinite(row.kl.value)) values.push_back(row.kl.value);
      }
      constexpr std::int64_t kMostLayers = 1024;  // of a picture
      if (values.empty() || layers > kMostLayers) continue;
      const auto [low, high] = std::minmax_element(values.begin(), values.end());
      for (std::size_t g = 0; g < grid.methods().size(); ++g) {
        HeatMap map{.value_title = "KL, nats a token",
                    .columns = roles.all(),
                    .low = *low,
                    .high = *high,
                    .log = spread_out(values, 4)};
        map.rows.assign(static_cast<std::size_t>(layers),
                        std::vector<std::optional<double>>(roles.size()));
        double worst = 0;
        std::string worst_name;
        for (std::size_t i = 0; i < record->rows.size(); ++i) {
          const SensitivityRow& row = record->rows[i];
          if (grid.method_of(i) != g || row.layer < 0) continue;
          map.rows[static_cast<std::size_t>(row.layer)][roles.add(row.role)] = row.kl.value;
          if (row.kl.value > worst) {
            worst = row.kl.value;
            worst_name = row.matrix;
          }
        }
        if (*low == *high) map.high = 1.1 * *high;
        Figure figure = heat_map_figure(map);
        figure.id = fmt::format("sensitivity_map_{}", figures.size() + 1);
        figure.caption =
            fmt::format("Sensitivity of {}: divergence when one matrix alone is quantised by {}",
                        model.name, grid.methods()[g]);
        figure.alt = fmt::format(
            "Heat map, {} kinds of matrices across and {} layers downwards; the largest divergence "
            "is {} nats of {}.",
            roles.size(), layers, number_text(worst, 4), worst_name);
        figures.push_back(std::move(figure));
      }
    }
  }
  return figures;
}

}  // namespace onebit::report
