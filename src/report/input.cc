#include "report/input.h"

#include <charconv>
#include <fmt/format.h>
#include <system_error>

#include "base/atomic_file.h"
#include "base/error.h"
#include "report/markup.h"

namespace onebit::report {
namespace {

constexpr const char* kKinds =
    "what `onebit eval`, `perplexity --json`, `bench -o json`, `sensitivity` or `quantize --json` "
    "writes, or lm-eval's results";

[[noreturn]] void fail_unknown(const std::string& file, const std::string& found) {
  throw Error(ErrorCode::kCorrupt, fmt::format("{}: found {}, expected {}", file, found, kKinds));
}

/// "an object of alpha, beta, …"
std::string described(const Json& value) {
  if (!value.is_object()) return fmt::format("an {}", value.type_name());
  if (value.empty()) return "an empty object";
  constexpr std::size_t kShown = 4;
  constexpr std::size_t kKey = 30;
  std::string names;
  std::size_t count = 0;
  for (const auto& member : value.items()) {
    if (count++ == kShown) {
      names += ", …";
      break;
    }
    names +=
        fmt::format("{}{}", names.empty() ? "" : ", ", shortened(clean_text(member.key()), kKey));
  }
  return fmt::format("an object with the members {}", names);
}

/// Files of one object a line are not results, but lie beside them.
[[noreturn]] void fail_not_json(std::string_view text, const std::string& file) {
  const Json line =
      Json::parse(text.substr(0, text.find('\n')), nullptr, /*allow_exceptions=*/false);
  if (line.is_object() && line.contains("header")) {
    throw Error(
        ErrorCode::kCorrupt,
        fmt::format("{}: found samples, expected the results beside them, which name them", file));
  }
  if (line.is_object() && line.contains("step")) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("{}: found a run's metrics, expected the run's folder", file));
  }
  fail_unknown(file, text.empty() ? "an empty file" : "text that is not JSON");
}

}  // namespace

Record parse_record(std::string_view text, const std::string& file) {
  const Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (value.is_discarded()) fail_not_json(text, file);
  if (!value.is_object()) fail_unknown(file, described(value));
  const Fields fields(value, file);
  const auto has = [&](const char* key, Json::value_t type) {
    const Json* found = fields.find(key);
    return found != nullptr && found->type() == type;
  };
  Origin origin{.file = file,
                .program = fields.text_or("program", ""),
                .command = fields.text_or("command", "")};
  constexpr double kLastDate = 0x1p37;  // far beyond use
  if (const auto date = fields.maybe_number("date"); date && *date >= 0 && *date < kLastDate) {
    origin.date = static_cast<std::int64_t>(*date);
  }
  using Type = Json::value_t;
  if (has("results", Type::object)) return parse_eval(fields, origin);
  if (has("results", Type::array)) return parse_bench(fields, origin);
  if (has("rows", Type::array)) return parse_sensitivity(fields, origin);
  if (has("matrices", Type::array) && has("totals", Type::object)) {
    return parse_quantize(fields, origin);
  }
  if (fields.find("ppl") != nullptr) return parse_perplexity(fields, origin);
  fail_unknown(file, described(value));
}

Record read_input(const std::filesystem::path& path) {
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) return read_run(path);
  Record record = parse_record(read_file(path), path.string());
  if (auto* eval = std::get_if<EvalRecord>(&record); eval && !eval->samples_file.empty()) {
    // Beside the results, wherever both have been moved to.
    const std::filesystem::path named = eval->samples_file;
    for (const std::filesystem::path& samples : {path.parent_path() / named.filename(), named}) {
      if (!std::filesystem::exists(samples, ignored)) continue;
      eval->samples = parse_samples(read_file(samples), samples.string());
      break;
    }
  }
  return record;
}

ModelInfo parse_model(const Fields& fields) {
  ModelInfo model;
  const auto info = fields.maybe_object("model_info");
  if (!info) {
    model.path = fields.text_or("model", "");
    model.name = std::filesystem::path(model.path).stem().string();
    return model;
  }
  model.name = info->text_or("name", "");
  model.path = info->text_or("path", "");
  model.sha256 = info->text_or("sha256", "");
  model.architecture = info->text_or("architecture", "");
  model.method = info->text_or("method", "");
  model.form = info->text_or("form", "");
  model.source_name = info->text_or("source_name", "");
  model.group_size = info->maybe_count("group_size");
  model.parameters = info->maybe_count("parameters");
  model.file_bytes = info->maybe_count("file_bytes");
  model.file_bits = info->maybe_number("file_bits_per_weight");
  model.matrix_bits = info->maybe_number("matrix_bits_per_weight");
  return model;
}

std::pair<std::int64_t, std::string> layer_and_role(const std::string& matrix) {
  constexpr std::string_view kPrefix = "blk.";
  if (matrix.starts_with(kPrefix)) {
    std::int64_t layer = 0;
    const char* const end = matrix.data() + matrix.size();
    const auto [stop, error] = std::from_chars(matrix.data() + kPrefix.size(), end, layer);
    constexpr std::int64_t kMostLayers = 1 << 20;
    if (error == std::errc() && stop != end && *stop == '.' && layer >= 0 && layer < kMostLayers) {
      return {layer, std::string(stop + 1, end)};
    }
  }
  return {-1, matrix};
}

std::string number_word(double value) { return fmt::format("{:.10g}", value); }

void add_setting(const Fields& fields, const char* key, const char* name, Settings& settings) {
  const Json* found = fields.find(key);
  if (found == nullptr) return;
  if (found->is_string()) {
    settings[name] = found->get<std::string>();
  } else if (found->is_boolean()) {
    settings[name] = found->get<bool>() ? "yes" : "no";
  } else if (found->is_number()) {
    settings[name] = number_word(found->get<double>());
  } else {
    fields.fail(key, found, "a word or a number");
  }
}

}  // namespace onebit::report
