// The object of `onebit bench -o json`. (A name that ends in _bench would be a benchmark.)
#include <fmt/format.h>

#include "report/input.h"

namespace onebit::report {

BenchRecord parse_bench(const Fields& fields, const Origin& origin) {
  BenchRecord record{.origin = origin, .model = parse_model(fields)};
  if (!record.model.file_bytes) record.model.file_bytes = fields.maybe_count("file_bytes");
  record.peak_bytes = fields.maybe_count("peak_bytes");
  const Json& results = fields.array("results");
  for (std::size_t i = 0; i < results.size(); ++i) {
    const Fields test(results[i], fields.place_of(fmt::format("results[{}]", i)));
    record.tests.push_back({.name = test.text("test"),
                            .threads = test.count("threads"),
                            .rate = test.number("tokens_per_second"),
                            .deviation = test.maybe_number("deviation"),
                            .bandwidth_share = test.maybe_number("bandwidth_share")});
  }
  for (const char* key : {"kernels", "activations", "kv_type", "device", "repetitions"}) {
    add_setting(fields, key, key, record.settings);
  }
  return record;
}

}  // namespace onebit::report
