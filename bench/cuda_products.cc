// Our 1-bit products on a GPU beside cuBLAS's of the same shapes in fp16 and int8, and what the
// memory delivers to a plain read: one token with matrices that no cache holds, as generation meets
// them, then many tokens. Last, our two kernels over numbers of tokens: where products.cc should
// change from one to the other.
//
// Each side queues its products into a graph, whose replays are timed by events. Results are
// checked against the scalar kernels. Usage: see --help.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cublas_v2.h>
#include <deque>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/half.h"
#include "base/rng.h"
#include "base/thread_pool.h"
#include "cuda/device.h"
#include "cuda/device_signs.h"
#include "cuda/product_kernels.h"
#include "cuda/products.h"
#include "cuda_read.h"
#include "kernels/sign_matrix.h"
#include "kernels/test_data.h"

namespace onebit::bench {
namespace {

using cuda::check;
using cuda::DeviceBuffer;
using cuda::DeviceSigns;
using kernels::QuantizedRows;
using kernels::size;

struct Options {
  std::int64_t megabytes = 1024;
  int rounds = 15;
};

struct Shape {
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t tokens;
};

template <class T>
DeviceBuffer<T> on_device(const std::vector<T>& values) {
  return DeviceBuffer<T>(std::span<const T>(values));
}

/// The stream, and seconds of what is queued on it.
class Timer {
 public:
  Timer() {
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "creating a stream");
    check(cudaEventCreate(&begin_), "creating an event");
    check(cudaEventCreate(&end_), "creating an event");
  }
  ~Timer() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
    cudaStreamDestroy(stream_);
  }
  Timer(const Timer&) = delete;
  Timer& operator=(const Timer&) = delete;

  cudaStream_t stream() const { return stream_; }

  /// Of each replay of what queue() queues, after one that warms up.
  std::vector<double> seconds(const std::function<void()>& queue, int rounds) {
    queue();  // what is loaded at first use cannot be captured
    check(cudaStreamSynchronize(stream_), "warming up");
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t replay = nullptr;
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "capturing");
    queue();
    check(cudaStreamEndCapture(stream_, &graph), "capturing");
    check(cudaGraphInstantiate(&replay, graph, 0), "making a graph");
    std::vector<double> all;
    for (int round = 0; round <= rounds; ++round) {
      check(cudaEventRecord(begin_, stream_), "timing");
      check(cudaGraphLaunch(replay, stream_), "starting a graph");
      check(cudaEventRecord(end_, stream_), "timing");
      check(cudaEventSynchronize(end_), "computing");
      float milliseconds = 0;
      check(cudaEventElapsedTime(&milliseconds, begin_, end_), "timing");
      if (round > 0) all.push_back(1e-3 * static_cast<double>(milliseconds));
    }
    check(cudaGraphExecDestroy(replay), "destroying a graph");
    check(cudaGraphDestroy(graph), "destroying a graph");
    return all;
  }

 private:
  cudaStream_t stream_ = nullptr;
  cudaEvent_t begin_ = nullptr;
  cudaEvent_t end_ = nullptr;
};

void check_blas(cublasStatus_t status, const char* doing) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw Error(ErrorCode::kUnsupported,
              std::string("cuBLAS: ") + doing + ": " + cublasGetStatusString(status));
}

/// Distinct matrices of `bytes` bytes that together no cache holds; a few for many tokens, which do
/// not wait for memory.
std::int64_t matrices(const Options& o, const Shape& shape, std::int64_t bytes) {
  return shape.tokens > 16 ? 3
                           : std::max<std::int64_t>(1, ((o.megabytes << 20) + bytes - 1) / bytes);
}

class OurProducts {
 public:
  OurProducts(const Options& o, const cuda::Device& device, const Shape& shape, ThreadPool& pool)
      : device_(device),
        shape_(shape),
        rng_(1),
        signs_(rng_, shape.rows, shape.cols),
        h_(kernels::random_floats(rng_, shape.rows)),
        host_x_(kernels::random_floats(rng_, shape.tokens * shape.cols)),
        x_(on_device(host_x_)),
        q_(shape.tokens * QuantizedRows::stride(shape.cols)),
        scales_(shape.tokens * QuantizedRows::blocks(shape.cols)),
        y_(shape.tokens * shape.rows) {
    const std::int64_t bytes = cuda::kSignLayout.bytes(shape.rows, shape.cols);
    for (std::int64_t i = 0; i < matrices(o, shape, bytes); ++i) {
      matrices_.emplace_back(device, signs_.view, h_, 0, &pool);
    }
  }

