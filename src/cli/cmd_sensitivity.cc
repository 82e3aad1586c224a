// `onebit sensitivity`: what each matrix of a model costs when it alone is quantised.
#include <algorithm>
#include <chrono>
#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <torch/utils.h>

#include "arch/packed_writer.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/log.h"
#include "base/sha256.h"
#include "cli/command_table.h"
#include "cli/gnuplot.h"
#include "cli/method_flags.h"
#include "cli/model_record.h"
#include "cli/number_text.h"
#include "cli/part_file.h"
#include "cli/sensitivity_report.h"
#include "cli/torch_errors.h"
#include "eval/perplexity.h"
#include "eval/windows.h"
#include "quant/matrix_names.h"
#include "quant/quantize_model.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kNoMemory =
    "not enough memory; a smaller -c or fewer --max-windows need less";

constexpr const char* kNotes =
    "For each matrix: KL, the mean over the predicted tokens of KL(full precision || model in\n"
    "which this matrix alone is quantised), in nats, and its standard error; PPL, that model's\n"
    "perplexity; rel. error |W - W'|^2 / |W|^2; out. error |Y - Y'|^2 / |Y|^2 of what the matrix\n"
    "gives on this text; stored bits per weight, scales included; the bytes saved against what\n"
    "MODEL stores. Then sums by role and by layer: they estimate what quantising all of them\n"
    "costs only as far as the costs of matrices add up.\n"
    "\n"
    "Windows are those of `onebit perplexity --protocol paper`, and so are the rows of a file.\n"
    "--method takes NAME or NAME:BITS, more of them by commas or by repeating it; every matrix\n"
    "is measured by each. --matrices takes names as shells match them: 'blk.3.*', '*.ffn_down'.\n"
    "\n"
    "With -o FILE what is measured so far is in FILE.part: broken off, the same command goes on\n"
    "from there. At most 4 GiB of the model's blocks are in memory, in f32 (the others are read\n"
    "anew), and at most 1 GiB of the full-precision logits.\n";

enum class Order : std::uint8_t { kKl, kLayer };

}  // namespace
}  // namespace onebit::cli

namespace onebit {

template <>
struct Words<cli::Order> {
  static constexpr Word<cli::Order> kAll[] = {{cli::Order::kKl, "kl"},
                                              {cli::Order::kLayer, "layer"}};
};

}  // namespace onebit

namespace onebit::cli {
namespace {

/// Methods that need nothing but the matrix.
bool is_measurable(const quant::Method& method) {
  return method.calibrates != quant::Calibrates::kAlways;
}

class SensitivityCommand final : public Command {
 public:
  void define(CLI::App& app) override {
    define_model(app, source_);
    define_path(app, "-f,--file", file_, "the text to predict")->required();
    define_number(app, "-c,--ctx-size", window_, "tokens of a window", std::int64_t{2}, kMaxCount);
    define_number(app, "--max-windows", max_windows_, "the first so many windows; 0: all",
                  std::int64_t{0}, kMaxCount);
    define_choice(app, "--rows", rows_,
                  "what a row of the file is (auto: by the ending .raw or .jsonl, else the whole)");
    app.add_option("--method", methods_,
                   fmt::format("how matrices are quantised: {}",
                               fmt::join(method_names(/*calibrating=*/false), ", ")))
        ->delimiter(',')
        ->allow_extra_args(false)
        ->check(parses([](const std::string& word) { quant::parse_method(word, is_measurable); }))
        ->type_name("NAME[:BITS]")
        ->default_str(methods_.front());
    method_flags_.define(app);  // none that only calibration has
    define_choice(app, "--scales", scales_, "type in which scales are stored", {"f32", "f16"});
    app.add_option("--matrices", patterns_, "only matrices of such names (repeatable)")
        ->allow_extra_args(false)
        ->check(not_empty("a pattern"))
        ->type_name("PATTERN");
    define_choice(app, "--sort", order_, "the largest divergence first, or in the model's order");
    define_path(app, "-o,--output", out_, "a JSON file of all that is measured");
    define_path(app, "--heatmap", heat_map_, "a picture, layers by roles: .svg or .png");
    app.add_flag("--restart", restart_, "measure anew what FILE.part has");
    define_device(app, device_);
    define_threads(app, threads_);
    app.footer(kNotes);
  }

