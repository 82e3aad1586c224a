// A conversation with a model: messages through the chat template, the cache kept between turns.
#pragma once

#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/generator.h"
#include "text/chat_template.h"

namespace onebit::cli {

/// The ids of a rendered conversation that asks for the assistant's turn. Throws
/// Error{kUnsupported} when the model has no chat template.
class ChatFormat {
 public:
  explicit ChatFormat(const arch::Checkpoint& checkpoint);
  std::vector<text::TokenId> encode(std::span<const text::ChatMessage> messages) const;

 private:
  const text::Tokenizer& tokenizer_;
  text::ChatTemplate template_;
  std::string bos_;
  std::string eos_;
};

class Chat {
 public:
  /// `system` may be empty: the template's own then, if it has one. `model` must outlive the chat,
  /// whose context is the capacity of `cache`, an empty one.
  Chat(runtime::Model& model, runtime::KvCache cache, const runtime::SamplerOptions& sampling,
       std::string system);

  /// One turn. Tokens that the cache holds already are not run again; the oldest exchanges are
  /// forgotten when the conversation outgrows the context. Throws Error{kResource} when this
  /// message alone does; the conversation is then as before. An interrupted reply stays in the
  /// conversation as far as it came.
  runtime::GenerateResult say(std::string message, const runtime::GenerateOptions& options,
                              const runtime::OnText& on_text, const std::stop_token& stop);

  /// Begins anew.
  void reset();

  const std::vector<text::ChatMessage>& messages() const noexcept { return messages_; }

 private:
  std::vector<text::TokenId> encode_within_context();

  runtime::Model& model_;
  ChatFormat format_;
  runtime::KvCache cache_;
  runtime::Sampler sampler_;
  std::string system_;
  std::vector<text::ChatMessage> messages_;
  std::vector<text::TokenId> cached_;  ///< what the cache holds
};

}  // namespace onebit::cli
