// The figures of a comparison. A kind of figure whose data no input has gives none.
#pragma once

#include <vector>

#include "report/comparison.h"
#include "report/figure.h"
#include "report/tables.h"

namespace onebit::report {

/// Perplexity against bits per weight and against the file's size, one of each a text.
std::vector<Figure> perplexity_figures(const Comparison& comparison);

/// Accuracy by task, and MMLU's by category.
std::vector<Figure> task_figures(const Comparison& comparison, const TableOptions& options);

/// Curves of the runs, named by how they started where that is what they differ in.
std::vector<Figure> run_figures(const Comparison& comparison);

/// Errors by layer, of quantised matrices and of blocks that were trained alone.
std::vector<Figure> layer_figures(const Comparison& comparison);

/// A heat map a model, method and bits.
std::vector<Figure> sensitivity_figures(const Comparison& comparison);

/// Prompt and generation, by threads.
std::vector<Figure> speed_figures(const Comparison& comparison);

}  // namespace onebit::report
