#include "eval/requests.h"

#include <algorithm>
#include <fmt/format.h>
#include <numeric>
#include <utility>

#include "base/error.h"
#include "eval/python_text.h"

namespace onebit::eval {
namespace {

using text::TokenId;

/// What stands before a text of which nothing precedes; -1: the tokenizer has none.
TokenId prefix_token(const text::Tokenizer& tokenizer) {
  return tokenizer.bos() >= 0 ? tokenizer.bos() : tokenizer.eos();
}

/// A text that begins with the prefix token's own text gets no second one.
std::vector<TokenId> encode_text(std::string_view text, const text::Tokenizer& tokenizer) {
  const TokenId prefix = prefix_token(tokenizer);
  bool add = true;
  if (prefix >= 0) {
    const std::string written = tokenizer.decode({&prefix, 1}, /*skip_special=*/false);
    add = written.empty() || !text.starts_with(written);
  }
  return tokenizer.encode(text, {.add_special = add, .parse_special = true});
}

Request encode_alone(std::string_view continuation, const text::Tokenizer& tokenizer) {
  Request request;
  request.continuation =
      tokenizer.encode(continuation, {.add_special = false, .parse_special = true});
  const TokenId prefix = prefix_token(tokenizer);
  const bool begins = !request.continuation.empty() && request.continuation.front() == prefix;
  if (begins) request.continuation.erase(request.continuation.begin());
  if (begins || prefix >= 0) request.context = {prefix};
  return request;
}

/// Whether `run` begins with `tokens`.
bool begins_with(const DocumentPlan::Run& run, std::span<const TokenId> tokens) {
  return run.tokens.size() >= tokens.size() &&
         std::equal(tokens.begin(), tokens.end(), run.tokens.begin());
}

}  // namespace

std::vector<Prompt> make_prompts(const Task& task, const Document& document,
                                 std::string_view before) {
  std::vector<Prompt> prompts;
  prompts.reserve(document.choices.size());
  const std::string shared = std::string(before) + document.context;
  for (const std::string& choice : document.choices) {
    switch (task.output) {
      case Output::kChoices:
        prompts.push_back({shared, std::string(kTargetDelimiter) + choice});
        break;
      case Output::kContexts:
        prompts.push_back({shared + choice, std::string(kTargetDelimiter) + document.continuation});
        break;
      case Output::kContinuation:
        prompts.push_back({shared, choice});
        break;
    }
  }
  return prompts;
}

std::vector<Request> encode(std::span<const Prompt> prompts, const text::Tokenizer& tokenizer) {
  std::vector<Request> requests;
  requests.reserve(prompts.size());
  for (std::size_t i = 0; i < prompts.size(); ++i) {
    const auto& [context, continuation] = prompts[i];
    Request request;
    if (context.empty()) {
      request = encode_alone(continuation, tokenizer);
    } else {
      const bool same = i > 0 && context == prompts[i - 1].context;
      request.context = same ? requests.back().context : encode_text(rstrip(context), tokenizer);
      const std::vector<TokenId> whole = encode_text(context + continuation, tokenizer);
      const auto begin =
          static_cast<std::ptrdiff_t>(std::min(request.context.size(), whole.size()));
      request.continuation.assign(whole.begin() + begin, whole.end());
    }
    if (request.context.empty() || request.continuation.empty()) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("found {} tokens of context and {} to predict, expected one of each "
                              "at least",
                              request.context.size(), request.continuation.size()));
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

DocumentPlan make_plan(std::span<const Request> requests, std::int64_t context) {
  DocumentPlan plan;
  std::vector<std::vector<TokenId>> inputs;
  for (const Request& request : requests) {
    const auto length = static_cast<std::int64_t>(request.continuation.size());
    if (length > context) {
      throw Error(ErrorCode::kUnsupported,
                  fmt::format("found a choice of {} tokens, expected at most {}, the context",
                              length, context));
    }
    plan.lengths.push_back(length);
    std::vector<TokenId> tokens = request.context;
    tokens.insert(tokens.end(), request.continuation.begin(), request.continuation.end() - 1);
    const auto excess = static_cast<std::int64_t>(tokens.size()) - context;
    if (excess > 0) {
      tokens.erase(tokens.begin(), tokens.begin() + excess);
      plan.truncated = true;
    }
    inputs.push_back(std::move(tokens));
  }
  // The longest first: whatever begins another finds it there already.
  std::vector<std::size_t> order(requests.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return inputs[a].size() > inputs[b].size();
  });
  for (const std::size_t choice : order) {
    const std::vector<TokenId>& continuation = requests[choice].continuation;
    const auto first =
        static_cast<std::int64_t>(inputs[choice].size() - continuation.size());  // predicts token 0
    auto run = std::find_if(plan.runs.begin(), plan.runs.end(), [&](const DocumentPlan::Run& one) {
      return begins_with(one, inputs[choice]);
    });
    if (run == plan.runs.end()) {
      plan.runs.push_back({std::move(inputs[choice]), {}});
      run = plan.runs.end() - 1;
    }
    for (std::size_t i = 0; i < continuation.size(); ++i) {
      run->reads.push_back({first + static_cast<std::int64_t>(i), choice, i, continuation[i]});
    }
  }
  for (DocumentPlan::Run& run : plan.runs) {
    std::stable_sort(run.reads.begin(), run.reads.end(),
                     [](const auto& a, const auto& b) { return a.position < b.position; });
  }
  return plan;
}

}  // namespace onebit::eval
