#include "cli/launch.h"

#include <charconv>
#include <fmt/format.h>
#include <string_view>

#include "cli/flags.h"

namespace onebit::cli {
namespace {

constexpr int kMostProcesses = 1 << 20;
constexpr int kMostPorts = 65535;

/// A launcher's names for a process's place.
struct Names {
  const char* rank;
  const char* size;
  const char* local_rank;
  const char* local_size;  ///< null: it does not say
};
constexpr Names kStandard = {"RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"};
constexpr Names kOpenMpi = {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                            "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE"};
/// Only srun sets a step's size: a batch script itself is one process.
constexpr Names kSlurm = {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID", nullptr};

class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  bool has(const char* name) const { return name != nullptr && environment_(name) != nullptr; }

  /// The text of a variable that must be set.
  std::string_view text(const char* name) const {
    const char* value = environment_(name);
    if (value != nullptr && *value != '\0') return value;
    throw UsageError(
        fmt::format("environment: {}: found none, expected it for one of several "
                    "processes",
                    name));
  }

  int number(const char* name, int low, int high) const {
    const std::string_view word = text(name);
    int value = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error == std::errc{} && end == word.data() + word.size() && value >= low && value <= high) {
      return value;
    }
    throw UsageError(fmt::format("environment: {}: found '{}', expected a number from {} to {}",
                                 name, word, low, high));
  }

  int number_or(const char* name, int otherwise, int low, int high) const {
    return has(name) ? number(name, low, high) : otherwise;
  }

 private:
  const Environment& environment_;
};

}  // namespace

distill::Launch launch_from(const Environment& environment) {
  const Reader reader(environment);
  const Names* names = nullptr;
  if (reader.has(kStandard.rank) || reader.has(kStandard.size)) {
    names = &kStandard;
  } else {
    for (const Names* other : {&kOpenMpi, &kSlurm}) {
      if (names == nullptr && reader.has(other->rank) && reader.has(other->size)) names = other;
    }
  }
  distill::Launch launch;
  if (names == nullptr) return launch;
  launch.size = reader.number(names->size, 1, kMostProcesses);
  if (launch.size == 1 && !reader.has(names->rank)) return launch;
  launch.rank = reader.number(names->rank, 0, launch.size - 1);
  launch.local_rank = reader.number_or(names->local_rank, launch.rank, 0, kMostProcesses);
  launch.local_size = reader.number_or(names->local_size, 1, 1, kMostProcesses);
  if (launch.size == 1) return launch;
  launch.address = reader.text("MASTER_ADDR");
  launch.port = static_cast<std::uint16_t>(reader.number("MASTER_PORT", 1, kMostPorts));
  // torchrun's agent listens there already, and outlives restarts of its processes.
  launch.store_exists = reader.has("TORCHELASTIC_USE_AGENT_STORE") &&
                        reader.text("TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (reader.has("TORCHELASTIC_RESTART_COUNT")) {
    launch.attempt = reader.text("TORCHELASTIC_RESTART_COUNT");
  }
  if (reader.has("GLOO_SOCKET_IFNAME")) launch.interface = reader.text("GLOO_SOCKET_IFNAME");
  return launch;
}

}  // namespace onebit::cli
