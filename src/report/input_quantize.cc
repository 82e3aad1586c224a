// The object of `onebit quantize --json`.
#include <fmt/format.h>

#include "report/input.h"

namespace onebit::report {

QuantizeRecord parse_quantize(const Fields& fields, const Origin& origin) {
  QuantizeRecord record{.origin = origin};
  const Fields totals = fields.object("totals");
  ModelInfo& model = record.model;
  model.path = fields.text("output");
  model.name = std::filesystem::path(model.path).stem().string();
  model.source_name = fields.text_or("model", "");
  model.method = fields.text_or("method", "");
  model.form = fields.text_or("form", "");
  model.group_size = fields.maybe_count("group_size");
  model.parameters = totals.maybe_count("parameters");
  model.file_bytes = totals.maybe_count("file_bytes");
  model.file_bits = totals.maybe_number("file_bits_per_weight");
  model.matrix_bits = totals.maybe_number("bits_per_weight");
  record.relative_error = totals.number("relative_error");
  const Json& matrices = fields.array("matrices");
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const Fields matrix(matrices[i], fields.place_of(fmt::format("matrices[{}]", i)));
    MatrixError entry{.matrix = matrix.text("name"),
                      .relative_error = matrix.number("relative_error"),
                      .bits = matrix.number("bits_per_weight")};
    std::tie(entry.layer, entry.role) = layer_and_role(entry.matrix);
    record.matrices.push_back(std::move(entry));
  }
  for (const char* key : {"method", "bits", "budget", "init", "split", "form", "group_size",
                          "scales", "symmetric", "affine", "per_tensor", "clip"}) {
    add_setting(fields, key, key, record.settings);
  }
  const auto calibrated = fields.maybe_object("calibration");
  if (!calibrated) return record;
  for (const char* key :
       {"samples", "length", "seed", "damp", "act_order", "static_groups", "refine", "epochs",
        "batch", "lwc_rate", "let", "let_rate", "let_alpha", "act_bits"}) {
    add_setting(*calibrated, key, key, record.settings);
  }
  return record;
}

}  // namespace onebit::report
