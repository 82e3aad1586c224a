// Renders a model's chat template: the subset of Jinja that such templates use.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace onebit::text {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

/// Templates come with model files, from anyone: rendering is bounded in time, memory and stack
/// (jinja_budget.h), and can reach nothing outside. Errors name the line in the template.
class ChatTemplate {
 public:
  /// Parses. Throws Error{kUnsupported} naming the construct and its line, Error{kCorrupt} for
  /// source that is not Jinja, Error{kResource} for nesting too deep.
  explicit ChatTemplate(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// What transformers' apply_chat_template gives for a conversation without tools or documents.
  /// `bos_token`, `eos_token`: their text, which templates may print. Throws
  /// Error{kInvalidArgument} when the template raises (raise_exception: such messages are not meant
  /// for this model) or fails as it would in Jinja (an undefined value, a wrong type),
  /// Error{kUnsupported} for what this engine lacks, Error{kResource} beyond its limits.
  /// Thread-safe: rendering changes nothing here.
  std::string render(std::span<const ChatMessage> messages, bool add_generation_prompt,
                     std::string_view bos_token, std::string_view eos_token) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::text
