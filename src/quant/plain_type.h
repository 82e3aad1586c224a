// Methods that only choose a type. A weight beyond the type's largest number is an error that names
// it, never an infinity.
#pragma once

#include <memory>

#include "quant/method.h"

namespace onebit::quant {

/// Every matrix in `type`, one of f16 and bf16.
std::unique_ptr<Quantizer> make_plain_type(formats::DType type);

}  // namespace onebit::quant
