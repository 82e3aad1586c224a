// Matrix products of llama.cpp's ggml, as its own graphs do them.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace onebit::bench {

struct GgmlType {
  std::string name;
  int id;  ///< enum ggml_type
};

/// One bit, ternary, and the smallest common one.
std::vector<GgmlType> ggml_types();

double ggml_matrix_bytes(const GgmlType& type, std::int64_t rows, std::int64_t cols);

class GgmlProducts {
 public:
  GgmlProducts(const GgmlType& type, std::int64_t rows, std::int64_t cols, std::int64_t tokens,
               std::int64_t matrices);
  ~GgmlProducts();

  double bytes() const;
  /// Multiplies by every matrix once; seconds of one.
  double run(int threads);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::bench
