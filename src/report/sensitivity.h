// The columns of a sensitivity table and the maps of its figure: one a method and nominal bits.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "report/records.h"

namespace onebit::report {

/// Rows of one setting are a group; where a file says no settings, rows of one method whose bits
/// have the same whole part, since stored bits differ a little from matrix to matrix: scales weigh
/// more in small ones. A group is named by its method and mean bits: "onebit, 1.05 bits".
class SensitivityGrid {
 public:
  explicit SensitivityGrid(const SensitivityRecord& record);

  const std::vector<std::string>& methods() const { return methods_; }
  std::size_t method_of(std::size_t row) const { return of_row_[row]; }

 private:
  std::vector<std::string> methods_;
  std::vector<std::size_t> of_row_;
};

}  // namespace onebit::report
