// Documents with several endings, as zero-shot tasks score them: every sequence by itself, and all
// together with what they share computed once. Both in turns on one machine, over the same tokens;
// what they find must be equal, bit for bit. Usage: see --help.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "cli/runtime_scorer.h"

namespace onebit::bench {
namespace {

using text::TokenId;

struct Options {
  std::string model;
  std::string file;
  std::size_t skip = 0;
  std::size_t documents = 200;
  std::size_t batch = 50;
  std::size_t shots = 0;
  int threads = 0;
  int rounds = 1;
};

/// A context with one of its endings, but for the last token, which predicts nothing.
struct Scored {
  std::vector<TokenId> tokens;
  std::int64_t first;            ///< whose logits are of the ending's first token
  std::vector<TokenId> targets;  ///< the ending
};

/// Context, a space, ending; after `shots` whole documents.
std::vector<Scored> read_documents(const Options& options, const text::Tokenizer& tokenizer) {
  const std::string content = read_file(options.file);
  std::vector<nlohmann::json> objects;
  std::size_t line = 0;
  for (std::string_view rest = content;
       !rest.empty() && objects.size() < options.shots + options.documents; ++line) {
    const std::size_t end = std::min(rest.size(), rest.find('\n'));
    if (line >= options.skip) objects.push_back(nlohmann::json::parse(rest.substr(0, end)));
    rest.remove_prefix(std::min(rest.size(), end + 1));
  }
  std::string before;
  for (std::size_t i = 0; i < std::min(options.shots, objects.size()); ++i) {
    before += objects[i]["ctx"].get<std::string>() + " " +
              objects[i]["endings"][0].get<std::string>() + "\n\n";
  }
  std::vector<Scored> result;
  for (std::size_t i = options.shots; i < objects.size(); ++i) {
    const std::string context = before + objects[i]["ctx"].get<std::string>();
    const auto beginning = std::ssize(tokenizer.encode(context, {}));
    for (const auto& ending : objects[i]["endings"]) {
      std::vector<TokenId> whole = tokenizer.encode(context + " " + ending.get<std::string>(), {});
      Scored scored = {whole, beginning - 1, {whole.begin() + beginning, whole.end()}};
      scored.tokens.pop_back();
      result.push_back(std::move(scored));
    }
  }
  return result;
}

/// The logits of the endings' tokens, in the order of the sequences.
using Found = std::vector<std::vector<float>>;

void note(const Scored& scored, std::int64_t position, std::span<const float> logits,
          std::vector<float>& found) {
  const TokenId target = scored.targets[static_cast<std::size_t>(position - scored.first)];
  found.push_back(logits[static_cast<std::size_t>(target)]);
}

Found one_by_one(eval::Scorer& scorer, const std::vector<Scored>& all) {
  Found found(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    scorer.score(all[i].tokens, all[i].first,
                 [&](std::int64_t position, std::span<const float> logits) {
                   note(all[i], position, logits, found[i]);
                 });
  }
  return found;
}

Found together(eval::Scorer& scorer, const std::vector<Scored>& all, std::size_t batch) {
  Found found(all.size());
  for (std::size_t begin = 0; begin < all.size(); begin += batch) {
    std::vector<eval::Sequence> sequences;
    for (std::size_t i = begin; i < std::min(all.size(), begin + batch); ++i) {
      sequences.push_back({all[i].tokens, all[i].first});
    }
    scorer.score_batch(sequences,
                       [&](std::size_t i, std::int64_t position, std::span<const float> logits) {
                         note(all[begin + i], position, logits, found[begin + i]);
                       });
  }
  return found;
}

int run(const Options& options) {
  runtime::Model model = runtime::Model::load(
      options.model, {.threads = options.threads, .kv = runtime::KvType::kF32, .isa = {}});
  const std::vector<Scored> all = read_documents(options, model.checkpoint().tokenizer());
  std::int64_t tokens = 0;
  std::int64_t rows = 0;
  for (const Scored& scored : all) {
    tokens += std::ssize(scored.tokens);
    rows += std::ssize(scored.targets);
  }
  std::printf("%zu sequences, %lld tokens, logits of %lld; %d threads\n", all.size(),
              static_cast<long long>(tokens), static_cast<long long>(rows), model.threads());
  const auto timed = [&](const char* name, auto&& side) {
    const auto begin = std::chrono::steady_clock::now();
    Found found = side();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    std::printf("%-10s %8.2f s %8.0f tokens/s\n", name, taken.count(),
                static_cast<double>(tokens) / taken.count());
    std::fflush(stdout);
    return found;
  };
  for (int round = 0; round < options.rounds; ++round) {
    cli::RuntimeScorer scorer(model);
    const Found batched =
        timed("together", [&] { return together(scorer, all, 4 * options.batch); });
    const Found alone = timed("one by one", [&] { return one_by_one(scorer, all); });
    if (batched != alone) {
      std::fprintf(stderr, "the two differ\n");
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace onebit::bench

int main(int argc, char** argv) {
  onebit::bench::Options options;
  CLI::App app("Documents with endings scored one by one and together.");
  app.add_option("MODEL", options.model)->required();
  app.add_option("FILE", options.file, "JSONL of objects with \"ctx\" and four \"endings\"")
      ->required();
  app.add_option("--skip", options.skip, "lines before the first")->capture_default_str();
  app.add_option("-n,--documents", options.documents)->capture_default_str();
  app.add_option("--batch", options.batch, "documents of a batch")->capture_default_str();
  app.add_option("--shots", options.shots, "documents in front of each")->capture_default_str();
  app.add_option("-t,--threads", options.threads, "0: one per hardware thread")
      ->capture_default_str();
  app.add_option("--rounds", options.rounds)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  try {
    return onebit::bench::run(options);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
