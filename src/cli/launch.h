// Which of several processes this one is: read from what torchrun, mpirun (Open MPI) and srun put
// into the environment.
#pragma once

#include <functional>

#include "distill/process_group.h"

namespace onebit::cli {

/// The value of an environment variable, or null.
using Environment = std::function<const char*(const char*)>;

/// RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE, MASTER_ADDR and MASTER_PORT; where the first two
/// are not set, Open MPI's or Slurm's own names of a process's place. One process where none is
/// set. Throws UsageError naming a variable that is missing or not what it should be.
distill::Launch launch_from(const Environment& environment);

}  // namespace onebit::cli
