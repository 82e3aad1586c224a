#include "cli/kl_teacher.h"

#include <filesystem>
#include <fmt/format.h>

#include "arch/packed_writer.h"
#include "base/error.h"
#include "base/log.h"
#include "cli/model_record.h"
#include "cli/number_text.h"

namespace onebit::cli {
namespace {

eval::TeacherIdentity identity_of(const arch::Checkpoint& checkpoint, const std::string& path) {
  return {checkpoint.name(), path, checkpoint.sha256()};
}

/// A divergence compares what two models say of the same tokens.
void require_same_tokens(const KlTask& task, const text::Tokenizer& teacher,
                         const std::string& teacher_path) {
  constexpr std::size_t kSample = std::size_t{1} << 18;
  const std::string_view sample = task.raw_text.substr(0, kSample);
  if (task.tokenizer.vocab_size() == teacher.vocab_size() &&
      task.tokenizer.encode(sample, {}) == teacher.encode(sample, {})) {
    return;
  }
  throw Error(ErrorCode::kInvalidArgument,
              fmt::format("--kl-teacher {}: found other tokens ({} of them), expected those of {} "
                          "({})",
                          teacher_path, teacher.vocab_size(), task.runtime.model,
                          task.tokenizer.vocab_size()));
}

}  // namespace

KlTeacher::KlTeacher(const Context& context, const std::string& model, const std::string& file,
                     const KlTask& task)
    : name_(model) {
  if (!file.empty() && (model.empty() || std::filesystem::exists(file))) {
    read(model, file, task);
    return;
  }
  load(context, model, task);
  if (file.empty()) {
    rows_ = eval::live_teacher(*scorer_);
  } else {
    write(file, task);
  }
}

void KlTeacher::load(const Context& context, const std::string& model, const KlTask& task) {
  RuntimeFlags flags = task.runtime;
  flags.model = model;
  make_exact(flags);
  model_.emplace(load_model(context, flags));
  require_same_tokens(task, model_->checkpoint().tokenizer(), model);
  scorer_.emplace(*model_);
  eval::require_context(task.options.window, scorer_->context(),
                        fmt::format("--kl-teacher {}", model));
  if (scorer_->vocab_size() != task.vocab) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--kl-teacher {}: found logits of {} tokens, expected the model's {}",
                            model, scorer_->vocab_size(), task.vocab));
  }
}

void KlTeacher::read(const std::string& model, const std::string& file, const KlTask& task) {
  if (!std::filesystem::exists(file)) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("--kl-base {}: found no such file, expected one, or a --kl-teacher "
                            "to write it from",
                            file));
  }
  file_.emplace(eval::LogProbFile::open(file));
  file_->require(task.text, task.options, task.vocab);
  const auto& kept = file_->teacher();
  if (!model.empty()) {
    if (!kept) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: found no word on whose log-probabilities it holds, expected "
                              "those of {}: leave out --kl-teacher to use it",
                              file, model));
    }
    const auto wanted = identity_of(arch::Checkpoint::open(model), model);
    if (kept->sha256 != wanted.sha256) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: found the log-probabilities of {} (sha256 {:.12}), expected "
                              "those of {} ({:.12})",
                              file, kept->path, kept->sha256, model, wanted.sha256));
    }
    log(LogLevel::kInfo,
        fmt::format("{} holds what {} says of the text: it is not loaded", file, model));
  }
  if (name_.empty()) name_ = kept ? kept->path : file;
  rows_ = eval::filed_teacher(*file_);
}

void KlTeacher::write(const std::string& file, const KlTask& task) {
  writer_.emplace(file, task.text, task.options, task.vocab,
                  identity_of(model_->checkpoint(), name_), arch::program_name());
  log(LogLevel::kInfo,
      fmt::format("writing {} of log-probabilities to {}",
                  bytes_text(eval::LogProbWriter::bytes(task.text, task.vocab)), file));
  rows_ = eval::saving_teacher(*scorer_, *writer_);
}

std::optional<eval::TeacherIdentity> KlTeacher::identity() const {
  return file_ ? file_->teacher() : identity_of(model_->checkpoint(), name_);
}

}  // namespace onebit::cli
