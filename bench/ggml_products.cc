#include "ggml_products.h"

#include <chrono>
#include <cstring>
#include <ggml-cpu.h>
#include <ggml.h>

#include "base/buffer.h"
#include "base/rng.h"
#include "kernels/test_data.h"

namespace onebit::bench {

std::vector<GgmlType> ggml_types() {
  return {{"Q1_0", GGML_TYPE_Q1_0}, {"TQ2_0", GGML_TYPE_TQ2_0}, {"Q4_0", GGML_TYPE_Q4_0}};
}

double ggml_matrix_bytes(const GgmlType& type, std::int64_t rows, std::int64_t cols) {
  return static_cast<double>(ggml_row_size(static_cast<ggml_type>(type.id), cols)) *
         static_cast<double>(rows);
}

struct GgmlProducts::Impl {
  Impl(ggml_type type, std::int64_t rows, std::int64_t cols, std::int64_t tokens,
       std::int64_t matrices)
      : count(matrices), matrix_bytes(ggml_row_size(type, cols) * static_cast<std::size_t>(rows)) {
    const std::size_t objects = static_cast<std::size_t>(3 * matrices + 8);
    context =
        ggml_init({objects * ggml_tensor_overhead() + ggml_graph_overhead_custom(objects, false),
                   nullptr, /*no_alloc=*/true});
    Rng rng(1);
    const std::vector<float> values = kernels::random_floats(rng, rows * cols);
    std::vector<std::byte> packed(matrix_bytes);
    ggml_quantize_chunk(type, values.data(), packed.data(), 0, rows, cols, nullptr);
    std::byte* weights = memory.reserve(static_cast<std::int64_t>(matrix_bytes) * matrices);
    x = kernels::random_floats(rng, tokens * cols + matrices);
    y.resize(static_cast<std::size_t>(tokens * rows));
    graph = ggml_new_graph_custom(context, objects, false);
    for (std::int64_t i = 0; i < matrices; ++i) {
      ggml_tensor* w = ggml_new_tensor_2d(context, type, cols, rows);
      w->data = weights + static_cast<std::size_t>(i) * matrix_bytes;
      std::memcpy(w->data, packed.data(), matrix_bytes);
      ggml_tensor* in = ggml_new_tensor_2d(context, GGML_TYPE_F32, cols, tokens);
      in->data = x.data() + i;
      ggml_tensor* out = ggml_mul_mat(context, w, in);
      out->data = y.data();
      ggml_build_forward_expand(graph, out);
    }
  }
  ~Impl() { ggml_free(context); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::int64_t count;
  std::size_t matrix_bytes;
  ggml_context* context = nullptr;
  ggml_cgraph* graph = nullptr;
  Buffer<std::byte> memory;
  std::vector<float> x;  ///< the i-th product's begin at i
  std::vector<float> y;
};

GgmlProducts::GgmlProducts(const GgmlType& type, std::int64_t rows, std::int64_t cols,
                           std::int64_t tokens, std::int64_t matrices)
    : impl_(std::make_unique<Impl>(static_cast<ggml_type>(type.id), rows, cols, tokens, matrices)) {
}

GgmlProducts::~GgmlProducts() = default;

double GgmlProducts::bytes() const { return static_cast<double>(impl_->matrix_bytes); }

double GgmlProducts::run(int threads) {
  ggml_threadpool_params params = ggml_threadpool_params_default(threads);
  ggml_threadpool* pool = ggml_threadpool_new(&params);
  ggml_cplan plan = ggml_graph_plan(impl_->graph, threads, pool);
  std::vector<std::uint8_t> work(plan.work_size + 64);
  plan.work_data = work.data();
  const auto begin = std::chrono::steady_clock::now();
  ggml_graph_compute(impl_->graph, &plan);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  ggml_threadpool_free(pool);
  return seconds.count() / static_cast<double>(impl_->count);
}

}  // namespace onebit::bench
