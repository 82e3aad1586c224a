// Names in the order in which they first appear, each with its number.
#pragma once

#include <cstddef>
#include <map>
#include <string>
#include <vector>

namespace onebit::report {

class Names {
 public:
  /// The number of `name`, which is added where it is new.
  std::size_t add(const std::string& name) {
    const auto [place, added] = index_.emplace(name, all_.size());
    if (added) all_.push_back(name);
    return place->second;
  }

  const std::vector<std::string>& all() const { return all_; }
  std::size_t size() const { return all_.size(); }

 private:
  std::vector<std::string> all_;
  std::map<std::string, std::size_t> index_;
};

}  // namespace onebit::report
