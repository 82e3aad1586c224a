// `onebit bench`: speed of a model on this machine, beside what its memory could deliver.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <thread>

#include "arch/packed_writer.h"
#include "base/error.h"
#include "base/rng.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/machine.h"
#include "cli/model_record.h"
#include "cli/number_text.h"
#include "eval/statistics.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

/// One line of the table.
struct Measurement {
  std::string test;  ///< "pp512", "tg128", as llama-bench calls them
  int threads = 0;
  std::vector<double> tokens_per_second;  ///< one a repetition
  std::uint64_t bytes_per_token = 0;      ///< weights read; 0 for a prompt, which shares them

  double mean() const { return eval::mean_error(tokens_per_second).mean; }
  /// Sample standard deviation: the error of the mean times sqrt(n).
  double deviation() const {
    return eval::mean_error(tokens_per_second).error *
           std::sqrt(static_cast<double>(tokens_per_second.size()));
  }
  double bytes_per_second() const { return mean() * static_cast<double>(bytes_per_token); }
};

/// What one number of threads is measured with beside its tests.
struct Setting {
  int threads = 0;
  double load_seconds = 0;      ///< until the model could take its first token
  double bytes_per_second = 0;  ///< that the memory delivers
};

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

/// Every repetition must compute the same: a bench of a wrong result measures nothing.
class ResultCheck {
 public:
  void add(std::string_view test, std::span<const float> logits) {
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (!std::isfinite(logits[i])) {
        throw Error(ErrorCode::kNumeric, fmt::format("{}: found logit {} of token {}, expected "
                                                     "finite numbers",
                                                     test, logits[i], i));
      }
    }
    if (first_.empty()) {
      first_.assign(logits.begin(), logits.end());
    } else if (!std::equal(logits.begin(), logits.end(), first_.begin(), first_.end())) {
      throw Error(ErrorCode::kNumeric,
                  fmt::format("{}: found other logits than in the first repetition, expected the "
                              "same",
                              test));
    }
  }

 private:
  std::vector<float> first_;
};

class Bench final : public Command {
 public:
  void define(CLI::App& app) override {
    define_model(app, runtime_.model);
    define_number(app, "-p,--n-prompt", prompt_, "tokens of the prompt; 0: no prompt test",
                  std::int64_t{0}, kMaxCount);
    define_number(app, "-n,--n-gen", generate_, "tokens to generate; 0: no generation test",
                  std::int64_t{0}, kMaxCount);
    app.add_option("-t,--threads", threads_,
                   "numbers of threads to try, comma separated; default: one per hardware thread")
        ->delimiter(',')
        ->allow_extra_args(false)
        ->transform(number_within(1, 1024))
        ->type_name("N,…");
    define_number(app, "-r,--repetitions", repetitions_, "runs of each test", std::int64_t{1},
                  std::int64_t{1000});
    define_choice(app, "-o,--output", output_, "how to print", {"md", "json"});
    define_device(app, runtime_.device);
    define_activations(app, runtime_.activations);
    define_kv_type(app, runtime_.kv);
  }

  void run(Context& context) override {
    if (output_ == "json") context.console.set_json(true);
    if (prompt_ == 0 && generate_ == 0) {
      throw UsageError("found --n-prompt 0 and --n-gen 0, expected at least one test");
    }
    if (threads_.empty()) {
      threads_.push_back(static_cast<int>(std::max(1U, std::thread::hardware_concurrency())));
    }
    std::vector<Measurement> results;
    std::vector<Setting> settings;
    std::string kernels;
    for (const int threads : threads_) {
      runtime_.threads = threads;
      const auto begin = std::chrono::steady_clock::now();
      runtime::Model model = load_model(context, runtime_);
      settings.push_back({threads, seconds_since(begin)});
      kernels = model.kernels().name;
      model_bytes_ = model.checkpoint().file_bytes();
      kv_bytes_ = runtime::KvCache::bytes(model.config(), longest_test(), runtime_.kv);
      const auto progress =
          context.console.progress(fmt::format("bench, threads {}", threads), "tokens");
      measure(model, results, *progress, context.interrupts.token());
    }
    const std::uint64_t peak = peak_memory();  // before the probe's buffer
    for (Setting& s : settings) s.bytes_per_second = read_bandwidth(s.threads);
    print(context.console, results, settings, peak, kernels);
    print_json(context.console, results, settings, peak, kernels);
  }

 private:
  std::int64_t longest_test() const { return std::max(prompt_, generate_); }

