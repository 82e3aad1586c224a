#include "cli/method_flags.h"

#include <algorithm>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <span>

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;
using quant::MethodOptions;

/// A setting that some methods have.
struct Flag {
  const char* name;
  std::vector<std::string_view> methods;
  Json (*value)(const MethodOptions& options);
};

const std::vector<std::string_view> kOmniquant = {"omniquant"};

const Flag kPlain[] = {
    {"form", {"onebit"}, [](const MethodOptions& o) -> Json { return word_of(o.form); }},
    {"init", {"onebit"}, [](const MethodOptions& o) -> Json { return word_of(o.svid.init); }},
    {"split", {"onebit"}, [](const MethodOptions& o) -> Json { return word_of(o.svid.split); }},
    {"group-size",
     {"onebit", "rtn", "int8", "gptq", "billm", "arb", "omniquant"},
     [](const MethodOptions& o) -> Json { return o.group_size; }},
    {"symmetric", {"rtn", "gptq"}, [](const MethodOptions& o) -> Json { return o.symmetric; }},
    {"affine", {"int8"}, [](const MethodOptions& o) -> Json { return o.affine; }},
    {"per-tensor", {"int8"}, [](const MethodOptions& o) -> Json { return o.per_tensor; }},
    {"clip", {"int8"}, [](const MethodOptions& o) -> Json { return o.clip; }}};

const Flag kCalibrated[] = {
    {"damp",
     {"gptq", "billm", "arb", "lowrank"},
     [](const MethodOptions& o) -> Json { return o.damping; }},
    {"act-order", {"gptq"}, [](const MethodOptions& o) -> Json { return o.act_order; }},
    {"static-groups", {"gptq"}, [](const MethodOptions& o) -> Json { return o.static_groups; }},
    {"refine", {"arb"}, [](const MethodOptions& o) -> Json { return word_of(o.refinement); }},
    {"epochs", kOmniquant, [](const MethodOptions& o) -> Json { return o.omniquant.epochs; }},
    {"batch", kOmniquant, [](const MethodOptions& o) -> Json { return o.omniquant.batch; }},
    {"lwc-rate", kOmniquant, [](const MethodOptions& o) -> Json { return o.omniquant.lwc_rate; }},
    {"let", kOmniquant, [](const MethodOptions& o) -> Json { return o.omniquant.let; }},
    {"let-rate", kOmniquant, [](const MethodOptions& o) -> Json { return o.omniquant.let_rate; }},
    {"let-alpha", kOmniquant, [](const MethodOptions& o) -> Json { return o.omniquant.let_alpha; }},
    {"act-bits", kOmniquant, [](const MethodOptions& o) -> Json { return o.activation_bits; }}};

/// Of the file, but no matrix of the other methods has any.
const Flag kScales = {"scales",
                      {"onebit", "rtn", "int8", "gptq", "billm", "arb", "omniquant"},
                      [](const MethodOptions& o) -> Json { return formats::info(o.scales).name; }};

std::string key_of(const Flag& flag) {
  std::string key = flag.name;
  std::replace(key.begin(), key.end(), '-', '_');
  return key;
}

Json own(std::span<const Flag> flags, const quant::Method& method, const MethodOptions& options) {
  Json json = Json::object();
  for (const Flag& flag : flags) {
    if (std::find(flag.methods.begin(), flag.methods.end(), method.name) != flag.methods.end()) {
      json[key_of(flag)] = flag.value(options);
    }
  }
  return json;
}

}  // namespace

bool has_groups(const quant::Method& method) {
  const auto* const flag = std::find_if(std::begin(kPlain), std::end(kPlain), [](const Flag& one) {
    return one.name == std::string_view("group-size");
  });
  return std::find(flag->methods.begin(), flag->methods.end(), method.name) != flag->methods.end();
}

std::vector<std::string_view> method_names(bool calibrating) {
  std::vector<std::string_view> names;
  for (const quant::Method* method : quant::all_methods()) {
    if (calibrating || method->calibrates != quant::Calibrates::kAlways) {
      names.push_back(method->name);
    }
  }
  return names;
}

nlohmann::ordered_json calibration_json(const quant::MethodOptions& options) {
  nlohmann::ordered_json json;
  for (const Flag& flag : kCalibrated) json[key_of(flag)] = flag.value(options);
  return json;
}

nlohmann::ordered_json own_settings(const quant::Method& method,
                                    const quant::MethodOptions& options) {
  Json json = own(kPlain, method, options);
  json.update(own({&kScales, 1}, method, options));
  return json;
}

nlohmann::ordered_json own_calibration(const quant::Method& method,
                                       const quant::MethodOptions& options) {
  return own(kCalibrated, method, options);
}

