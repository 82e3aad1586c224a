// `onebit run`: completes a prompt, or chats.
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/chat.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/line_reader.h"
#include "cli/sampling_flags.h"
#include "runtime/generator.h"

namespace onebit::cli {
namespace {

using runtime::FinishReason;
using runtime::GenerateResult;

constexpr std::string_view kChatHelp =
    "/exit ends the chat (so does the end of input), /reset forgets it, /help shows this; Ctrl-C "
    "stops a reply, at the prompt it ends the chat";

std::string_view reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEnd:
      return "end";
    case FinishReason::kStopText:
      return "stop";
    case FinishReason::kLength:
    case FinishReason::kContext:
      return "length";
    case FinishReason::kInterrupted:
      break;
  }
  return "interrupted";
}

/// Sums over the turns of a chat, or one completion.
struct Speed {
  std::int64_t prompt_tokens = 0;
  std::int64_t tokens = 0;
  double prompt_seconds = 0;
  double seconds = 0;

  void add(const GenerateResult& result) {
    prompt_tokens += result.prompt_tokens;
    tokens += static_cast<std::int64_t>(result.tokens.size());
    prompt_seconds += result.prompt_seconds;
    seconds += result.generate_seconds;
  }
  static double per_second(std::int64_t count, double time) {
    return time > 0 ? static_cast<double>(count) / time : 0;
  }
  std::string text() const {
    return fmt::format("prompt: {} tokens, {:.1f} tokens/s; generation: {} tokens, {:.1f} tokens/s",
                       prompt_tokens, per_second(prompt_tokens, prompt_seconds), tokens,
                       per_second(tokens, seconds));
  }
  void write(nlohmann::ordered_json& object) const {
    object["prompt_tokens"] = prompt_tokens;
    object["generated_tokens"] = tokens;
    object["prompt_tokens_per_second"] = per_second(prompt_tokens, prompt_seconds);
    object["generated_tokens_per_second"] = per_second(tokens, seconds);
  }
};

class Run final : public Command {
 public:
  void define(CLI::App& app) override {
    define_model(app, runtime_.model);
    prompt_option_ =
        app.add_option("-p,--prompt", prompt_, "text to continue; without it, an interactive chat")
            ->type_name("TEXT");
    define_number(app, "-n,--n-predict", generate_.max_tokens,
                  "tokens to generate at most; -1: until the model ends or the context is full",
                  std::int64_t{-1}, kMaxCount);
    define_number(app, "-c,--ctx-size", context_, "tokens of context; 0: the model's own",
                  std::int64_t{0}, kMaxCount);
    app.add_flag("--chat", chat_, "with -p: put the prompt through the chat template");
    app.add_option("--system", system_, "the system message of a chat")->type_name("TEXT");
    app.add_flag("--ignore-eos", generate_.ignore_end, "go on after an end-of-sequence token");
    app.add_option("--stop", generate_.stop, "end the generation before this text (repeatable)")
        ->type_name("TEXT")
        ->check(not_empty("a text"))
        ->allow_extra_args(false);
    define_sampling(app, sampling_);
    define_runtime(app, runtime_);
    app.footer(fmt::format("In a chat {}.\n", kChatHelp));
  }

  void run(Context& context) override {
    if (prompt_option_->count() > 0 && !chat_ && !system_.empty()) {
      throw UsageError("--system: found with --prompt and without --chat, expected --chat too");
    }
    runtime::Model model = load_model(context, runtime_);
    if (context_ == 0) context_ = model.config().context;
    if (context_ > model.config().context) {
      log(LogLevel::kWarning,
          fmt::format("a context of {} tokens is longer than the {} that the model was trained for",
                      context_, model.config().context));
    }
    const runtime::SamplerOptions sampling = sampling_.drawn();
    json_["model"] = runtime_.model;
    json_["seed"] = sampling.seed;
    if (prompt_option_->count() == 0) {
      converse(context, model, sampling);
    } else {
      complete(context, model, sampling);
    }
  }