  std::int64_t bytes() const { return matrices_.front().bytes(); }
  std::int64_t count() const { return static_cast<std::int64_t>(matrices_.size()); }

  void queue_rounding(cudaStream_t stream) {
    quantize_i8(device_, x_.data(), nullptr, shape_.tokens, shape_.cols, q_.data(), scales_.data(),
                stream);
  }
  template <class Product>
  void queue_int8(cudaStream_t stream, bool round_each, const Product& product) {
    for (const DeviceSigns& w : matrices_) {
      if (round_each) queue_rounding(stream);
      product(w, QuantizedRows{q_.data(), scales_.data()}, shape_.tokens, y_.data(), shape_.rows,
              stream);
    }
  }
  void queue_f32(cudaStream_t stream) {
    for (const DeviceSigns& w : matrices_) {
      gemm_sign1_f32(w, x_.data(), shape_.tokens, y_.data(), shape_.rows, stream);
    }
  }
  void queue_read(cudaStream_t stream) {
    for (const DeviceSigns& w : matrices_) {
      bench::queue_read(device_, w.signs(), cuda::kSignLayout.bytes(shape_.rows, shape_.cols),
                        reinterpret_cast<std::uint32_t*>(y_.data()), stream);
    }
  }

  /// The last product's first and last rows, for some tokens: those of int8 activations against
  /// the scalar kernels', bit for bit, the others against double precision. Then y is overwritten,
  /// so that no side passes by the results of another.
  bool is_right(bool rounded) {
    std::vector<float> y(size(y_.size()));
    y_.read(y);
    check(cudaMemset(y_.data(), 0xFF, 4 * size(y_.size())), "overwriting results");
    check(cudaDeviceSynchronize(), "overwriting results");
    constexpr std::int64_t kRows = 8;
    return rounded ? are_exact(y, 0, kRows) && are_exact(y, shape_.rows - kRows, shape_.rows)
                   : are_near(y, 0, kRows) && are_near(y, shape_.rows - kRows, shape_.rows);
  }

 private:
  std::int64_t tokens_checked() const { return std::min<std::int64_t>(shape_.tokens, 3); }

  bool are_exact(const std::vector<float>& y, std::int64_t begin, std::int64_t end) const {
    std::vector<std::int8_t> q(size(q_.size()));
    std::vector<float> scales(size(scales_.size()));
    q_.read(q);
    scales_.read(scales);
    const kernels::KernelSet& scalar = kernels::kernels_by_name("scalar");
    const kernels::SignMatrix w(scalar, signs_.view, {}, 0);
    std::vector<float> want(size(tokens_checked() * shape_.rows));
    scalar.gemm_sign1_i8(w.signs(), h_.data(), {q.data(), scales.data()}, tokens_checked(),
                         want.data(), shape_.rows, begin, end);
    for (std::int64_t t = 0; t < tokens_checked(); ++t) {
      const auto first = t * shape_.rows + begin;
      if (!std::equal(y.begin() + first, y.begin() + first + (end - begin), want.begin() + first)) {
        return false;
      }
    }
    return true;
  }

  bool are_near(const std::vector<float>& y, std::int64_t begin, std::int64_t end) const {
    for (std::int64_t t = 0; t < tokens_checked(); ++t) {
      for (std::int64_t r = begin; r < end; ++r) {
        const double h = h_[size(r)];
        double sum = 0;
        double magnitudes = 0;
        for (std::int64_t c = 0; c < shape_.cols; ++c) {
          const double x = host_x_[size(t * shape_.cols + c)];
          sum += h * signs_.at(r, c) * x;
          magnitudes += std::abs(h * x);
        }
        // A block of 128 columns is summed, then the blocks; h rounds once more.
        const double roundings =
            static_cast<double>(cuda::kBlockCols + QuantizedRows::blocks(shape_.cols));
        if (!(std::abs(y[size(t * shape_.rows + r)] - sum) <= roundings * 0x1p-24 * magnitudes)) {
          return false;
        }
      }
    }
    return true;
  }

  cuda::Device device_;
  Shape shape_;
  Rng rng_;
  kernels::RandomSigns signs_;
  std::vector<float> h_;
  std::vector<float> host_x_;
  DeviceBuffer<float> x_;
  DeviceBuffer<std::int8_t> q_;
  DeviceBuffer<float> scales_;
  DeviceBuffer<float> y_;
  std::deque<DeviceSigns> matrices_;
};

