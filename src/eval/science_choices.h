// ARC and OpenBookQA, both the Allen Institute's, hold their choices alike, in two shapes.
#pragma once

#include "eval/task.h"

namespace onebit::eval {

/// The question as it stands in the row, its choices and the right one. On the hub a row has the
/// question's text under `question` and {"text": […], "label": […]} under "choices"; in the
/// institute's own files "question" is {"stem", "choices": [{"text", "label"}]}. "answerKey" is one
/// of the labels, which may be letters or digits.
Document science_question(const Row& row, const char* question);

}  // namespace onebit::eval