 private:
  void complete(Context& context, runtime::Model& model, const runtime::SamplerOptions& sampling) {
    const text::Tokenizer& tokenizer = model.checkpoint().tokenizer();
    std::vector<text::TokenId> prompt;
    if (chat_) {
      std::vector<text::ChatMessage> messages;
      if (!system_.empty()) messages.push_back({"system", system_});
      messages.push_back({"user", prompt_});
      prompt = ChatFormat(model.checkpoint()).encode(messages);
    } else {
      prompt = tokenizer.encode(prompt_, {.add_special = true, .parse_special = true});
    }
    if (prompt.empty()) throw UsageError("--prompt: found no token, expected at least one");
    runtime::KvCache cache = make_cache(model);
    runtime::Sampler sampler(sampling, model.kernels());
    const GenerateResult result =
        runtime::generate(model, cache, prompt, sampler, generate_, printer(context.console),
                          context.interrupts.token());
    finish_line(context.console, result.text);
    warn_if_full(result);
    Speed speed;
    speed.add(result);
    log(LogLevel::kInfo, speed.text());
    if (result.reason == FinishReason::kInterrupted) {
      throw Error(ErrorCode::kInterrupted, "the generation was interrupted");
    }
    json_["text"] = result.text;
    json_["tokens"] = result.tokens;
    json_["finish_reason"] = reason_name(result.reason);
    speed.write(json_);
    context.console.print_json(json_);
  }

  void converse(Context& context, runtime::Model& model, const runtime::SamplerOptions& sampling) {
    const bool terminal = ::isatty(STDIN_FILENO) == 1;
    Chat chat(model, make_cache(model), sampling, system_);
    LineReader lines(STDIN_FILENO, context.interrupts.wake_fd());
    Speed speed;
    if (terminal) log(LogLevel::kInfo, kChatHelp);
    while (true) {
      if (terminal) context.console.print("> ");
      const std::optional<std::string> line = lines.next();
      if (!line || *line == "/exit") break;
      if (line->empty()) continue;
      if (*line == "/help") {
        log(LogLevel::kInfo, kChatHelp);
      } else if (*line == "/reset") {
        chat.reset();
        log(LogLevel::kInfo, "the conversation is forgotten");
      } else if (line->front() == '/') {
        log(LogLevel::kWarning, fmt::format("unknown command {}; {}", *line, kChatHelp));
      } else {
        reply(context, chat, *line, terminal, speed);
      }
    }
    if (terminal) context.console.print("\n");
    log(LogLevel::kInfo, speed.text());
    for (const text::ChatMessage& message : chat.messages()) {
      json_["messages"].push_back({{"role", message.role}, {"content", message.content}});
    }
    speed.write(json_);
    context.console.print_json(json_);
  }

  /// One turn. At a terminal Ctrl-C ends the reply only, elsewhere the program.
  void reply(Context& context, Chat& chat, const std::string& message, bool terminal,
             Speed& speed) {
    try {
      const GenerateResult result =
          chat.say(message, generate_, printer(context.console), context.interrupts.token());
      finish_line(context.console, result.text);
      warn_if_full(result);
      speed.add(result);
      if (result.reason != FinishReason::kInterrupted) return;
    } catch (const Error& error) {
      // A message that is too long for the context is no reason to lose a conversation.
      if (error.code() != ErrorCode::kResource || !terminal) throw;
      log(LogLevel::kError, error.what());
      return;
    }
    if (terminal) context.interrupts.rearm();
    if (context.interrupts.token().stop_requested()) {
      throw Error(ErrorCode::kInterrupted, "the chat was interrupted");
    }
  }

  runtime::KvCache make_cache(const runtime::Model& model) const {
    try {
      return model.make_cache(context_);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kResource) throw;
      throw Error(ErrorCode::kResource, fmt::format("{} (see --ctx-size)", error.what()));
    }
  }

  static runtime::OnText printer(Console& console) {
    return [&console](std::string_view text) {
      console.print(text);
      return true;
    };
  }

  static void finish_line(Console& console, std::string_view text) {
    if (!text.ends_with('\n')) console.print("\n");
  }

  void warn_if_full(const GenerateResult& result) const {
    if (result.reason != FinishReason::kContext) return;
    log(LogLevel::kWarning,
        fmt::format("the context of {} tokens is full: the text ends here (see --ctx-size)",
                    context_));
  }

  RuntimeFlags runtime_;
  SamplingFlags sampling_;
  runtime::GenerateOptions generate_;
  std::string prompt_;
  CLI::Option* prompt_option_ = nullptr;
  std::int64_t context_ = 0;
  std::string system_;
  bool chat_ = false;
  nlohmann::ordered_json json_;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(run, onebit::cli::Run);
