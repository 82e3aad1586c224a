#include "base/buffer.h"

#include <new>
#include <sys/mman.h>

namespace onebit {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::align_val_t alignment_of(std::size_t bytes) noexcept {
  return std::align_val_t{bytes >= kHugePage ? kHugePage : 64};
}

}  // namespace

void* allocate_buffer(std::size_t bytes) {
  void* p = ::operator new(bytes, alignment_of(bytes));
  // Where the system has none to give, small pages do as well.
  if (bytes >= kHugePage) ::madvise(p, bytes, MADV_HUGEPAGE);
  return p;
}

void free_buffer(void* p, std::size_t bytes) noexcept { ::operator delete(p, alignment_of(bytes)); }

}  // namespace onebit
