#include "cli/chat.h"

#include <algorithm>
#include <fmt/format.h>
#include <utility>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"

namespace onebit::cli {
namespace {

std::string token_text(const text::Tokenizer& tokenizer, text::TokenId id) {
  if (id < 0) return {};
  return tokenizer.decode(std::span(&id, 1), /*skip_special=*/false);
}

std::string template_source(const arch::Checkpoint& checkpoint) {
  std::string source = checkpoint.chat_template();
  if (source.empty()) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("{}: found no chat template, expected one for a chat (plain completion: "
                    "run -p TEXT)",
                    checkpoint.path().string()));
  }
  return source;
}

}  // namespace

ChatFormat::ChatFormat(const arch::Checkpoint& checkpoint)
    : tokenizer_(checkpoint.tokenizer()),
      template_(template_source(checkpoint)),
      bos_(token_text(tokenizer_, tokenizer_.bos())),
      eos_(token_text(tokenizer_, tokenizer_.eos())) {}

std::vector<text::TokenId> ChatFormat::encode(std::span<const text::ChatMessage> messages) const {
  // The template writes BOS itself where the model wants one.
  return tokenizer_.encode(template_.render(messages, /*add_generation_prompt=*/true, bos_, eos_),
                           {.add_special = false, .parse_special = true});
}

Chat::Chat(runtime::Model& model, runtime::KvCache cache, const runtime::SamplerOptions& sampling,
           std::string system)
    : model_(model),
      format_(model.checkpoint()),
      cache_(std::move(cache)),
      sampler_(sampling, model.kernels()),
      system_(std::move(system)) {
  reset();
}

void Chat::reset() {
  messages_.clear();
  if (!system_.empty()) messages_.push_back({"system", system_});
}

std::vector<text::TokenId> Chat::encode_within_context() {
  const std::size_t first = system_.empty() ? 0 : 1;
  for (int forgotten = 0;; ++forgotten) {
    std::vector<text::TokenId> tokens = format_.encode(messages_);
    // Room for one token of the reply at least.
    const bool fits = static_cast<std::int64_t>(tokens.size()) < cache_.capacity();
    if (fits || messages_.size() <= first + 2) {
      // A message that is too long alone is generate()'s error, and nothing is forgotten for it.
      for (; fits && forgotten > 0; --forgotten) {
        log(LogLevel::kWarning, fmt::format("the conversation outgrew the context of {} tokens: "
                                            "its oldest exchange is forgotten",
                                            cache_.capacity()));
      }
      return tokens;
    }
    messages_.erase(messages_.begin() + static_cast<std::ptrdiff_t>(first),
                    messages_.begin() + static_cast<std::ptrdiff_t>(first) + 2);
  }
}

runtime::GenerateResult Chat::say(std::string message, const runtime::GenerateOptions& options,
                                  const runtime::OnText& on_text, const std::stop_token& stop) {
  std::vector<text::ChatMessage> before = messages_;
  messages_.push_back({"user", std::move(message)});
  try {
    const std::vector<text::TokenId> tokens = encode_within_context();
    ONEBIT_CHECK(!tokens.empty());
    // At least one token must run, to give the logits that the reply begins with.
    const auto new_end =
        std::mismatch(cached_.begin(), cached_.end(), tokens.begin(), tokens.end() - 1).second;
    const auto same = new_end - tokens.begin();
    cache_.truncate(same);
    cached_.assign(tokens.begin(), new_end);
    runtime::GenerateOptions with_history = options;
    with_history.history = cached_;
    runtime::GenerateResult result =
        runtime::generate(model_, cache_, std::span(tokens).subspan(static_cast<std::size_t>(same)),
                          sampler_, with_history, on_text, stop);
    cached_.assign(tokens.begin(), tokens.end());
    cached_.insert(cached_.end(), result.tokens.begin(), result.tokens.end());
    // Of the last tokens, some may not have run (the one that reached the limit, say).
    cached_.resize(std::min(cached_.size(), static_cast<std::size_t>(cache_.length())));
    cache_.truncate(static_cast<std::int64_t>(cached_.size()));
    messages_.push_back({"assistant", result.text});
    return result;
  } catch (const Error&) {
    // As before this message, so that the conversation can go on; what the cache got is unknown.
    messages_ = std::move(before);
    cached_.clear();
    throw;
  }
}

}  // namespace onebit::cli
