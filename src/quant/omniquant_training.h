// What users choose of how OmniQuant trains a block (omniquant_block.h).
#pragma once

#include <cstdint>

namespace onebit::quant {

struct OmniquantTraining {
  int epochs = 20;         ///< over all windows
  std::int64_t batch = 1;  ///< windows of a step; the last of an epoch has what remains
  double lwc_rate = 5e-3;  ///< of the clipping of weights
  bool let = false;        ///< with the equivalent transformation
  double let_rate = 1e-2;  ///< of its scales
  double let_alpha = 0.5;  ///< 0 to 1: how much of the inputs' size it takes over at its start
};

}  // namespace onebit::quant
