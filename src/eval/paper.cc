// The six tasks that papers on quantisation report, in the order of OneBit's table (arXiv
// 2402.11295): a short name for a command line, no score of its own.
#include "eval/task_table.h"

namespace onebit::eval {

TaskSet make_paper() {
  return {.groups = {
              {.name = "paper",
               .alias = "paper",
               .members = {"winogrande", "hellaswag", "piqa", "boolq", "arc_easy", "arc_challenge"},
               .mean = false}}};
}

}  // namespace onebit::eval
