#include "cli/sensitivity_report.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "cli/gnuplot.h"
#include "cli/number_text.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;
using quant::Sensitivity;

/// The matrices of a block, in the architecture's order.
std::vector<const arch::TensorSpec*> linear_specs(const arch::ModelConfig& config) {
  std::vector<const arch::TensorSpec*> specs;
  for (const arch::TensorSpec& spec : config.arch->tensors) {
    if (spec.linear) specs.push_back(&spec);
  }
  return specs;
}

std::string_view role_name(const arch::ModelConfig& config, const Sensitivity& row) {
  return arch::find_tensor(*config.arch, row.matrix.role)->name;
}

/// "1.2 MB" less, or "-30.0 kB" where the quantised matrix takes more.
std::string saved_text(std::uint64_t source, std::uint64_t stored) {
  return source >= stored ? bytes_text(source - stored) : "-" + bytes_text(stored - source);
}

/// Sums over some rows of one setting.
struct Sums {
  std::string name;
  std::int64_t matrices = 0;
  double kl = 0;
  double largest = 0;
  std::uint64_t bytes = 0;
  std::uint64_t source_bytes = 0;

  void add(const Sensitivity& row) {
    ++matrices;
    kl += row.kl_mean;
    largest = std::max(largest, row.kl_mean);
    bytes += row.report.stored_bytes;
    source_bytes += row.source_bytes;
  }
};

/// One Sums for each role or layer that has rows of this setting.
std::vector<Sums> sums_of(const SensitivityReport& report, std::size_t setting, bool by_layer) {
  std::vector<Sums> sums;
  const auto specs = linear_specs(*report.config);
  const std::size_t count =
      by_layer ? static_cast<std::size_t>(report.config->layers) : specs.size();
  for (std::size_t i = 0; i < count; ++i) {
    Sums some{by_layer ? fmt::format("{}", i) : std::string(specs[i]->name)};
    for (const Sensitivity& row : report.rows) {
      const bool here = by_layer ? row.matrix.layer == static_cast<std::int64_t>(i)
                                 : row.matrix.role == specs[i]->role;
      if (row.setting == setting && here) some.add(row);
    }
    if (some.matrices > 0) sums.push_back(std::move(some));
  }
  return sums;
}

std::string sums_table(const std::vector<Sums>& sums, std::string_view what) {
  double all = 0;
  for (const Sums& some : sums) all += some.kl;
  std::string text = fmt::format("{:<20} {:>8} {:>12} {:>8} {:>12} {:>12} {:>12}\n", what,
                                 "matrices", "sum of KL", "share", "mean KL", "largest", "saved");
  for (const Sums& some : sums) {
    text += fmt::format("{:<20} {:>8} {:>12.6f} {:>6.1f} % {:>12.6f} {:>12.6f} {:>12}\n", some.name,
                        some.matrices, some.kl, all > 0 ? 100 * some.kl / all : 0.0,
                        some.kl / static_cast<double>(some.matrices), some.largest,
                        saved_text(some.source_bytes, some.bytes));
  }
  return text;
}

/// The member of a row, of the type that T has. Throws as SensitivityReport::from_json().
template <class T>
T member(const Json& row, const char* key) {
  const auto found = row.find(key);
  const bool fits =
      found != row.end() && (std::is_same_v<T, std::string> ? found->is_string()
                             : std::is_same_v<T, double>    ? found->is_number()
                                                            : found->is_number_unsigned());
  if (!fits) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("result: \"{}\": found {}, expected a {}", key,
                            found == row.end() ? "none" : found->dump(),
                            std::is_same_v<T, std::string> ? "text" : "number"));
  }
  return found->get<T>();
}

}  // namespace

std::string setting_label(const quant::Setting& setting) {
  std::string label(setting.method->name);
  if (setting.method->bits.size() > 1) label += fmt::format(":{}", setting.options.bits);
  return label;
}

Json to_json(const quant::Setting& setting) {
  const quant::MethodOptions& options = setting.options;
  return {{"method", setting.method->name},
          {"nominal_bits", options.bits},
          {"form", word_of(options.form)},
          {"group_size", options.group_size},
          {"init", word_of(options.svid.init)},
          {"split", word_of(options.svid.split)},
          {"scales", formats::info(options.scales).name},
          {"symmetric", options.symmetric},
          {"affine", options.affine},
          {"per_tensor", options.per_tensor},
          {"clip", options.clip}};
}

