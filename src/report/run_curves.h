// Curves out of a run's metrics, for the report and for `onebit curves`.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "report/plots.h"
#include "report/records.h"

namespace onebit::report {

/// What a figure shows of a run's metrics.jsonl, in the order in which panels are offered.
struct CurvePanel {
  const char* key;
  const char* title;
};
inline constexpr CurvePanel kCurvePanels[] = {
    {"held_out_kl", "held-out KL, nats a token"},
    {"kl", "training KL, nats a token"},
    {"loss", "loss"},
    {"hidden", "hidden-state term"},
    {"attention", "attention term"},
    {"cross_entropy", "training cross-entropy, nats a token"},
    {"grad_norm", "norm of the gradient"},
    {"lr", "learning rate"}};

/// Whether a metric is measured between steps: few points, worth marking.
bool is_evaluation(const std::string& key);

/// The metric by step, of the whole model's training. `smooth`: the mean over a window of this many
/// values that ends at the point.
Points curve_points(const TrainingRun& run, const std::string& key, std::size_t smooth);

/// Whether the values are not all the same.
bool varies(const Points& points);

/// At most about `most` points: means of neighbours.
Points thinned(const Points& points, std::size_t most);

}  // namespace onebit::report