void MethodFlags::require_used(const std::set<std::string_view>& methods) const {
  const auto require = [&](const Flag& flag) {
    const auto used = [&](std::string_view method) { return methods.contains(method); };
    if (std::any_of(flag.methods.begin(), flag.methods.end(), used)) return;
    throw UsageError(fmt::format("--{}: found with method {}, expected one that has it: {}",
                                 flag.name, fmt::join(methods, ", "),
                                 fmt::join(flag.methods, ", ")));
  };
  for_each_given(require);
  if (given(kScales.name)) require(kScales);
  for (const char* flag : {"let-rate", "let-alpha"}) {
    if (!given(flag) || options_.omniquant.let) continue;
    throw UsageError(fmt::format("--{}: found without --let, expected it beside this", flag));
  }
  if (options_.static_groups && options_.group_size == 0) {
    throw UsageError("--static-groups: found without --group-size, expected groups");
  }
}

void MethodFlags::require_none(std::string_view why) const {
  for_each_given(
      [&](const Flag& flag) { throw UsageError(fmt::format("--{}: {}", flag.name, why)); });
}

template <class Work>
void MethodFlags::for_each_given(const Work& work) const {
  for (const std::span<const Flag> flags :
       {std::span<const Flag>(kPlain), std::span<const Flag>(kCalibrated)}) {
    for (const Flag& flag : flags) {
      if (given(flag.name)) work(flag);
    }
  }
}

bool MethodFlags::given(const char* flag) const {
  const CLI::Option* option = app_->get_option_no_throw(fmt::format("--{}", flag));
  return option != nullptr && option->count() > 0;
}

void MethodFlags::define(CLI::App& app) {
  app_ = &app;
  form_ = define_choice(
      app, "--form", options_.form,
      "1-bit layers with the paper's LayerNorm on their output; without it and each with "
      "input scales of its own; or with such as fold into the tensors before");
  define_number(
      app, "--group-size", options_.group_size,
      "inputs that share a scale, 0 for a whole row; of 1-bit layers 16, 32, 64 or 128, and the "
      "form foldable only; of billm and arb a block's, 0 for 128",
      std::int64_t{0}, kMaxCount);
  define_choice(app, "--init", options_.svid.init,
                "how the scales of a matrix start; copy: as 1, for a training that finds them");
  define_choice(app, "--split", options_.svid.split,
                "how input and output scales share their product");
  app.add_flag("--symmetric", options_.symmetric,
               "rtn, gptq: grids with 0 in the middle, without zero points");
  app.add_flag("--affine", options_.affine, "int8: with zero points");
  app.add_flag("--per-tensor", options_.per_tensor, "int8: one scale for the whole matrix");
  define_number(app, "--clip", options_.clip, "int8: the part of the range that codes cover", 0.1,
                1.0);
}

void MethodFlags::define_calibrated(CLI::App& app) {
  damping_ = define_number(app, "--damp", options_.damping,
                           "gptq, billm, arb, lowrank: added to the second moment's diagonal, as a "
                           "part of its mean (lowrank: 1e-6, and as much more as it takes)",
                           0.0, 1e6);
  app.add_flag("--act-order", options_.act_order, "gptq: inputs that are largest first");
  app.add_flag("--static-groups", options_.static_groups,
               "gptq: the grids of groups from the weights as they are");
  define_choice(app, "--refine", options_.refinement,
                "arb: what is fitted by turns with signs: scales of rows and of columns (ARB-RC), "
                "means and scales of rows (ARB), or these to the inputs too (ARB-X)");
  constexpr double kLeastRate = 1e-9;
  quant::OmniquantTraining& omniquant = options_.omniquant;
  app.add_option("--act-bits", options_.activation_bits,
                 "omniquant: of matrices' inputs, queries, keys and values; 16: exact")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 7, 8, 16}))
      ->type_name("N")
      ->capture_default_str();
  define_number(app, "--epochs", omniquant.epochs,
                "omniquant: times that all windows train a block (its authors: 20, for 2 bits 40)",
                1, 1000000);
  define_number(app, "--batch", omniquant.batch, "omniquant: windows of a step", std::int64_t{1},
                kMaxCount);
  define_number(app, "--lwc-rate", omniquant.lwc_rate,
                "omniquant: learning rate of the clipping of weights", kLeastRate, 1.0);
  app.add_flag("--let", omniquant.let,
               "omniquant: trains scales as well that move between norms and matrices");
  define_number(app, "--let-rate", omniquant.let_rate, "omniquant: learning rate of these scales",
                kLeastRate, 1.0);
  define_number(app, "--let-alpha", omniquant.let_alpha,
                "omniquant: the part of the inputs' size that these scales take over at first", 0.0,
                1.0);
}

quant::MethodOptions MethodFlags::options(const quant::Method& method, int bits,
                                          bool others_group) const {
  quant::MethodOptions options = options_;
  options.bits = bits;
  if (damping_ == nullptr || damping_->count() == 0) options.damping = method.damping;
  if (method.name == "onebit" && options.group_size > 0) {
    const bool has_form = form_->count() > 0;
    if (others_group && !(has_form && options.form == arch::Form::kFoldable)) {
      options.group_size = 0;
    } else if (!has_form) {
      options.form = arch::Form::kFoldable;
    }
  }
  if (method.name == "onebit") require_groups(options.form, options.group_size);
  return options;
}

}  // namespace onebit::cli