quant::Setting setting_from_json(const Json& json) {
  const auto word = [&]<class E>(const char* key, E& value) {
    const auto text = json.at(key).get<std::string>();
    const auto found = value_of<E>(text);
    if (!found) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: found '{}', expected one of {}", key, text,
                              fmt::join(all_words<E>(), ", ")));
    }
    value = *found;
  };
  quant::Setting setting;
  setting.method = &quant::find_method(json.at("method").get<std::string>());
  quant::MethodOptions& options = setting.options;
  options.bits = quant::require_bits(*setting.method, json.at("nominal_bits").get<int>());
  options.damping = setting.method->damping;
  word("form", options.form);
  options.group_size = json.at("group_size").get<std::int64_t>();
  word("init", options.svid.init);
  word("split", options.svid.split);
  options.scales = formats::parse_dtype(json.at("scales").get<std::string>());
  options.symmetric = json.at("symmetric").get<bool>();
  options.affine = json.at("affine").get<bool>();
  options.per_tensor = json.at("per_tensor").get<bool>();
  options.clip = json.at("clip").get<double>();
  return setting;
}

Json SensitivityReport::to_json(const Sensitivity& row) const {
  const quant::Setting& setting = settings.at(row.setting);
  return {{"matrix", row.report.name},
          {"layer", row.matrix.layer},
          {"role", role_name(*config, row)},
          {"shape", row.report.shape},
          {"setting", row.setting},
          {"method", setting.method->name},
          {"nominal_bits", setting.options.bits},
          {"bits", row.report.bits_per_weight()},
          {"kl_mean", row.kl_mean},
          {"kl_stderr", row.kl_stderr},
          {"kl_p99", row.kl_p99},
          {"ppl", row.ppl},
          {"ppl_stderr", row.ppl_stderr},
          {"relative_error", row.report.relative_error},
          {"square_norm", row.report.square_norm},
          {"output_error", row.output_error},
          {"bytes", row.report.stored_bytes},
          {"source_bytes", row.source_bytes}};
}

Sensitivity SensitivityReport::from_json(const Json& row) const {
  Sensitivity result;
  result.report.name = member<std::string>(row, "matrix");
  result.matrix.layer = static_cast<std::int64_t>(member<std::uint64_t>(row, "layer"));
  const auto role = member<std::string>(row, "role");
  const auto specs = linear_specs(*config);
  const auto spec = std::find_if(specs.begin(), specs.end(),
                                 [&](const arch::TensorSpec* s) { return s->name == role; });
  result.setting = member<std::uint64_t>(row, "setting");
  if (spec == specs.end() || result.matrix.layer >= config->layers ||
      result.setting >= settings.size() ||
      arch::gguf_name(**spec, result.matrix.layer) != result.report.name) {
    throw Error(ErrorCode::kCorrupt,
                fmt::format("result: found role '{}' in layer {} as '{}' by setting {}, expected a "
                            "matrix of this model and a setting of this run",
                            role, result.matrix.layer, result.report.name, result.setting));
  }
  result.matrix.role = (*spec)->role;
  result.report.shape = arch::shape_of(*config, **spec);
  result.report.relative_error = member<double>(row, "relative_error");
  result.report.square_norm = member<double>(row, "square_norm");
  result.report.square_error = result.report.relative_error * result.report.square_norm;
  result.report.stored_bytes = member<std::uint64_t>(row, "bytes");
  result.source_bytes = member<std::uint64_t>(row, "source_bytes");
  result.kl_mean = member<double>(row, "kl_mean");
  result.kl_stderr = member<double>(row, "kl_stderr");
  result.kl_p99 = member<double>(row, "kl_p99");
  result.ppl = member<double>(row, "ppl");
  result.ppl_stderr = member<double>(row, "ppl_stderr");
  result.output_error = member<double>(row, "output_error");
  return result;
}

void SensitivityReport::sort(bool by_layer) {
  const auto place = [](const Sensitivity& row) {
    return std::tuple(row.matrix.layer, row.matrix.role, row.setting);
  };
  std::sort(rows.begin(), rows.end(), [&](const Sensitivity& a, const Sensitivity& b) {
    if (!by_layer && a.kl_mean != b.kl_mean) return a.kl_mean > b.kl_mean;
    return place(a) < place(b);
  });
}

std::string SensitivityReport::table() const {
  std::string text =
      fmt::format("{:<20} {:<10} {:>12} {:>10} {:>12} {:>10} {:>10} {:>11} {:>10}\n", "matrix",
                  "method", "KL", "+/-", "PPL", "rel. error", "out. error", "bits/weight", "saved");
  for (const Sensitivity& row : rows) {
    text += fmt::format(
        "{:<20} {:<10} {:>12.6f} {:>10.6f} {:>12.4f} {:>10.6f} {:>10.6f} {:>11.4f} {:>10}\n",
        row.report.name, setting_label(settings.at(row.setting)), row.kl_mean, row.kl_stderr,
        row.ppl, row.report.relative_error, row.output_error, row.report.bits_per_weight(),
        saved_text(row.source_bytes, row.report.stored_bytes));
  }
  for (std::size_t s = 0; s < settings.size(); ++s) {
    if (settings.size() > 1) text += fmt::format("\n{}", setting_label(settings[s]));
    text += "\n" + sums_table(sums_of(*this, s, false), "role");
    text += "\n" + sums_table(sums_of(*this, s, true), "layer");
  }
  return text;
}

