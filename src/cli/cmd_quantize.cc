// `onebit quantize`: a full-precision model through a method that needs no end-to-end training.
#include <chrono>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <torch/utils.h>

#include "arch/packed_format.h"
#include "base/atomic_file.h"
#include "base/log.h"
#include "base/sha256.h"
#include "cli/budget_plan.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/method_flags.h"
#include "cli/number_text.h"
#include "cli/pack_flags.h"
#include "cli/sensitivity_report.h"
#include "cli/torch_errors.h"
#include "eval/perplexity.h"
#include "eval/windows.h"
#include "quant/block_parts.h"
#include "quant/matrix_names.h"
#include "quant/quantize_model.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNotes =
    "Prints a row a matrix: name, shape, relative error |W - W'|^2 / |W|^2 in Frobenius\n"
    "norms, stored bits per weight, scales included; then totals over the matrices and over\n"
    "the whole file. --json: matrices (name, shape, relative_error, bits_per_weight), totals.\n"
    "The form paper is that of the publication; the others need no LayerNorm at run time.\n"
    "--group-size alone chooses the form foldable, which is the only one to have groups.\n";

constexpr const char* kNoMemory =
    "not enough memory; fewer --samples, a smaller --length or --batch need less";

class Quantize final : public Command {
 public:
  void define(CLI::App& app) override {
    app_ = &app;
    define_model(app, source_);
    define_path(app, "-o,--output", out_, "the packed GGUF to write")->required();
    define_choice(app, "--method", method_, "how matrices are quantised", method_names());
    define_number(app, "--bits", bits_, "of a weight, beside its scales; 0: the method's own", 0,
                  16);
    method_flags_.define(app);
    method_flags_.define_calibrated(app);
    app.add_option("--override", overrides_,
                   "another method for matrices of such names (repeatable; the first match wins)")
        ->allow_extra_args(false)
        ->check(parses([](const std::string& word) { quant::parse_pattern_choice(word); }))
        ->type_name("PATTERN=METHOD[:BITS]");
    define_number(
        app, "--budget", budget_,
        "bytes of the whole file: each matrix by one of the settings of --sensitivity, or "
        "of --method's bits measured on --calib, that all together diverge the least",
        std::int64_t{1}, kMaxCount);
    define_path(app, "--sensitivity", sensitivity_, "the file of `onebit sensitivity -o`");
    define_path(app, "--calib", calib_, "calibration text, for methods that need one");
    define_number(app, "--samples", samples_, "windows of it that are read", std::int64_t{1},
                  kMaxCount);
    define_number(app, "--length", length_, "tokens of a window", std::int64_t{2}, kMaxCount);
    define_choice(app, "--rows", rows_,
                  "what a row of the text is (auto: by the ending .raw or .jsonl, else the whole)");
    define_seed(app, seed_)->description("of the choice of windows; -1: another every time");
    app.add_flag("--restart", restart_, "calibrate anew what OUT.part has of an earlier run");
    define_pack(app, pack_);
    define_device(app, device_);
    define_threads(app, threads_);
    app.footer(kNotes);
  }

