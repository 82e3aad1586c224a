#include "report/sensitivity.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>

#include "report/names.h"

namespace onebit::report {

SensitivityGrid::SensitivityGrid(const SensitivityRecord& record) {
  Names groups;
  std::vector<double> bits;
  std::vector<double> counts;
  std::vector<std::string> names;
  for (const SensitivityRow& row : record.rows) {
    const std::size_t group =
        groups.add(row.setting ? fmt::format("{}", *row.setting)
                               : fmt::format("{} {}", row.method, std::floor(row.bits)));
    if (group == names.size()) {
      names.push_back(row.method);
      bits.push_back(0);
      counts.push_back(0);
    }
    bits[group] += row.bits;
    counts[group] += 1;
    of_row_.push_back(group);
  }
  for (std::size_t g = 0; g < names.size(); ++g) {
    std::string name = fmt::format("{}, {:.2f} bits", names[g], bits[g] / counts[g]);
    if (std::find(methods_.begin(), methods_.end(), name) != methods_.end()) {
      name += fmt::format(" ({})", g + 1);
    }
    methods_.push_back(std::move(name));
  }
}

}  // namespace onebit::report