Json SensitivityReport::totals() const {
  Json totals;
  for (const bool by_layer : {false, true}) {
    Json list = Json::array();
    for (std::size_t s = 0; s < settings.size(); ++s) {
      for (const Sums& some : sums_of(*this, s, by_layer)) {
        Json object = {{"setting", s}};
        if (by_layer) {
          object["layer"] = std::stoll(some.name);
        } else {
          object["role"] = some.name;
        }
        object.update({{"matrices", some.matrices},
                       {"kl_sum", some.kl},
                       {"kl_mean", some.kl / static_cast<double>(some.matrices)},
                       {"kl_max", some.largest},
                       {"bytes", some.bytes},
                       {"source_bytes", some.source_bytes}});
        list.push_back(std::move(object));
      }
    }
    totals[by_layer ? "by_layer" : "by_role"] = std::move(list);
  }
  return totals;
}

void SensitivityReport::draw_heat_map(const std::filesystem::path& out) const {
  constexpr int kCell = 24;      // pixels, as wide as high where there is room
  constexpr int kMargins = 260;  // names of roles, and the colours' scale
  constexpr int kPanelFrame = 120;
  const auto specs = linear_specs(*config);
  double low = std::numeric_limits<double>::infinity();
  double high = 0;
  for (const Sensitivity& row : rows) {
    if (row.kl_mean > 0) low = std::min(low, row.kl_mean);
    high = std::max(high, row.kl_mean);
  }
  if (high <= low) {  // one value, or none: a scale has to have two ends
    low = high > 0 ? high / 2 : 1e-6;
    high = high > 0 ? high * 2 : 1;
  }
  std::string script;
  std::string names;
  for (std::size_t r = 0; r < specs.size(); ++r) {
    names += fmt::format("{}{} {}", r == 0 ? "" : ", ", gnuplot_quoted(specs[r]->name), r);
  }
  std::string panels;
  for (std::size_t s = 0; s < settings.size(); ++s) {
    std::vector<std::vector<double>> cells(
        specs.size(), std::vector<double>(static_cast<std::size_t>(config->layers)));
    for (const Sensitivity& row : rows) {
      if (row.setting != s) continue;
      const auto at = std::find_if(specs.begin(), specs.end(), [&](const arch::TensorSpec* spec) {
        return spec->role == row.matrix.role;
      });
      cells[static_cast<std::size_t>(at - specs.begin())]
           [static_cast<std::size_t>(row.matrix.layer)] = row.kl_mean;
    }
    script += fmt::format("$s{} << END\n", s);
    for (std::size_t r = 0; r < specs.size(); ++r) {
      for (std::size_t layer = 0; layer < cells[r].size(); ++layer) {
        // What a logarithmic scale has no place for, or was not measured, stays blank.
        const double kl = cells[r][layer];
        script += fmt::format("{} {} {}\n", layer, r, kl > 0 ? fmt::format("{}", kl) : "NaN");
      }
    }
    script += "END\n";
    panels += fmt::format(
        "set title {}\nplot $s{} using 1:2:3 with image pixels\n",
        gnuplot_quoted(fmt::format("KL, nats a token, when one matrix alone is quantised by {}",
                                   setting_label(settings[s]))),
        s);
  }
  script += fmt::format(
      "set multiplot layout {},1\nunset key\nset xlabel 'layer'\n"
      "set xrange [-0.5:{}]\nset yrange [{}:-0.5]\nset ytics ({})\nset tics out nomirror\n"
      "set logscale cb\nset cbrange [{}:{}]\nset format cb '%g'\n"
      "set palette defined (0 '#fee3bd', 1 '#fdbb84', 2 '#fc8d59', 3 '#d7301f', 4 '#4a0000')\n",
      settings.size(), static_cast<double>(config->layers) - 0.5,
      static_cast<double>(specs.size()) - 0.5, names, low, high);
  const int width = kMargins + std::max(300, kCell * static_cast<int>(config->layers));
  const int height =
      (kPanelFrame + kCell * static_cast<int>(specs.size())) * static_cast<int>(settings.size());
  draw(script + panels + "unset multiplot\n", width, height, out);
}

}  // namespace onebit::cli