/// cuBLAS's product of random matrices of T, accumulated in Sum, results in Result.
template <class T, class Sum, class Result>
class BlasProducts {
 public:
  BlasProducts(const Options& o, const Shape& shape, cudaDataType type, cudaDataType result_type,
               cublasComputeType_t compute, cudaStream_t stream)
      : shape_(shape),
        type_(type),
        result_type_(result_type),
        compute_(compute),
        workspace_(32 << 20),
        x_(on_device(random(shape.tokens * shape.cols))),
        y_(shape.tokens * shape.rows) {
    check_blas(cublasCreate(&handle_), "creating a handle");
    check_blas(cublasSetStream(handle_, stream), "choosing a stream");
    check_blas(cublasSetWorkspace(handle_, workspace_.data(), size(workspace_.size())),
               "setting the workspace");
    const std::vector<T> w = random(shape.rows * shape.cols);
    for (std::int64_t i = 0; i < matrices(o, shape, bytes()); ++i) {
      matrices_.push_back(on_device(w));
    }
  }
  ~BlasProducts() { cublasDestroy(handle_); }
  BlasProducts(const BlasProducts&) = delete;
  BlasProducts& operator=(const BlasProducts&) = delete;

  std::int64_t bytes() const {
    return shape_.rows * shape_.cols * static_cast<std::int64_t>(sizeof(T));
  }
  std::int64_t count() const { return static_cast<std::int64_t>(matrices_.size()); }

  /// Ours is y [T, rows] = x Wᵀ with rows one after the other; theirs have columns so.
  void queue() {
    const Sum one = 1;
    const Sum zero = 0;
    const auto rows = static_cast<int>(shape_.rows);
    const auto cols = static_cast<int>(shape_.cols);
    for (const DeviceBuffer<T>& w : matrices_) {
      check_blas(
          cublasGemmEx(handle_, CUBLAS_OP_T, CUBLAS_OP_N, rows, static_cast<int>(shape_.tokens),
                       cols, &one, w.data(), type_, cols, x_.data(), type_, cols, &zero, y_.data(),
                       result_type_, rows, compute_, CUBLAS_GEMM_DEFAULT),
          "a product");
    }
  }

 private:
  static std::vector<T> random(std::int64_t n) {
    Rng rng(2);
    std::vector<T> values(size(n));
    for (T& v : values) {
      if constexpr (sizeof(T) == 1) {
        v = static_cast<T>(rng.below(255));
      } else {
        v = f32_to_f16(static_cast<float>(rng.uniform()) - 0.5F);
      }
    }
    return values;
  }

