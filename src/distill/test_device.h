// A device of a test that is not the CPU: libtorch's private one, with the CPU's memory and
// kernels, so that a machine without a GPU finds what would fail on one. As on a GPU, no operation
// takes tensors of both, but for scalars. Include in one source of a program: it registers itself.
#pragma once

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <c10/core/impl/alloc_cpu.h>
#include <torch/library.h>

namespace onebit::distill::testing {

inline torch::Device other_device() { return {torch::kPrivateUse1, 0}; }

class OtherAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t bytes) override {
    void* const data = c10::alloc_cpu(bytes);
    return {data, data, &c10::free_cpu, other_device()};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &c10::free_cpu; }
  void copy_data(void* to, const void* from, std::size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  static OtherAllocator& get() {
    static OtherAllocator allocator;
    return allocator;
  }
};

inline at::Tensor other_empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                              std::optional<at::Layout>, std::optional<at::Device>,
                              std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &OtherAllocator::get(),
                                   c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(dtype), format);
}

inline at::Tensor other_empty_strided(at::IntArrayRef size, at::IntArrayRef stride,
                                      std::optional<at::ScalarType> dtype,
                                      std::optional<at::Layout>, std::optional<at::Device>,
                                      std::optional<bool>) {
  return at::detail::empty_strided_generic(size, stride, &OtherAllocator::get(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(dtype));
}

inline const at::Tensor& other_resize(const at::Tensor& t, at::IntArrayRef size,
                                      std::optional<at::MemoryFormat>) {
  const at::Tensor larger = at::empty(size, t.options());
  t.unsafeGetTensorImpl()->set_storage_keep_dtype(larger.storage());
  t.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return t;
}

/// The same memory, seen by the CPU.
inline at::Tensor on_cpu(const at::Tensor& t) {
  const at::Tensor same =
      at::from_blob(t.data_ptr(), t.sizes(), t.strides(), at::dtype(t.scalar_type()));
  return t.is_conj() ? same.conj() : same;
}

inline at::Tensor other_copy_from(const at::Tensor& from, const at::Tensor& to, bool) {
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

inline at::Tensor other_copy_and_resize(const at::Tensor& from, const at::Tensor& to) {
  if (from.sizes() != to.sizes()) other_resize(to, from.sizes(), {});
  return other_copy_from(from, to, false);
}

inline void require_no_cpu(const c10::OperatorHandle& op, const at::Tensor& t) {
  TORCH_CHECK(!t.defined() || t.dim() == 0 || t.device() == other_device(),
              toString(op.operator_name()), ": a tensor on the CPU beside one that is not");
}

inline void run_on_cpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const std::size_t count = op.schema().arguments().size();
  for (const c10::IValue& value : torch::jit::last(*stack, count)) {
    if (value.isTensor()) require_no_cpu(op, value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& t : value.toTensorVector()) require_no_cpu(op, t);
  }
  at::native::cpu_fallback(op, stack);
}

/// One device, whose one stream has always done what was asked of it.
struct OtherGuard final : c10::impl::NoOpDeviceGuardImpl<c10::DeviceType::PrivateUse1> {
  c10::Device exchangeDevice(c10::Device) const override { return other_device(); }
  c10::Device getDevice() const override { return other_device(); }
  c10::Stream getStream(c10::Device) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, other_device());
  }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return stream; }
  void record(void**, const c10::Stream&, c10::DeviceIndex, c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
};

C10_REGISTER_GUARD_IMPL(PrivateUse1, OtherGuard)

/// The backward pass asks whether there is such a device at all.
struct OtherHooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
};

inline const bool kHasOtherHooks = [] {
  c10::register_privateuse1_backend("other");
  at::RegisterPrivateUse1HooksInterface(new OtherHooks);  // libtorch keeps it
  return true;
}();

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_cpu>());
}

// What a copy of a conjugated tensor would be made by is this very operation.
TORCH_LIBRARY_IMPL(aten, Conjugate, m) {
  m.impl("_copy_from", torch::CppFunction::makeFallthrough());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  m.impl("empty.memory_format", &other_empty);
  m.impl("empty_strided", &other_empty_strided);
  m.impl("resize_", &other_resize);
  m.impl("_copy_from", &other_copy_from);
  m.impl("_copy_from_and_resize", &other_copy_and_resize);
  m.impl("as_strided", &at::native::as_strided_tensorimpl);
  m.impl("view", &at::native::view);
  m.impl("_reshape_alias", &at::native::_reshape_alias);
  m.impl("view_as_real", &at::native::view_as_real);
  m.impl("view_as_complex", &at::native::view_as_complex);
}

}  // namespace onebit::distill::testing
