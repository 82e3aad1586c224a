// Renders a model's chat template: the subset of Jinja that such templates use.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace onebit::text {

struct ChatMessage {
  std::string role;  ///< "system", "user", "assistant"
  std::string content;
};

class ChatTemplate {
 public:
  /// Parses. Throws Error{kUnsupported} naming the construct and its line, Error{kCorrupt} for
  /// source that is not Jinja.
  explicit ChatTemplate(std::string_view source);
  ChatTemplate(ChatTemplate&&) noexcept;
  ~ChatTemplate();

  /// `bos_token`, `eos_token`: their text, which templates may print. Throws Error when the
  /// template raises (raise_exception) or uses an undefined value where one is needed.
  std::string render(std::span<const ChatMessage> messages, bool add_generation_prompt,
                     std::string_view bos_token, std::string_view eos_token) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace onebit::text