  Shape shape_;
  cudaDataType type_;
  cudaDataType result_type_;
  cublasComputeType_t compute_;
  cublasHandle_t handle_ = nullptr;
  DeviceBuffer<std::byte> workspace_;
  DeviceBuffer<T> x_;
  DeviceBuffer<Result> y_;
  std::deque<DeviceBuffer<T>> matrices_;
};

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Bench {
 public:
  Bench(const Options& options, const cuda::Device& device)
      : o_(options), device_(device), pool_(0) {}

  /// False if a result is wrong.
  bool run() {
    head();
    for (const Shape& shape : {Shape{4096, 4096, 1},
                               {11008, 4096, 1},
                               {4096, 11008, 1},
                               {4096, 4096, 512},
                               {11008, 4096, 512},
                               {4096, 11008, 512}}) {
      compare(shape);
    }
    kernels_by_tokens();
    return right_;
  }

 private:
  void head() {
    cudaDeviceProp properties = {};
    check(cudaGetDeviceProperties(&properties, device_.index), "asking for its name");
    const std::int64_t bytes = std::int64_t{4} << 30;
    const DeviceBuffer<std::byte> memory(bytes);
    check(cudaMemset(memory.data(), 0x5A, size(bytes)), "filling memory");
    const double seconds = median(timer_.seconds(
        [&] {
          queue_read(device_, memory.data(), bytes, reinterpret_cast<std::uint32_t*>(memory.data()),
                     timer_.stream());
        },
        o_.rounds));
    bandwidth_ = static_cast<double>(bytes) / seconds;
    std::printf("%s, %d multiprocessors; a kernel that only reads 4 GiB: %.0f GB/s\n\n",
                properties.name, device_.multiprocessors, bandwidth_ / 1e9);
    std::printf(
        "| rows x cols, tokens | product | us, median | us, least | MB | GB/s | %% of read | "
        "Top/s |\n|---|---|---:|---:|---:|---:|---:|---:|\n");
  }

  /// A line of the table: `count` products a replay, each reading `bytes` of weights.
  void measure(const Shape& shape, const char* name, std::int64_t bytes, std::int64_t count,
               bool multiplies, const std::function<void()>& queue) {
    const std::vector<double> all = timer_.seconds(queue, o_.rounds);
    const double products = static_cast<double>(count);
    const double seconds = median(all) / products;
    const double rate = static_cast<double>(bytes) / seconds;
    std::printf("| %lld x %lld, %lld | %-24s | %8.2f | %8.2f | %6.2f | %5.0f | %3.0f | ",
                static_cast<long long>(shape.rows), static_cast<long long>(shape.cols),
                static_cast<long long>(shape.tokens), name, seconds * 1e6,
                *std::min_element(all.begin(), all.end()) / products * 1e6,
                static_cast<double>(bytes) / 1e6, rate / 1e9, 100 * rate / bandwidth_);
    const double operations = 2.0 * static_cast<double>(shape.rows * shape.cols * shape.tokens);
    std::printf(multiplies ? "%6.1f |\n" : "- |\n", operations / seconds / 1e12);
    std::fflush(stdout);
  }

  void check_ours(OurProducts& ours, bool rounded, const char* name) {
    if (ours.is_right(rounded)) return;
    std::fprintf(stderr, "%s: differs from the scalar kernel\n", name);
    right_ = false;
  }

  void compare(const Shape& shape) {
    const cudaStream_t stream = timer_.stream();
    {
      OurProducts ours(o_, device_, shape, pool_);
      const auto ours_alone = [&](const char* name, bool rounded,
                                  const std::function<void()>& queue) {
        measure(shape, name, ours.bytes(), ours.count(), true, queue);
        check_ours(ours, rounded, name);
      };
      if (shape.tokens == 1) {
        measure(shape, "reading alone", ours.bytes(), ours.count(), false,
                [&] { ours.queue_read(stream); });
      }
      ours_alone("onebit int8 and rounding", true,
                 [&] { ours.queue_int8(stream, true, cuda::gemm_sign1_i8); });
      ours_alone("onebit int8", true, [&] { ours.queue_int8(stream, false, cuda::gemm_sign1_i8); });
      ours_alone("onebit f32", false, [&] { ours.queue_f32(stream); });
    }
    {
      BlasProducts<f16_bits, float, f16_bits> blas(o_, shape, CUDA_R_16F, CUDA_R_16F,
                                                   CUBLAS_COMPUTE_32F, stream);
      measure(shape, "cuBLAS fp16", blas.bytes(), blas.count(), true, [&] { blas.queue(); });
    }
    if (shape.tokens > 1) {  // int8 wants a multiple of 4
      BlasProducts<std::int8_t, std::int32_t, std::int32_t> blas(o_, shape, CUDA_R_8I, CUDA_R_32I,
                                                                 CUBLAS_COMPUTE_32I, stream);
      measure(shape, "cuBLAS int8", blas.bytes(), blas.count(), true, [&] { blas.queue(); });
    }
  }

  void kernels_by_tokens() {
    std::printf(
        "\n| 4096 x 4096, tokens | kernel for few, us | kernel for many, us |\n"
        "|---:|---:|---:|\n");
    for (const std::int64_t tokens : {24, 32, 48, 64, 96, 128, 192, 256, 512}) {
      OurProducts ours(o_, device_, {4096, 4096, tokens}, pool_);
      ours.queue_rounding(timer_.stream());
      double us[2] = {};
      for (int k = 0; k < 2; ++k) {
        const auto kernel = k == 0 ? cuda::few_tokens_i8 : cuda::many_tokens_i8;
        us[k] = 1e6 / static_cast<double>(ours.count()) *
                median(timer_.seconds([&] { ours.queue_int8(timer_.stream(), false, kernel); },
                                      o_.rounds));
        check_ours(ours, true, k == 0 ? "few" : "many");
      }
      std::printf("| %lld | %.2f | %.2f |\n", static_cast<long long>(tokens), us[0], us[1]);
      std::fflush(stdout);
    }
  }

  Options o_;
  cuda::Device device_;
  ThreadPool pool_;
  Timer timer_;
  double bandwidth_ = 0;
  bool right_ = true;
};

}  // namespace
}  // namespace onebit::bench

int main(int argc, char** argv) {
  onebit::bench::Options options;
  CLI::App app("1-bit products on a GPU, beside cuBLAS's and the memory's limit.");
  app.add_option("--megabytes", options.megabytes, "distinct matrices of a side, for one token")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds, "replays of each side, of which the median counts")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return onebit::bench::Bench(options, onebit::cuda::open_device(0)).run() ? 0 : 1;
  } catch (const onebit::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
