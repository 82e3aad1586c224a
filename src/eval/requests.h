// From documents to token ids, exactly as lm-eval makes them for a causal model, and to the fewest
// sequences that answer for all of a document's choices.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "eval/scorer.h"
#include "eval/task.h"
#include "text/tokenizer.h"

namespace onebit::eval {

/// The log-likelihood of `continuation` after `context` is wanted.
struct Prompt {
  std::string context;
  std::string continuation;
};

/// One of each choice. `before` is what Examples::before() says.
std::vector<Prompt> make_prompts(const Task& task, const Document& document,
                                 std::string_view before);

struct Request {
  std::vector<text::TokenId> context;
  std::vector<text::TokenId> continuation;
};

/// Of each prompt: white space at the context's end goes to the continuation; both are then
/// tokenised together, and the continuation is what follows as many tokens as the context has
/// alone. The tokenizer adds what its own configuration says (BOS), unless the text begins with
/// that already, and finds control tokens written in the text. An empty context is BOS, or EOS
/// where there is none; if the continuation begins with that token, it is the context. Throws
/// Error{kUnsupported} for a prompt of which no token is left to predict, or none to predict it
/// from.
std::vector<Request> encode(std::span<const Prompt> prompts, const text::Tokenizer& tokenizer);

/// What a document costs: sequences to run, and what to read in their logits.
struct DocumentPlan {
  /// The log-probability of `token` after position `position` belongs to choice `choice`.
  struct Read {
    std::int64_t position = 0;
    std::size_t choice = 0;
    std::size_t index = 0;  ///< which token of the choice's continuation
    text::TokenId token = 0;
  };

  struct Run {
    std::vector<text::TokenId> tokens;
    std::vector<Read> reads;  ///< by ascending position, at least one

    Sequence sequence() const { return {tokens, reads.front().position}; }
  };

  std::vector<Run> runs;
  std::vector<std::int64_t> lengths;  ///< tokens of each choice's continuation
  bool truncated = false;             ///< a context lost its beginning
};

/// A request is context and continuation without its last token, which predicts nothing: choices of
/// one token share one sequence, and one that begins another is read there. What is longer than
/// `context` tokens loses its beginning. Throws Error{kUnsupported} for a continuation longer than
/// that.
DocumentPlan make_plan(std::span<const Request> requests, std::int64_t context);

}  // namespace onebit::eval