  void run(Context& context) override {
    require_cpu(device_);
    require_other_file(source_, out_);
    require_other_files(std::vector{calib_, sensitivity_}, out_);
    const arch::Checkpoint source = arch::Checkpoint::open(source_);
    seed_used_ = actual_seed(seed_);
    options_.method = &quant::find_method(method_);
    take_methods();
    require_budget_usage();
    require_used_flags();
    require_head(app_->count("--head") > 0, source.config(), pack_);
    options_.embedding = formats::parse_dtype(pack_.embedding);
    options_.head = formats::parse_dtype(pack_.head);
    options_.threads = threads_;
    if (threads_ > 0) at::set_num_threads(threads_);
    if (budget_ > 0 && !quant::keeps_blocks(options_)) take_measured_samples();
    const std::vector<text::TokenId> tokens = calibration_tokens(source);
    if (!tokens.empty()) options_.calibration = quant::TokenWindows{tokens, length_};
    options_.identity = identity(tokens).dump();
    const std::filesystem::path parts = quant::parts_folder(out_);
    if (budget_ > 0) {
      if (quant::keeps_blocks(options_)) {  // what is in the way is said before hours of measuring
        if (restart_) quant::BlockParts::discard(parts);
        quant::require_parts(source, out_, options_);
      }
      options_.overrides = plan_budget({static_cast<std::uint64_t>(budget_), out_},
                                       measurements(context, source), source, options_);
      if (restart_ && !quant::keeps_blocks(options_)) {
        throw UsageError(
            fmt::format("--restart: found {}, whose settings calibrate nothing", sensitivity_));
      }
    }
    options_.plan = overrides_json().dump();
    if (restart_) quant::BlockParts::discard(parts);

    Console& console = context.console;
    console.outlive_stdout();
    if (options_.method->name == "onebit" &&
        options_.method_options.svid.init == quant::Init::kCopy) {
      console.message(LogLevel::kWarning,
                      "--init copy: all scales are 1, which only training makes a model of");
    }
    Json matrices = Json::array();
    const auto begin = std::chrono::steady_clock::now();
    const auto progress = console.progress("quantize", "tensors");
    const quant::QuantizeTotals totals = quantize(
        source,
        [&](const quant::MatrixReport& report) {
          if (matrices.empty()) {
            console.print(row("matrix", "shape", "rel. error", "bits/weight"));
          }
          console.print(row(report.name, formats::to_string(report.shape),
                            fmt::format("{:.6f}", report.relative_error),
                            fmt::format("{:.4f}", report.bits_per_weight())));
          matrices.push_back({{"name", report.name},
                              {"shape", report.shape},
                              {"relative_error", report.relative_error},
                              {"bits_per_weight", report.bits_per_weight()}});
        },
        *progress, context.interrupts.token());
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    print_totals(console, totals, seconds.count());
    print_json(console, totals, std::move(matrices), seconds.count());
  }

 private:
  /// The methods that the command line names, with their settings.
  void take_methods() {
    bool others_group = budget_ > 0;  // it chooses among rtn's settings too
    const auto see = [&](const quant::Method& method) {
      others_group = others_group || (method.name != "onebit" && has_groups(method));
    };
    see(*options_.method);
    std::vector<quant::PatternChoice> choices;
    for (const std::string& word : overrides_) {
      choices.push_back(quant::parse_pattern_choice(word));
      see(*choices.back().choice.method);
    }
    try {
      options_.method_options = method_options(*options_.method, bits_, others_group);
    } catch (const Error& error) {
      throw UsageError(error.what());
    }
    for (const auto& [pattern, choice] : choices) {
      try {
        options_.overrides.push_back(
            {pattern, choice.method, method_options(*choice.method, choice.bits, others_group)});
      } catch (const Error& error) {
        throw UsageError(fmt::format("--override '{}': {}", pattern, error.what()));
      }
    }
  }

  quant::MethodOptions method_options(const quant::Method& method, int bits,
                                      bool others_group) const {
    quant::MethodOptions options =
        method_flags_.options(method, quant::require_bits(method, bits), others_group);
    options.scales = formats::parse_dtype(pack_.scales);
    return options;
  }

  void refuse(std::initializer_list<const char*> flags, std::string_view why) const {
    for (const char* flag : flags) {
      if (app_->count(flag) > 0) throw UsageError(fmt::format("{}: {}", flag, why));
    }
  }

  void require_used_flags() const {
    if (!sensitivity_.empty()) {
      constexpr std::string_view kWhy =
          "found --sensitivity beside it, whose file names methods and their settings";
      refuse({"--method", "--calib"}, kWhy);
      method_flags_.require_none(kWhy);
    }
    if (calib_.empty()) {
      refuse({"--samples", "--length", "--rows", "--damp"}, "expected --calib FILE beside it");
    }
    if (budget_ > 0) refuse({"--bits"}, "found --budget beside it, which chooses them");
    if (!sensitivity_.empty()) return;
    if (!quant::keeps_blocks(options_)) {
      const std::string why =
          fmt::format("found with method {}, expected one that calibrates: {}",
                      options_.method->name, fmt::join(calibrating_names(), ", "));
      if (budget_ == 0) refuse({"--calib"}, why);
      refuse({"--restart"}, why);
    }
    std::set<std::string_view> methods = {options_.method->name};
    for (const quant::Override& o : options_.overrides) methods.insert(o.method->name);
    if (budget_ > 0) {
      for (const quant::Setting& setting : settings_of_budget()) {
        methods.insert(setting.method->name);
      }
    }
    method_flags_.require_used(methods);
  }

