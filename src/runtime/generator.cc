#include "runtime/generator.h"

#include <algorithm>
#include <chrono>
#include <fmt/format.h>

#include "base/error.h"
#include "runtime/choices.h"
#include "runtime/text_stream.h"

namespace onebit::runtime {
namespace {

using text::TokenId;

class Stopwatch {
 public:
  /// Since construction or the last lap.
  double lap() {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double> seconds = now - start_;
    start_ = now;
    return seconds.count();
  }

 private:
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

/// Evaluates the prompt in chunks, so that it can be interrupted; the last token's logits, or
/// nothing when it was.
std::span<const float> evaluate(Model& model, KvCache& cache, std::span<const TokenId> prompt,
                                const std::stop_token& stop) {
  const auto chunk = static_cast<std::size_t>(model.prompt_chunk());
  std::span<const float> logits;
  while (!prompt.empty()) {
    if (stop.stop_requested()) return {};
    const std::size_t count = std::min(chunk, prompt.size());
    logits = model.forward(prompt.first(count), cache);
    prompt = prompt.subspan(count);
  }
  return logits;
}

}  // namespace

GenerateResult generate(Model& model, KvCache& cache, std::span<const TokenId> prompt,
                        Sampler& sampler, const GenerateOptions& options, const OnText& on_text,
                        const std::stop_token& stop) {
  const text::Tokenizer& tokenizer = model.checkpoint().tokenizer();
  if (prompt.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "prompt: found no tokens, expected at least 1");
  }
  if (std::ssize(prompt) > cache.capacity() - cache.length()) {
    throw Error(ErrorCode::kResource,
                fmt::format("prompt: found {} tokens, expected at most the {} left of a context of "
                            "{}",
                            prompt.size(), cache.capacity() - cache.length(), cache.capacity()));
  }
  const Choices choices(model.checkpoint());
  std::vector<float> scratch;
  TextStream stream(options.stop);
  GenerateResult result;
  std::vector<TokenId> history = options.history;
  history.insert(history.end(), prompt.begin(), prompt.end());

  Stopwatch watch;
  std::span<const float> logits = evaluate(model, cache, prompt, stop);
  result.prompt_tokens = std::ssize(prompt);
  result.prompt_seconds = watch.lap();

  const auto show = [&](std::string_view text) {
    result.text += text;
    return text.empty() || !on_text || on_text(text);
  };
  while (true) {
    if (logits.empty() || stop.stop_requested()) {
      result.reason = FinishReason::kInterrupted;
      break;
    }
    if (options.max_tokens == 0) break;
    const TokenId token = sampler.sample(choices.of(logits, scratch), history);
    if (tokenizer.is_end(token) && !options.ignore_end) {
      result.reason = FinishReason::kEnd;
      break;
    }
    result.tokens.push_back(token);
    history.push_back(token);
    const bool go_on =
        show(stream.feed(tokenizer.is_control(token) ? std::string() : tokenizer.piece(token)));
    if (stream.stopped() || !go_on) {
      result.reason = go_on ? FinishReason::kStopText : FinishReason::kInterrupted;
      break;
    }
    // The last token that is asked for needs no evaluation: nothing follows it.
    if (std::ssize(result.tokens) == options.max_tokens) break;
    if (cache.length() == cache.capacity()) {
      result.reason = FinishReason::kContext;
      break;
    }
    logits = model.forward({&token, 1}, cache);
  }
  if (!show(stream.finish())) result.reason = FinishReason::kInterrupted;
  result.generate_seconds = watch.lap();
  return result;
}

}  // namespace onebit::runtime