  void run(Context& context) override {
    require_cpu(device_);
    if (restart_ && out_.empty()) throw UsageError("--restart: expected -o FILE beside it");
    require_outputs();
    if (!out_.empty() || !heat_map_.empty()) context.console.outlive_stdout();
    const std::string text = read_file(file_);
    const arch::Checkpoint source = arch::Checkpoint::open(source_);
    quant::require_full_precision(source);
    if (threads_ > 0) at::set_num_threads(threads_);

    SensitivityReport report;
    report.config = &source.config();
    report.settings = settings();
    const std::vector<text::TokenId> tokens = windows_of(source, text);
    std::optional<PartFile> part;
    if (!out_.empty()) part.emplace(out_, header(source, text, tokens, report.settings), restart_);
    const auto begin = std::chrono::steady_clock::now();
    const quant::SensitivityBaseline baseline = measure(context, source, tokens, report, part);
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
    show(context, source, report, baseline, seconds.count());
    if (part) part->remove();
  }

 private:
  /// Before minutes of work: what would fail at its end.
  void require_outputs() const {
    const std::string inputs[] = {file_, out_};
    if (!heat_map_.empty()) require_other_files(inputs, heat_map_);
    if (!out_.empty()) require_other_files(std::span(inputs).first(1), out_);
    if (!heat_map_.empty()) {
      picture_terminal(heat_map_);
      require_gnuplot();
      require_writable(heat_map_);
    }
    if (out_.empty()) return;
    require_other_file(source_, out_);
    require_writable(out_);
  }

  std::vector<quant::Setting> settings() const {
    std::vector<quant::MethodChoice> choices;
    std::set<std::string_view> names;
    bool others_group = false;
    for (const std::string& word : methods_) {
      choices.push_back(quant::parse_method(word));
      const quant::Method& method = *choices.back().method;
      names.insert(method.name);
      others_group = others_group || (method.name != "onebit" && has_groups(method));
    }
    std::vector<quant::Setting> settings;
    for (const quant::MethodChoice& choice : choices) {
      quant::Setting setting{choice.method,
                             method_flags_.options(*choice.method, choice.bits, others_group)};
      setting.options.scales = formats::parse_dtype(scales_);
      const bool known = std::any_of(settings.begin(), settings.end(), [&](const auto& other) {
        return to_json(other) == to_json(setting);
      });
      if (known) {
        throw UsageError(fmt::format("--method: found {}:{} twice, expected each once",
                                     choice.method->name, choice.bits));
      }
      settings.push_back(setting);
    }
    method_flags_.require_used(names);
    return settings;
  }

  /// The ids of whole windows.
  std::vector<text::TokenId> windows_of(const arch::Checkpoint& source,
                                        std::string_view text) const {
    try {
      eval::require_context(window_, source.config().context, "the model");
      eval::ScoredText scored =
          eval::scored_text(source.tokenizer(), eval::join_rows(file_, text, rows_),
                            {.window = window_, .max_windows = max_windows_});
      scored.tokens.resize(scored.windows.size() * static_cast<std::size_t>(window_));
      return std::move(scored.tokens);
    } catch (const Error& error) {
      const std::string_view hint =
          error.code() == ErrorCode::kInvalidArgument ? " (-c gives a window's tokens)" : "";
      throw Error(error.code(), fmt::format("{} on {}: {}{}", source_, file_, error.what(), hint));
    }
  }

  /// All that a row depends on.
  Json header(const arch::Checkpoint& source, std::string_view text,
              const std::vector<text::TokenId>& tokens,
              const std::vector<quant::Setting>& settings) const {
    Sha256 digest;
    digest.update(std::as_bytes(std::span(text)));
    Json list = Json::array();
    for (const quant::Setting& setting : settings) list.push_back(to_json(setting));
    return {{"program", arch::program_name()},
            {"model_identity", source.identity()},
            {"file_sha256", digest.hex()},
            {"rows", word_of(eval::rows_of(file_, rows_))},
            {"window", window_},
            {"windows", std::ssize(tokens) / window_},
            {"settings", std::move(list)}};
  }

  /// The matrices that the command line names.
  std::set<arch::TensorId> chosen(const arch::Checkpoint& source) const {
    const std::vector<std::string> all = {"*"};
    std::set<arch::TensorId> ids;
    for (const auto& [id, index] :
         quant::match_matrices(source, patterns_.empty() ? all : patterns_, "--matrices")) {
      ids.insert(id);
    }
    return ids;
  }