  static std::vector<std::string_view> calibrating_names() {
    std::vector<std::string_view> names;
    for (const quant::Method* method : quant::all_methods()) {
      if (method->calibrates != quant::Calibrates::kNo) names.push_back(method->name);
    }
    return names;
  }

  /// Windows that a measurement reads, where nothing else reads any.
  void take_measured_samples() {
    const std::int64_t read = (kMeasuredTokens + length_ - 1) / length_;
    if (app_->count("--samples") == 0) {
      samples_ = read;
    } else if (samples_ > read) {
      throw UsageError(
          fmt::format("--samples: found {}, expected at most {}, the windows of {} "
                      "tokens that a measurement for --budget reads",
                      samples_, read, length_));
    }
  }

  void require_budget_usage() const {
    if (budget_ > 0 && options_.method->trains_blocks) {
      throw UsageError(
          fmt::format("--budget: found method {}, which trains whole blocks, expected "
                      "one that takes matrices by themselves",
                      options_.method->name));
    }
    if (budget_ == 0 && !sensitivity_.empty()) {
      throw UsageError("--sensitivity: expected --budget BYTES beside it");
    }
    if (budget_ > 0 && sensitivity_.empty() && calib_.empty()) {
      throw UsageError(
          "--budget: expected --sensitivity FILE beside it, or --calib FILE to measure on");
    }
    if (budget_ > 0 && !overrides_.empty()) {
      throw UsageError("--override: found --budget beside it, expected one of them");
    }
  }

  /// How a run that was stopped goes on.
  std::string same_command() const {
    std::vector<std::string> changes;
    if (restart_) changes.emplace_back("without --restart");
    if (seed_ < 0) changes.push_back(fmt::format("with --seed {}", seed_used_));
    return fmt::format("the same command{}{}", changes.empty() ? "" : " ",
                       fmt::join(changes, " and "));
  }

  /// quantize_model(); when stopped says what stays.
  quant::QuantizeTotals quantize(const arch::Checkpoint& source, const quant::OnMatrix& on_matrix,
                                 Progress& progress, const std::stop_token& stop) const {
    const std::filesystem::path parts = quant::parts_folder(out_);
    try {
      return with_torch_errors(kNoMemory, [&] {
        return quant::quantize_model(source, out_, options_, on_matrix, progress, stop);
      });
    } catch (const Error& error) {
      std::error_code ignored;
      const bool kept = quant::keeps_blocks(options_) && std::filesystem::exists(parts, ignored);
      if (error.code() != ErrorCode::kInterrupted || !kept) throw;
      throw Error(error.code(),
                  fmt::format("interrupted; blocks that are done are in {}, {} goes on",
                              parts.string(), same_command()));
    }
  }

  static Json method_json(const quant::Method& method, const quant::MethodOptions& options) {
    Json json = to_json(quant::Setting{&method, options});
    json.update(calibration_json(options));
    return json;
  }

  /// All that decides what calibrated blocks become, but for the model and overrides_json().
  Json identity(const std::vector<text::TokenId>& tokens) const {
    Sha256 digest;
    digest.update(std::as_bytes(std::span(tokens)));
    return {{"method", method_json(*options_.method, options_.method_options)},
            {"budget", budget_},
            {"calibration", digest.hex()},
            {"length", length_}};
  }

  Json overrides_json() const {
    Json overrides = Json::array();
    for (const quant::Override& o : options_.overrides) {
      overrides.push_back({{"pattern", o.pattern}, {"method", method_json(*o.method, o.options)}});
    }
    return overrides;
  }

  std::vector<quant::Setting> settings_of_budget() const {
    return budget_settings(
        *options_.method, options_.method_options,
        method_options(quant::find_method("rtn"), kMeasuredBits.front(), /*others_group=*/true));
  }

  Measurements measurements(Context& context, const arch::Checkpoint& source) const {
    if (!sensitivity_.empty()) {
      return read_measurements(sensitivity_, source, options_.method_options.scales);
    }
    const std::vector<quant::Setting> settings = settings_of_budget();
    require_budget({static_cast<std::uint64_t>(budget_), out_}, settings, source, options_);
    const auto progress = context.console.progress("measure", "blocks");
    return with_torch_errors(kNoMemory, [&] {
      return measure(source, *options_.calibration, settings, threads_, *progress,
                     context.interrupts.token());
    });
  }

