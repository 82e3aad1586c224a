// `onebit info`: what a model is, without running it.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "arch/packed_format.h"
#include "cli/command_table.h"
#include "cli/flags.h"
#include "cli/model_summary.h"
#include "cli/number_text.h"
#include "cli/printable.h"
#include "kernels/kernels.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

std::string joined_types(const ModelSummary& summary) {
  std::string text;
  for (const auto& [type, count] : summary.types) {
    text += fmt::format("{}{} × {}", text.empty() ? "" : ", ", count, type);
  }
  return text;
}

/// Only then does a packed file have a form.
bool has_one_bit(const ModelSummary& summary) { return summary.types.contains("sign1"); }

std::string form_text(const arch::Provenance& made) {
  return fmt::format(
      ", form {}{}", word_of(made.form),
      made.group_size > 0 ? fmt::format(", groups of {}", made.group_size) : std::string());
}

bool is_exact(const arch::ActivationRule& rule) {
  return !rule.changes_inputs() && rule.kv_bits == arch::ActivationRule::kExact;
}

/// What happens to activations, for a rule that is_exact() is not true of.
std::string activations_text(const arch::Provenance& made) {
  const arch::ActivationRule& rule = made.activations;
  std::vector<std::string> parts;
  if (rule.norm != arch::InputNorm::kNone) {
    parts.push_back(fmt::format("{} norm before each matrix", word_of(rule.norm)));
  }
  const auto bits = [&](int count, std::string_view of) {
    if (count == arch::ActivationRule::kExact) return;
    parts.push_back(fmt::format("{} bits of {} ({})", count, of, word_of(rule.rounding)));
  };
  bits(rule.bits, "inputs");
  bits(rule.kv_bits, "keys and values");
  if (!made.exact_inputs.empty()) {
    parts.push_back(fmt::format("but for {} matrices", made.exact_inputs.size()));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

Json tensors_json(const ModelSummary& summary) {
  Json list = Json::array();
  for (const TensorSummary& tensor : summary.tensors) {
    list.push_back({{"name", tensor.name},
                    {"type", tensor.type},
                    {"shape", tensor.shape},
                    {"bytes", tensor.bytes},
                    {"matrix", tensor.matrix}});
  }
  return list;
}

class Info final : public Command {
 public:
  void define(CLI::App& app) override {
    define_model(app, model_);
    app.add_flag("--tensors", list_tensors_, "list every tensor");
  }

  void run(Context& context) override {
    const arch::Checkpoint checkpoint = arch::Checkpoint::open(model_);
    const ModelSummary summary = summarize(checkpoint);
    const kernels::KernelSet& kernels =
        context.isa.empty() ? kernels::best_kernels() : kernels::kernels_by_name(context.isa);
    print(context.console, checkpoint, summary, kernels);
    print_json(context.console, checkpoint, summary, kernels);
  }

 private:
  static void row(Console& console, std::string_view key, std::string_view value) {
    console.print(fmt::format("{:<16} {}\n", key, printable(value)));
  }

  void print(Console& console, const arch::Checkpoint& checkpoint, const ModelSummary& summary,
             const kernels::KernelSet& kernels) const {
    const arch::ModelConfig& c = checkpoint.config();
    row(console, "name", checkpoint.name());
    row(console, "file",
        fmt::format("{}, {}", checkpoint.path().string(), bytes_text(summary.file_bytes)));
    row(console, "architecture", c.arch->name);
    row(console, "parameters", grouped(summary.parameters));
    row(console, "layers", grouped(c.layers));
    row(console, "width", fmt::format("{}, feed-forward {}", c.dim, c.ffn));
    row(console, "attention",
        fmt::format("{} heads of {}, {} for keys and values", c.heads, c.head_dim, c.kv_heads));
    row(console, "context", fmt::format("{}, rope base {:g}", grouped(c.context), c.rope.theta));
    row(console, "vocabulary",
        fmt::format("{}, output matrix {}", grouped(c.vocab),
                    c.tied_head ? "shared with the embedding" : "its own"));
    row(console, "chat template", checkpoint.chat_template().empty() ? "none" : "yes");
    row(console, "tensors", joined_types(summary));
    row(console, "matrices",
        fmt::format("{}: {} weights, {}, {:.4f} bits per weight", summary.matrices,
                    grouped(summary.matrix_weights), bytes_text(summary.matrix_bytes),
                    summary.matrix_bits_per_weight()));
    row(console, "whole file",
        fmt::format("{:.4f} bits per weight", summary.file_bits_per_weight()));
    if (const auto& made = checkpoint.provenance()) {
      row(console, "method",
          made->method + (has_one_bit(summary) ? form_text(*made) : std::string()));
      if (!is_exact(made->activations)) {
        row(console, "activations", activations_text(*made));
      }
      row(console, "source", fmt::format("{}, sha256 {}", made->source_name, made->source_sha256));
      row(console, "made by", made->program);
    }
    std::string others;
    for (const kernels::KernelSet* set : kernels::available_kernels()) {
      if (set != &kernels) others += fmt::format("{}{}", others.empty() ? "" : ", ", set->name);
    }
    row(console, "kernels",
        others.empty() ? std::string(kernels.name)
                       : fmt::format("{} (this CPU also runs {})", kernels.name, others));
    if (!list_tensors_) return;
    console.print("\n");
    for (const TensorSummary& tensor : summary.tensors) {
      console.print(fmt::format("{:<24} {:<16} {:<6} {:>14} bytes\n", tensor.name,
                                formats::to_string(tensor.shape), tensor.type,
                                grouped(static_cast<std::int64_t>(tensor.bytes))));
    }
  }

  void print_json(Console& console, const arch::Checkpoint& checkpoint, const ModelSummary& summary,
                  const kernels::KernelSet& kernels) const {
    const arch::ModelConfig& c = checkpoint.config();
    Json object = {{"name", checkpoint.name()},
                   {"path", checkpoint.path().string()},
                   {"file_bytes", summary.file_bytes},
                   {"architecture", c.arch->name},
                   {"parameters", summary.parameters},
                   {"layers", c.layers},
                   {"dim", c.dim},
                   {"ffn", c.ffn},
                   {"heads", c.heads},
                   {"kv_heads", c.kv_heads},
                   {"head_dim", c.head_dim},
                   {"context", c.context},
                   {"vocab", c.vocab},
                   {"tied_head", c.tied_head},
                   {"rope_theta", c.rope.theta},
                   {"chat_template", !checkpoint.chat_template().empty()},
                   {"types", summary.types},
                   {"matrices",
                    {{"count", summary.matrices},
                     {"weights", summary.matrix_weights},
                     {"bytes", summary.matrix_bytes},
                     {"bits_per_weight", summary.matrix_bits_per_weight()}}},
                   {"file_bits_per_weight", summary.file_bits_per_weight()}};
    if (const auto& made = checkpoint.provenance()) {
      object["packed"] = {{"method", made->method},
                          {"source_name", made->source_name},
                          {"source_sha256", made->source_sha256},
                          {"program", made->program}};
      if (has_one_bit(summary)) {
        object["packed"]["form"] = word_of(made->form);
        object["packed"]["group_size"] = made->group_size;
      }
      if (const arch::ActivationRule& rule = made->activations; !is_exact(rule)) {
        object["packed"]["activations"] = {{"norm", word_of(rule.norm)},
                                           {"rounding", word_of(rule.rounding)},
                                           {"bits", rule.bits},
                                           {"kv_bits", rule.kv_bits},
                                           {"exact", made->exact_inputs}};
      }
    }
    object["kernels"] = kernels.name;
    for (const kernels::KernelSet* set : kernels::available_kernels()) {
      object["available_kernels"].push_back(set->name);
    }
    if (list_tensors_) object["tensors"] = tensors_json(summary);
    console.print_json(object);
  }

  std::string model_;
  bool list_tensors_ = false;
};

}  // namespace
}  // namespace onebit::cli

ONEBIT_DEFINE_COMMAND(info, onebit::cli::Info);
