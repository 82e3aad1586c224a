// Fuzzes result files of every kind: any text gives a record or an Error, and of what is accepted
// every table, figure and page can be made.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "base/error.h"
#include "report/input.h"
#include "report/report.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    std::vector<report::Record> records;
    for (const char* file : {"one.json", "two.json"}) {
      records.push_back(report::parse_record(text, file));
    }
    // As two rows, so that there is something to compare.
    const report::Comparison comparison(std::move(records),
                                        {{"one.json", "one"}, {"two.json", "two"}});
    const report::Report made = report::build_report(comparison, {}, "fuzz", "fuzz");
    const std::string html =
        report::report_html(made, [](const report::Figure&) { return "<svg></svg>"; });
    ONEBIT_CHECK(html.find("<script") == std::string::npos);
    ONEBIT_CHECK(!report::report_markdown(made).empty());
    for (const auto& [name, csv] : report::report_csv(made)) ONEBIT_CHECK(!csv.empty());
  } catch (const Error&) {
  }
  return 0;
}