  /// Windows of the calibration text, drawn from all that there are.
  std::vector<text::TokenId> calibration_tokens(const arch::Checkpoint& source) const {
    if (calib_.empty()) return {};
    const std::string text = eval::join_rows(calib_, read_file(calib_), rows_);
    try {
      eval::require_context(length_, source.config().context, "the model");
      const eval::ScoredText scored =
          eval::scored_text(source.tokenizer(), text, {.window = length_});
      const std::int64_t found = std::ssize(scored.windows);
      if (found < samples_) {
        throw Error(ErrorCode::kInvalidArgument,
                    fmt::format("found {} windows of {} tokens, expected {} (--samples)", found,
                                length_, samples_));
      }
      return quant::draw_windows({scored.tokens, length_}, samples_, seed_used_);
    } catch (const Error& error) {
      const std::string_view hint =
          error.code() == ErrorCode::kInvalidArgument ? " (--length gives a window's tokens)" : "";
      throw Error(error.code(), fmt::format("--calib {}: {}{}", calib_, error.what(), hint));
    }
  }

  static std::string row(std::string_view name, std::string_view shape, std::string_view error,
                         std::string_view bits) {
    return fmt::format("{:<20} {:<16} {:>12} {:>12}\n", name, shape, error, bits);
  }

  static double bits(std::uint64_t bytes, std::int64_t weights) {
    return 8.0 * static_cast<double>(bytes) / static_cast<double>(weights);
  }

  void print_totals(Console& console, const quant::QuantizeTotals& totals, double seconds) const {
    console.print(fmt::format(
        "\n{} matrices: {} weights, {}, relative error {:.6f}, {:.4f} bits per weight\n",
        totals.matrices, grouped(totals.weights), bytes_text(totals.matrix_bytes),
        totals.relative_error, bits(totals.matrix_bytes, totals.weights)));
    console.print(fmt::format("whole file: {} parameters, {}, {:.4f} bits per weight\n",
                              grouped(totals.parameters), bytes_text(totals.file_bytes),
                              bits(totals.file_bytes, totals.parameters)));
    console.print(fmt::format("wrote {} in {:.1f} s\n", out_, seconds));
  }

  /// What was calibrated on and how; null: nothing.
  Json calibration_record() const {
    if (!options_.calibration) return nullptr;
    Json record = {
        {"file", calib_}, {"samples", samples_}, {"length", length_}, {"seed", seed_used_}};
    record.update(own_calibration(*options_.method, options_.method_options));
    return record;
  }

  void print_json(Console& console, const quant::QuantizeTotals& totals, Json matrices,
                  double seconds) const {
    Json object = {{"model", source_},
                   {"output", out_},
                   {"method", totals.method},
                   {"bits", budget_ > 0 ? Json() : Json(options_.method_options.bits)},
                   {"overrides", overrides_}};
    if (budget_ > 0) {
      object["budget"] = budget_;
      object["sensitivity"] = sensitivity_.empty() ? Json() : Json(sensitivity_);
    } else {
      object.update(own_settings(*options_.method, options_.method_options));
    }
    object.update({{"calibration", calibration_record()},
                   {"matrices", std::move(matrices)},
                   {"totals",
                    {{"matrices", totals.matrices},
                     {"weights", totals.weights},
                     {"relative_error", totals.relative_error},
                     {"bits_per_weight", bits(totals.matrix_bytes, totals.weights)},
                     {"parameters", totals.parameters},
                     {"file_bytes", totals.file_bytes},
                     {"file_bits_per_weight", bits(totals.file_bytes, totals.parameters)}}},
                   {"seconds", seconds}});
    console.print_json(object);
  }

  CLI::App* app_ = nullptr;
  std::string source_;
  std::string out_;
  std::string method_ = "onebit";
  int bits_ = 0;
  MethodFlags method_flags_;
  std::vector<std::string> overrides_;
  quant::QuantizeOptions options_;
  std::int64_t budget_ = 0;
  std::string sensitivity_;
  std::string calib_;
  std::int64_t samples_ = 128;
  std::int64_t length_ = 2048;
  eval::Rows rows_ = eval::Rows::kAuto;
  std::int64_t seed_ = 0;
  std::uint64_t seed_used_ = 0;
  bool restart_ = false;
  PackFlags pack_;
  std::string device_ = "cpu";
  int threads_ = 0;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(quantize, onebit::cli::Quantize);
