// The method `bf16`: bfloat16.
#include "quant/plain_type.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {16};

}  // namespace

extern const Method method_bf16 = {
    .name = "bf16",
    .summary = "bfloat16",
    .bits = kBits,
    .make = [](const arch::Checkpoint&, const MethodOptions&,
               ThreadPool&) { return make_plain_type(formats::DType::kBF16); },
};

}  // namespace onebit::quant
