#include "eval/teacher_rows.h"

#include "base/check.h"

namespace onebit::eval {
namespace {

class LiveTeacher : public TeacherRows {
 public:
  explicit LiveTeacher(Scorer& teacher)
      : teacher_(teacher), vocab_(static_cast<std::size_t>(teacher.vocab_size())) {}

  void begin_window(std::span<const text::TokenId> context, std::int64_t first) override {
    stream_.reset();  // it reads context_
    context_.assign(context.begin(), context.end());
    stream_.emplace(teacher_, context_, first, static_cast<std::int64_t>(kBatchRows));
  }

  void next(std::size_t count) override {
    rows_ = stream_->next();
    ONEBIT_CHECK(rows_.size() == count * vocab_);
  }

  PositionScore score(std::size_t i, std::span<const float> model, text::TokenId target) override {
    return score_position(model, row(i), target);
  }

 protected:
  std::span<const float> row(std::size_t i) const { return rows_.subspan(i * vocab_, vocab_); }
  std::int64_t vocab() const { return static_cast<std::int64_t>(vocab_); }

 private:
  Scorer& teacher_;
  std::size_t vocab_;
  std::vector<text::TokenId> context_;
  std::optional<LogitsStream> stream_;
  std::span<const float> rows_;
};

class SavingTeacher final : public LiveTeacher {
 public:
  SavingTeacher(Scorer& teacher, LogProbWriter& file)
      : LiveTeacher(teacher), file_(file), words_(log_prob_row_words(vocab())) {
    codes_.resize(kBatchRows * words_);
  }

  void next(std::size_t count) override {
    LiveTeacher::next(count);
    count_ = count;
  }

  PositionScore score(std::size_t i, std::span<const float> model, text::TokenId target) override {
    const LogSumExp sums = log_sum_exp(row(i));
    // What cannot be stored is reported as without a file.
    if (!sums.finite) return LiveTeacher::score(i, model, target);
    const auto codes = std::span(codes_).subspan(i * words_, words_);
    encode_log_probs(row(i), sums, file_.row_kind(), codes);
    return score_position(model, decode_log_probs(codes, vocab(), file_.row_kind()), target);
  }

  void done() override { file_.append(std::span(codes_).first(count_ * words_)); }
  void finish() override { file_.commit(); }

 private:
  LogProbWriter& file_;
  std::size_t words_;  ///< of a row
  std::size_t count_ = 0;
  std::vector<std::uint16_t> codes_;  ///< the current rows
};

class FiledTeacher final : public TeacherRows {
 public:
  explicit FiledTeacher(const LogProbFile& file) : file_(file) {}

  void begin_window(std::span<const text::TokenId> /*context*/, std::int64_t /*first*/) override {}

  void next(std::size_t count) override {
    rows_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      rows_.push_back(file_.row(read_ + static_cast<std::int64_t>(i)));
    }
  }

  PositionScore score(std::size_t i, std::span<const float> model, text::TokenId target) override {
    return score_position(model, rows_[i], target);
  }

  void done() override {
    const auto count = static_cast<std::int64_t>(rows_.size());
    file_.release(read_, count);
    read_ += count;
  }

 private:
  const LogProbFile& file_;
  std::int64_t read_ = 0;         ///< rows before the current ones
  std::vector<LogProbRow> rows_;  ///< the current ones
};

}  // namespace

std::unique_ptr<TeacherRows> live_teacher(Scorer& teacher) {
  return std::make_unique<LiveTeacher>(teacher);
}

std::unique_ptr<TeacherRows> saving_teacher(Scorer& teacher, LogProbWriter& file) {
  return std::make_unique<SavingTeacher>(teacher, file);
}

std::unique_ptr<TeacherRows> filed_teacher(const LogProbFile& file) {
  return std::make_unique<FiledTeacher>(file);
}

}  // namespace onebit::eval
