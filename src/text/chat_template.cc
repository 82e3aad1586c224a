// The public face of the template engine in jinja_*: messages in, prompt out, Error for
// TemplateError.
#include "text/chat_template.h"

#include <ctime>
#include <fmt/format.h>
#include <utility>

#include "base/error.h"
#include "text/jinja_error.h"
#include "text/jinja_eval.h"
#include "text/jinja_ops.h"
#include "text/jinja_parser.h"
#include "text/jinja_unicode.h"

namespace onebit::text {
namespace {

/// A message may quote the template or be its own (raise_exception): it becomes one line of bounded
/// length, without what a terminal would obey (C0 and C1 control characters, DEL).
std::string one_line(std::string_view text) {
  constexpr std::size_t kLongest = 400;
  std::string line;
  for (const jinja::Character& c : jinja::Characters(jinja::beginning(text, kLongest))) {
    const bool control = (c.code >= 0 && c.code < ' ') || (c.code >= 0x7F && c.code < 0xA0);
    line += control ? " " : c.bytes;
  }
  return line;
}

[[noreturn]] void rethrow(const jinja::TemplateError& error) {
  const std::string where =
      error.line() > 0 ? fmt::format("chat template, line {}", error.line()) : "chat template";
  throw Error(error.code(), fmt::format("{}: {}", where, one_line(error.what())));
}

}  // namespace

struct ChatTemplate::Impl {
  jinja::Body body;
};

ChatTemplate::ChatTemplate(std::string_view source) {
  try {
    impl_ = std::make_unique<Impl>(Impl{jinja::parse(source)});
  } catch (const jinja::TemplateError& error) {
    rethrow(error);
  }
}

ChatTemplate::ChatTemplate(ChatTemplate&&) noexcept = default;
ChatTemplate::~ChatTemplate() = default;

std::string ChatTemplate::render(std::span<const ChatMessage> messages, bool add_generation_prompt,
                                 std::string_view bos_token, std::string_view eos_token) const {
  using jinja::Value;
  try {
    jinja::Limits limits;
    jinja::Budget inputs(limits);
    std::vector<Value> list;
    for (const ChatMessage& message : messages) {
      list.push_back(jinja::make_dict(inputs, {{std::string("role"), message.role},
                                               {std::string("content"), message.content}}));
    }
    // As transformers calls a template for a plain chat: tools and documents are none.
    return jinja::render(impl_->body,
                         {{"messages", jinja::make_sequence(inputs, std::move(list))},
                          {"tools", jinja::None{}},
                          {"documents", jinja::None{}},
                          {"add_generation_prompt", add_generation_prompt},
                          {"bos_token", std::string(bos_token)},
                          {"eos_token", std::string(eos_token)}},
                         limits, std::time(nullptr));
  } catch (const jinja::TemplateError& error) {
    rethrow(error);
  }
}

}  // namespace onebit::text
