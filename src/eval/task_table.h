// The tasks by symbol, for task.cc and each task's own file.
#pragma once

#include "eval/task.h"

namespace onebit::eval {

#define ONEBIT_TASK(name) TaskSet make_##name();
#include "eval/task_list.inc"
#undef ONEBIT_TASK

}  // namespace onebit::eval
