// A whole model through a method, one matrix at a time: peak memory is a small multiple of the
// largest matrix, whatever the model's size.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "arch/checkpoint.h"
#include "base/error.h"
#include "base/progress.h"
#include "quant/method.h"
#include "quant/token_windows.h"

namespace onebit::quant {

/// Matrices whose names a pattern matches, as shells match them ("blk.*.ffn_down"), by a method of
/// their own.
struct Override {
  std::string pattern;
  const Method* method = nullptr;
  MethodOptions options;
};

struct QuantizeOptions {
  const Method* method = nullptr;
  MethodOptions method_options;
  std::vector<Override> overrides;  ///< the first that matches wins
  formats::DType embedding = formats::DType::kQ8_0;
  formats::DType head = formats::DType::kQ8_0;
  int threads = 0;  ///< 0: one per hardware thread
  /// What methods that calibrate read; whole windows, no longer than the model's context.
  std::optional<TokenWindows> calibration;
  /// Names all that decides the result beside the source, with `plan` where that takes work to find
  /// out: where it is not empty, and keeps_blocks(), what blocks become stays in OUT.part until the
  /// file is whole, and a run of the same names goes on.
  std::string identity;
  std::string plan;
};

/// Whether any of its methods may calibrate: those take long enough that OUT.part pays.
bool keeps_blocks(const QuantizeOptions& options);

struct QuantizeTotals {
  std::string method;  ///< or methods, as the file names them: "rtn+int8"
  std::int64_t matrices = 0;
  std::int64_t weights = 0;        ///< of the quantised matrices
  std::uint64_t matrix_bytes = 0;  ///< what stands for them in the file
  std::uint64_t file_bytes = 0;    ///< the whole file
  std::int64_t parameters = 0;     ///< of the whole source model
  double relative_error = 0;       ///< Σ‖W − Ŵ‖² / Σ‖W‖²
};

/// The error of a method, saying of which matrix of which model.
Error located(const Error& error, const arch::Checkpoint& source, std::string_view matrix);

/// Throws Error{kUnsupported} for a model that this program has quantised already.
void require_full_precision(const arch::Checkpoint& source);

/// How large the file is that quantize_model() would write; nothing stays at `out`. Throws as that.
std::uint64_t planned_bytes(const arch::Checkpoint& source, const std::filesystem::path& out,
                            const QuantizeOptions& options);

/// OUT.part, where an identified run keeps its blocks.
std::filesystem::path parts_folder(const std::filesystem::path& out);

/// Before the work that the plan takes: throws Error{kInvalidArgument, kIo} where OUT.part is of a
/// run with another identity, or a file.
void require_parts(const arch::Checkpoint& source, const std::filesystem::path& out,
                   const QuantizeOptions& options);

using OnMatrix = std::function<void(const MatrixReport&)>;

/// Writes `out` whole or not at all. Where a method calibrates, the windows' states are in a
/// scratch file beside `out`, of one that trains blocks in two. Throws Error: kUnsupported when the
/// source is already quantised and for mixtures with a method that trains blocks, kInvalidArgument
/// for a pattern that matches nothing and for a method that lacks its calibration text, kNumeric
/// for bad weights (naming tensor and element), kIo, kInterrupted.
QuantizeTotals quantize_model(const arch::Checkpoint& source, const std::filesystem::path& out,
                              const QuantizeOptions& options, const OnMatrix& on_matrix,
                              Progress& progress, const std::stop_token& stop);

}  // namespace onebit::quant
