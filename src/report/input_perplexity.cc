// The object of `onebit perplexity --json`.
#include "report/input.h"

namespace onebit::report {

PerplexityRecord parse_perplexity(const Fields& fields, const Origin& origin) {
  PerplexityRecord record{.origin = origin, .model = parse_model(fields)};
  record.text = fields.text("file");
  record.ppl = {fields.number("ppl"), fields.maybe_number("ppl_stderr")};
  if (fields.find("kl_mean") != nullptr) {
    record.kl = Divergence{.mean = {fields.number("kl_mean"), fields.maybe_number("kl_stderr")},
                           .p99 = fields.maybe_number("kl_p99"),
                           .same_top = fields.maybe_number("same_top"),
                           .teacher = fields.text_or("teacher", "")};
  }
  for (const char* key : {"protocol", "window", "stride", "windows", "tokens", "rows", "engine",
                          "activations", "kv_type"}) {
    add_setting(fields, key, key, record.settings);
  }
  return record;
}

}  // namespace onebit::report