  quant::SensitivityBaseline measure(Context& context, const arch::Checkpoint& source,
                                     const std::vector<text::TokenId>& tokens,
                                     SensitivityReport& report, std::optional<PartFile>& part) {
    const std::set<arch::TensorId> ids = chosen(source);
    std::set<std::pair<arch::TensorId, std::size_t>> done;
    if (part) take_kept(*part, ids, report, done);
    quant::SensitivityOptions options;
    options.settings = report.settings;
    options.threads = threads_;
    options.wanted = [&](const arch::TensorId& id, std::size_t setting) {
      return ids.contains(id) && !done.contains({id, setting});
    };
    quant::SensitivityBaseline baseline;
    const auto progress = context.console.progress("sensitivity", "blocks");
    try {
      with_torch_errors(kNoMemory, [&] {
        quant::measure_sensitivity(
            source, {tokens, window_}, options,
            [&](const quant::SensitivityBaseline& found) { baseline = found; },
            [&](const quant::Sensitivity& row) {
              if (part) part->add(report.to_json(row));
              report.rows.push_back(row);
            },
            *progress, context.interrupts.token());
      });
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kInterrupted) throw;
      throw Error(
          error.code(),
          part && !report.rows.empty()
              ? fmt::format("{}; what is done is in {}, the same command {}goes on", error.what(),
                            part->path().string(), restart_ ? "without --restart " : "")
              : error.what());
    }
    return baseline;
  }

  /// What an earlier process has measured.
  static void take_kept(const PartFile& part, const std::set<arch::TensorId>& ids,
                        SensitivityReport& report,
                        std::set<std::pair<arch::TensorId, std::size_t>>& done) {
    for (const Json& line : part.kept()) {
      try {
        quant::Sensitivity row = report.from_json(line);
        const bool first = done.emplace(row.matrix, row.setting).second;
        if (first && ids.contains(row.matrix)) report.rows.push_back(std::move(row));
      } catch (const Error& error) {
        throw Error(error.code(), fmt::format("{}: {}; --restart begins anew", part.path().string(),
                                              error.what()));
      }
    }
    if (report.rows.empty()) return;
    log(LogLevel::kInfo, fmt::format("{}: {} measurements are there already", part.path().string(),
                                     report.rows.size()));
  }

  void show(Context& context, const arch::Checkpoint& source, SensitivityReport& report,
            const quant::SensitivityBaseline& baseline, double seconds) const {
    Console& console = context.console;
    Json list = Json::array();
    for (const quant::Setting& setting : report.settings) list.push_back(to_json(setting));
    Json object = {{"program", arch::program_name()},
                   {"command", context.command},
                   {"model", source_},
                   {"file", file_},
                   {"window", window_},
                   {"windows", baseline.positions / (window_ - 1)},
                   {"positions", baseline.positions},
                   {"settings", std::move(list)},
                   {"baseline", {{"ppl", baseline.ppl}, {"ppl_stderr", baseline.ppl_stderr}}}};
    if (!out_.empty() || console.json()) object["model_info"] = model_record(source_, source);
    report.sort(/*by_layer=*/true);
    Json rows = Json::array();
    for (const quant::Sensitivity& row : report.rows) rows.push_back(report.to_json(row));
    object["rows"] = std::move(rows);
    object.update(report.totals());
    object["seconds"] = seconds;

    if (!out_.empty()) {
      write_file(out_, object.dump(1, ' ', false, Json::error_handler_t::replace) + '\n');
    }
    report.sort(order_ == Order::kLayer);
    console.print(report.table());
    console.print(fmt::format(
        "\nfull precision: PPL {:.4f} +/- {:.4f}; {} predictions, {} windows of {}; {} matrices in "
        "{:.1f} s\n",
        baseline.ppl, baseline.ppl_stderr, grouped(baseline.positions),
        baseline.positions / (window_ - 1), window_, report.rows.size(), seconds));
    if (!heat_map_.empty()) report.draw_heat_map(heat_map_);
    for (const std::string& path : {out_, heat_map_}) {
      if (!path.empty()) console.print(fmt::format("wrote {}\n", path));
    }
    console.print_json(object);
  }

  std::string source_;
  std::string file_;
  std::int64_t window_ = 512;
  std::int64_t max_windows_ = 4;
  eval::Rows rows_ = eval::Rows::kAuto;
  std::vector<std::string> methods_ = {"onebit"};
  MethodFlags method_flags_;
  std::string scales_ = "f16";
  std::vector<std::string> patterns_;
  Order order_ = Order::kKl;
  std::string out_;
  std::string heat_map_;
  bool restart_ = false;
  std::string device_ = "cpu";
  int threads_ = 0;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(sensitivity, onebit::cli::SensitivityCommand);
