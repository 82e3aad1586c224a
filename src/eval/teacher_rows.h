// Where the teacher's side of a divergence comes from: a model that runs beside the measured one, a
// file that an earlier run wrote, or the former while it writes the latter.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "eval/divergence.h"
#include "eval/log_prob_file.h"
#include "eval/logits_stream.h"
#include "eval/scorer.h"

namespace onebit::eval {

/// Rows that are compared together: enough for every thread, 32 · 4 bytes · vocabulary of memory.
inline constexpr std::size_t kBatchRows = 32;

class TeacherRows {
 public:
  virtual ~TeacherRows() = default;

  /// The windows of a text come one after another; `context` is what the model runs on, its logits
  /// of positions first, first+1, … are compared.
  virtual void begin_window(std::span<const text::TokenId> context, std::int64_t first) = 0;

  /// Makes the window's next `count` rows current: kBatchRows, fewer only at its end. Throws the
  /// engine's and the file's Error.
  virtual void next(std::size_t count) = 0;

  /// Scores `model` against the current row i; from several threads at a time, for different i.
  virtual PositionScore score(std::size_t i, std::span<const float> model,
                              text::TokenId target) = 0;

  /// After every current row was scored.
  virtual void done() {}

  /// After the last window.
  virtual void finish() {}
};

/// Runs `teacher`, which must outlive the object, on a thread of its own, a batch ahead at most.
std::unique_ptr<TeacherRows> live_teacher(Scorer& teacher);

/// The same, and `file` gets every row. Positions are scored against the rounded rows, so that the
/// figures are those which the file gives later.
std::unique_ptr<TeacherRows> saving_teacher(Scorer& teacher, LogProbWriter& file);

/// Reads `file`, which must outlive the object, from its first row on.
std::unique_ptr<TeacherRows> filed_teacher(const LogProbFile& file);

}  // namespace onebit::eval
