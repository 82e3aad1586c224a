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
      "inputs that share a scale, 0 for a whole row; of 1-bit layers 16, 32, 64 or 128, and the "
      "form foldable only; of billm and arb a block's, 0 for 128",
      std::int64_t{0}, kMaxCount);
  define_choice(app, "--init", options_.svid.init, "how the scales of a matrix start");
  define_choice(app, "--split", options_.svid.split,
                "how input and output scales share their product");
  app.add_flag("--symmetric", options_.symmetric,
               "rtn, gptq: grids with 0 in the middle, without zero points");
  app.add_flag("--affine", options_.affine, "int8: with zero points");
  app.add_flag("--per-tensor", options_.per_tensor, "int8: one scale for the whole matrix");
  define_number(app, "--clip", options_.clip, "int8: the part of the range that codes cover", 0.1,
                1.0);
  define_number(app, "--damp", options_.damping,
                "gptq, billm, arb: added to the second moment's diagonal, as a part of its mean",
                0.0, 1e6);
  app.add_flag("--act-order", options_.act_order, "gptq: inputs that are largest first");
  app.add_flag("--static-groups", options_.static_groups,
               "gptq: the grids of groups from the weights as they are");
  define_choice(app, "--refine", options_.refinement,
                "arb: what is fitted by turns with signs: scales of rows and of columns (ARB-RC), "
                "means and scales of rows (ARB), or these to the inputs too (ARB-X)");
}

quant::MethodOptions MethodFlags::options(int bits) const {
  quant::MethodOptions options = options_;
  options.bits = bits;
  if (options.group_size > 0 && form_->count() == 0) options.form = arch::Form::kFoldable;
  return options;
}

}  // namespace onebit::cli