  void measure(runtime::Model& model, std::vector<Measurement>& results, Progress& progress,
               const std::stop_token& stop) const {
    const arch::ModelConfig& config = model.config();
    const std::int64_t longest = longest_test();
    if (longest > config.context) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: found a test of {} tokens, expected at most {}, the model's "
                              "context (-p and -n give a test's tokens)",
                              runtime_.model, longest, config.context));
    }
    Rng rng(0);  // which tokens makes no difference to the time, but must to the result
    std::vector<text::TokenId> tokens(static_cast<std::size_t>(longest));
    for (text::TokenId& token : tokens) {
      token = static_cast<text::TokenId>(rng.below(static_cast<std::uint64_t>(config.vocab)));
    }
    runtime::KvCache cache = model.make_cache(longest);
    const auto per_run = static_cast<std::uint64_t>(prompt_ + generate_);
    const std::uint64_t total = per_run * static_cast<std::uint64_t>(repetitions_ + 1);
    std::uint64_t done = 0;

    auto test = [&](std::string name, std::int64_t count, bool one_by_one) {
      if (count == 0) return;
      Measurement result{fmt::format("{}{}", name, count),
                         model.threads(),
                         {},
                         one_by_one ? model.bytes_per_token() : 0};
      ResultCheck check;
      // The first run warms caches and buffers and is not counted.
      for (std::int64_t run = 0; run <= repetitions_; ++run) {
        cache.truncate(0);
        const auto begin = std::chrono::steady_clock::now();
        const std::span<const text::TokenId> all(tokens.data(), static_cast<std::size_t>(count));
        const std::size_t step = one_by_one ? 1 : all.size();
        std::span<const float> logits;
        for (std::size_t i = 0; i < all.size(); i += step) {
          if (stop.stop_requested()) throw Error(ErrorCode::kInterrupted, "bench was interrupted");
          logits = model.forward(all.subspan(i, step), cache);
          progress.update(done += step, total, result.test);
        }
        const double seconds = seconds_since(begin);
        if (run > 0) result.tokens_per_second.push_back(static_cast<double>(count) / seconds);
        check.add(result.test, logits);
      }
      results.push_back(std::move(result));
    };
    test("pp", prompt_, /*one_by_one=*/false);
    test("tg", generate_, /*one_by_one=*/true);
  }

  static double bandwidth_of(const std::vector<Setting>& settings, int threads) {
    for (const Setting& s : settings) {
      if (s.threads == threads) return s.bytes_per_second;
    }
    return 0;
  }

  void print(Console& console, const std::vector<Measurement>& results,
             const std::vector<Setting>& settings, std::uint64_t peak,
             const std::string& kernels) const {
    console.print(
        "| model | size | kernels | threads | test | tokens/s | GB/s | % of bandwidth |\n"
        "|---|---:|---|---:|---|---:|---:|---:|\n");
    for (const Measurement& m : results) {
      std::string read = "| |";
      if (m.bytes_per_token != 0) {
        read = fmt::format("{:.2f} | {:.1f} |", m.bytes_per_second() / 1e9,
                           100 * m.bytes_per_second() / bandwidth_of(settings, m.threads));
      }
      console.print(fmt::format("| {} | {} | {} | {} | {} | {:.2f} ± {:.2f} | {}\n", runtime_.model,
                                bytes_text(model_bytes_), kernels, m.threads, m.test, m.mean(),
                                m.deviation(), read));
    }
    std::string loaded;
    std::string measured;
    for (const Setting& s : settings) {
      const char* separator = measured.empty() ? "" : ", ";
      const std::string with =
          s.threads == 1 ? "with 1 thread" : fmt::format("with {} threads", s.threads);
      loaded += fmt::format("{}{:.2f} s {}", separator, s.load_seconds, with);
      measured += fmt::format("{}{:.2f} GB/s {}", separator, s.bytes_per_second / 1e9, with);
    }
    console.print(fmt::format("\nloaded in {}\nmemory reads at {}; peak memory {}\n", loaded,
                              measured, bytes_text(peak)));
  }

  void print_json(Console& console, const std::vector<Measurement>& results,
                  const std::vector<Setting>& settings, std::uint64_t peak,
                  const std::string& kernels) const {
    Json object = {{"model", runtime_.model},
                   {"file_bytes", model_bytes_},
                   {"kernels", kernels},
                   {"activations", word_of(runtime_.activations)},
                   {"kv_type", word_of(runtime_.kv)},
                   {"kv_bytes", kv_bytes_},
                   {"repetitions", repetitions_},
                   {"peak_bytes", peak},
                   {"results", Json::array()},
                   {"load", Json::array()},
                   {"bandwidth", Json::array()}};
    for (const Measurement& m : results) {
      Json entry = {{"test", m.test},
                    {"threads", m.threads},
                    {"tokens_per_second", m.mean()},
                    {"deviation", m.deviation()},
                    {"samples", m.tokens_per_second}};
      if (m.bytes_per_token != 0) {
        entry["bytes_per_token"] = m.bytes_per_token;
        entry["bytes_per_second"] = m.bytes_per_second();
        entry["bandwidth_share"] = m.bytes_per_second() / bandwidth_of(settings, m.threads);
      }
      object["results"].push_back(entry);
    }
    for (const Setting& s : settings) {
      object["load"].push_back({{"threads", s.threads}, {"load_seconds", s.load_seconds}});
      object["bandwidth"].push_back(
          {{"threads", s.threads}, {"bytes_per_second", s.bytes_per_second}});
    }
    if (console.json()) {
      object["model_info"] = model_record(runtime_.model, arch::Checkpoint::open(runtime_.model));
    }
    object["program"] = arch::program_name();
    console.print_json(object);
  }

  RuntimeFlags runtime_;
  std::int64_t prompt_ = 512;
  std::int64_t generate_ = 128;
  std::vector<int> threads_;
  std::int64_t repetitions_ = 5;
  std::string output_ = "md";
  std::uint64_t model_bytes_ = 0;
  std::uint64_t kv_bytes_ = 0;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(bench, onebit::cli::Bench);
