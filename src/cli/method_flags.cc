#include "cli/method_flags.h"

namespace onebit::cli {

std::vector<std::string_view> method_names() {
  std::vector<std::string_view> names;
  for (const quant::Method* method : quant::all_methods()) names.push_back(method->name);
  return names;
}

void MethodFlags::define(CLI::App& app) {
  form_ = define_choice(
      app, "--form", options_.form,
      "1-bit layers with the paper's LayerNorm on their output; without it and each with "
      "input scales of its own; or with such as fold into the tensors before");
  define_number(
      app, "--group-size", options_.group_size,
      "inputs that share an output scale: 16, 32, 64 or 128, or 0 for a whole row; foldable "
      "only",
      std::int64_t{0}, std::int64_t{128});
  define_choice(app, "--init", options_.svid.init, "how the scales of a matrix start");
  define_choice(app, "--split", options_.svid.split,
                "how input and output scales share their product");
}

quant::MethodOptions MethodFlags::options() const {
  quant::MethodOptions options = options_;
  if (options.group_size > 0 && form_->count() == 0) options.form = arch::Form::kFoldable;
  return options;
}

}  // namespace onebit::cli
