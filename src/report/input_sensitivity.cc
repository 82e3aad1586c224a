// The file of `onebit sensitivity -o`.
#include <fmt/format.h>

#include "report/input.h"

namespace onebit::report {

SensitivityRecord parse_sensitivity(const Fields& fields, const Origin& origin) {
  SensitivityRecord record{.origin = origin, .model = parse_model(fields)};
  record.text = fields.text_or("file", "");
  if (const auto baseline = fields.maybe_object("baseline")) {
    record.ppl = baseline->maybe_number("ppl");
  }
  const Json& rows = fields.array("rows");
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Fields row(rows[i], fields.place_of(fmt::format("rows[{}]", i)));
    SensitivityRow entry{.matrix = row.text("matrix"),
                         .method = row.text("method"),
                         .setting = row.maybe_count("setting"),
                         .bits = row.number("bits"),
                         .kl = {row.number("kl_mean"), row.maybe_number("kl_stderr")},
                         .ppl = row.maybe_number("ppl"),
                         .relative_error = row.maybe_number("relative_error"),
                         .bytes = row.maybe_count("bytes")};
    std::tie(entry.layer, entry.role) = layer_and_role(entry.matrix);
    record.rows.push_back(std::move(entry));
  }
  for (const char* key : {"window", "windows", "positions", "seed"}) {
    add_setting(fields, key, key, record.settings);
  }
  return record;
}

}  // namespace onebit::report
