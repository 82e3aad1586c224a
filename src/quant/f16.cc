// The method `f16`: binary16.
#include "quant/plain_type.h"

namespace onebit::quant {
namespace {

constexpr int kBits[] = {16};

}  // namespace

extern const Method method_f16 = {
    .name = "f16",
    .summary = "binary16",
    .bits = kBits,
    .make = [](const arch::Checkpoint&, const MethodOptions&,
               ThreadPool&) { return make_plain_type(formats::DType::kF16); },
};

}  // namespace onebit::quant
