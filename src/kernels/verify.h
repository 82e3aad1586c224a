// A quick proof, before a model runs, that the chosen kernels compute on this very CPU what the
// scalar ones do: a wrong result must not pass for a bad model.
#pragma once

#include "kernels/kernels.h"

namespace onebit::kernels {

/// Every function of `kernels` against kernels_by_name("scalar") on one small shape with odd ends:
/// integers and int8 products bit for bit, floats within the bounds of kernels.h. About a
/// millisecond. Throws Error{kUnsupported} naming the set and the function that differ.
void verify(const KernelSet& kernels);

}  // namespace onebit::kernels
