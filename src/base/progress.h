// How long work tells how far it is. The library never draws: cli turns this into a bar or lines.
#pragma once

#include <cstdint>
#include <string_view>

namespace onebit {

class Progress {
 public:
  virtual ~Progress() = default;

  /// `done` of `total` units (total 0: unknown); `note` is a short free text such as a loss.
  /// Called often: an implementation limits its own rate.
  virtual void update(std::uint64_t done, std::uint64_t total, std::string_view note) = 0;
};

/// Where nobody watches.
class NoProgress final : public Progress {
 public:
  void update(std::uint64_t, std::uint64_t, std::string_view) override {}
};

}  // namespace onebit
