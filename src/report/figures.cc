// Perplexity by bits and size, accuracy by task, speed. figures_layers.cc has those of layers and
// runs.
#include "report/figures.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "report/names.h"
#include "report/plots.h"

namespace onebit::report {
namespace {

/// "A 12.3, B 45.6": what a picture shows, in words.
std::string spoken(const ScatterPlot& plot) {
  std::string text;
  for (const ScatterPlot::Point& p : plot.points) {
    text += fmt::format("{}{} at {} and {}", text.empty() ? "" : "; ", p.name, number_text(p.x, 2),
                        number_text(p.y, 2));
  }
  return text;
}

std::string spoken(const BarPlot& plot) {
  std::string text;
  for (std::size_t g = 0; g < plot.groups.size(); ++g) {
    text += fmt::format("{}{}:", g == 0 ? "" : "; ", plot.groups[g]);
    const char* separator = " ";
    for (std::size_t s = 0; s < plot.series.size(); ++s) {
      const auto& bar = plot.bars[g][s];
      if (!bar) continue;
      text += fmt::format("{}{} {}", separator, plot.series[s], number_text(bar->value, 1));
      separator = ", ";
    }
  }
  return text;
}

/// A figure of models at (x, perplexity); none where fewer than two have both.
void add_scatter(const Comparison& comparison, const std::string& text, const char* kind,
                 const std::string& x_title, std::optional<double> (*x_of)(const ModelInfo&),
                 std::vector<Figure>& figures) {
  ScatterPlot plot{.x_title = x_title, .y_title = "perplexity"};
  for (std::size_t m = 0; m < comparison.models().size(); ++m) {
    const ModelEntry& model = comparison.models()[m];
    const PerplexityRecord* record = model.find_text(text);
    const auto x = x_of(model.info);
    if (record == nullptr || !x || !std::isfinite(record->ppl.value)) continue;
    plot.points.push_back({*x, record->ppl.value, record->ppl.error.value_or(0), model.name, m});
  }
  if (plot.points.size() < 2) return;
  Figure figure = scatter_figure(plot);
  figure.id = element_id(fmt::format("{}_{}", kind, text));
  figure.caption = fmt::format("Perplexity of {} by {}", text, x_title);
  figure.alt = fmt::format("Points, {} across and perplexity upwards: {}.", x_title, spoken(plot));
  figures.push_back(std::move(figure));
}

Figure finished(const BarPlot& plot, std::string id, std::string caption) {
  Figure figure = bar_figure(plot);
  figure.id = std::move(id);
  figure.caption = std::move(caption);
  figure.alt = fmt::format("Bars. {}.", spoken(plot));
  return figure;
}

/// Bars of `tasks` for every model that has one of them.
BarPlot task_bars(const Comparison& comparison, const std::vector<KnownTask>& tasks,
                  Accuracy accuracy) {
  BarPlot plot{.x_title = "accuracy, %"};
  for (std::size_t m = 0; m < comparison.models().size(); ++m) {
    const ModelEntry& model = comparison.models()[m];
    if (std::none_of(tasks.begin(), tasks.end(), [&](const KnownTask& task) {
          const TaskEntry* entry = model.find_task(task.id);
          return entry != nullptr && !accuracy_metric(*entry->score, accuracy).empty();
        })) {
      continue;
    }
    plot.series.push_back(model.name);
    plot.colours.push_back(m);
  }
  for (const KnownTask& task : tasks) {
    std::vector<std::optional<BarPlot::Bar>> bars;
    for (const std::size_t m : plot.colours) {
      const TaskEntry* entry = comparison.models()[m].find_task(task.id);
      bars.emplace_back();
      if (entry == nullptr) continue;
      const Score* score = entry->score->find(accuracy_metric(*entry->score, accuracy));
      if (score != nullptr) {
        bars.back() = BarPlot::Bar{100 * score->value, 100 * score->error.value_or(0)};
      }
    }
    if (std::none_of(bars.begin(), bars.end(), [](const auto& bar) { return bar.has_value(); })) {
      continue;
    }
    plot.groups.emplace_back(task.name);
    plot.bars.push_back(std::move(bars));
  }
  return plot;
}

}  // namespace

std::vector<Figure> perplexity_figures(const Comparison& comparison) {
  std::vector<Figure> figures;
  for (const std::string& text : comparison.texts()) {
    add_scatter(
        comparison, text, "bits", "bits per weight of the matrices",
        [](const ModelInfo& info) { return info.matrix_bits; }, figures);
    add_scatter(
        comparison, text, "bytes", "file size, MB",
        [](const ModelInfo& info) -> std::optional<double> {
          if (!info.file_bytes) return std::nullopt;
          return static_cast<double>(*info.file_bytes) / 1e6;
        },
        figures);
  }
  return figures;
}

std::vector<Figure> task_figures(const Comparison& comparison, const TableOptions& options) {
  std::vector<Figure> figures;
  std::vector<KnownTask> tasks(std::begin(kZeroShotTasks), std::end(kZeroShotTasks));
  tasks.push_back({"openbookqa", "OpenBookQA"});
  tasks.push_back({"lambada_openai", "LAMBADA"});
  const BarPlot zero_shot = task_bars(comparison, tasks, options.accuracy);
  if (!zero_shot.groups.empty()) {
    figures.push_back(
        finished(zero_shot, "task_bars", "Accuracy by task; the lines are standard errors"));
  }
  const BarPlot mmlu =
      task_bars(comparison, {std::begin(kMmluGroups), std::end(kMmluGroups)}, Accuracy::kAcc);
  if (!mmlu.groups.empty()) {
    figures.push_back(
        finished(mmlu, "mmlu_bars", "MMLU's accuracy by category; the lines are standard errors"));
  }
  return figures;
}

std::vector<Figure> speed_figures(const Comparison& comparison) {
  Names tests;
  for (const ModelEntry& model : comparison.models()) {
    for (const BenchRecord* bench : model.benches) {
      for (const SpeedTest& test : bench->tests) tests.add(test.name);
    }
  }
  std::vector<Figure> figures;
  for (const std::string& name : tests.all()) {
    BarPlot plot{.x_title = "tokens a second"};
    Names groups;
    for (std::size_t m = 0; m < comparison.models().size(); ++m) {
      for (const BenchRecord* bench : comparison.models()[m].benches) {
        plot.series.push_back(comparison.models()[m].name);
        plot.colours.push_back(m);
        for (const SpeedTest& test : bench->tests) {
          if (test.name != name) continue;
          const std::size_t group =
              groups.add(test.threads == 1 ? "1 thread" : fmt::format("{} threads", test.threads));
          plot.bars.resize(groups.size());
          plot.bars[group].resize(plot.series.size());
          plot.bars[group].back() = BarPlot::Bar{test.rate, test.deviation.value_or(0)};
        }
      }
    }
    plot.groups = groups.all();
    for (auto& group : plot.bars) group.resize(plot.series.size());
    figures.push_back(
        finished(plot, element_id("speed_" + name),
                 fmt::format("Speed of {}; the lines are deviations of a run", name)));
  }
  return figures;
}

}  // namespace onebit::report
