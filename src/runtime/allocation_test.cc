// Generating a token allocates nothing: counted in this program's own operator new.
#include <atomic>
#include <cstdlib>
#include <gtest/gtest.h>
#include <new>
#include <vector>

#include "arch/test_models.h"
#include "base/test_paths.h"
#include "runtime/model.h"
#include "runtime/sampler.h"

namespace {

std::atomic<std::int64_t> allocations{0};

void* counted(std::size_t size, std::size_t alignment) {
  ++allocations;
  void* p = alignment <= alignof(std::max_align_t)
                ? std::malloc(size)
                : std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

}  // namespace

// The forms for arrays call these; those that do not throw would too, but for a sanitizer's own.
void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t alignment) {
  return counted(size, static_cast<std::size_t>(alignment));
}
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  ++allocations;
  return std::malloc(size);
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }

namespace onebit::runtime {
namespace {

TEST(Allocations, NoneForATokenOnceAsMuchWasSeen) {
  const testing::TempDir dir;
  arch::ModelConfig config = arch::test_models::tiny_config();
  config.context = 256;
  const arch::test_models::TinyModel tiny = arch::test_models::random_model(config, 5);
  arch::test_models::write_gguf(tiny, dir / "full.gguf");
  const arch::Checkpoint source = arch::Checkpoint::open(dir / "full.gguf");
  arch::PackOptions options;
  options.provenance = arch::provenance_of(source, "onebit", arch::Form::kPaper, 0);
  options.embedding = options.head = formats::DType::kF16;
  arch::test_models::write_packed(dir / "packed.gguf", tiny, source, options);
  for (const char* name : {"full.gguf", "packed.gguf"}) {
    for (const Activations activations : {Activations::kF32, Activations::kI8}) {
      for (const KvType kv : {KvType::kF32, KvType::kF16, KvType::kQ8_0}) {
        Model model = Model::load(dir / name,
                                  {.threads = 2, .activations = activations, .kv = kv, .isa = {}});
        KvCache cache = model.make_cache(100);
        Sampler sampler({}, model.kernels());
        const std::vector<text::TokenId> prompt(70, 3);
        const auto generate = [&] {
          cache.truncate(0);
          text::TokenId token = sampler.sample(model.forward(prompt, cache), {});
          while (cache.length() < cache.capacity()) {
            token = sampler.sample(model.forward({&token, 1}, cache), {});
          }
        };
        KvCache other = model.make_cache(100);
        const Continuation both[] = {{prompt, &cache, 3}, {std::span(prompt).first(5), &other}};
        std::int64_t rows = 0;
        const ContinuationSink count = [&](std::size_t, std::int64_t, std::span<const float>) {
          ++rows;
        };
        const auto side_by_side = [&] {
          cache.truncate(0);
          other.truncate(0);
          model.forward_all(both, count);
        };
        generate();
        side_by_side();
        const std::int64_t before = allocations;
        generate();
        side_by_side();
        EXPECT_EQ(allocations, before) << name << ", keys and values " << word_of(kv);
        EXPECT_GT(rows, 0);
      }
    }
  }
}

}  // namespace
}  // namespace onebit::runtime
