// Data-parallel training: several processes, on one machine or many, train one student together.
// This is what the rest of distill/ knows of the others; with one process everything here is a
// no-op. The processes are started by someone else (torchrun, mpirun, srun).
//
// All member functions are collective but for rank, size and is_first: every process calls them, in
// the same order, with tensors of the same shapes. A process that is lost, or does not come within
// the group's timeout, makes them throw Error{kResource} on all others.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <torch/types.h>
#include <vector>

namespace onebit::distill {

/// A tensor that one process is in charge of: the gradient it needs, the parameter it updates.
struct OwnedTensor {
  torch::Tensor tensor;
  int owner = 0;
};

class ProcessGroup {
 public:
  ProcessGroup(const ProcessGroup&) = delete;
  ProcessGroup& operator=(const ProcessGroup&) = delete;
  virtual ~ProcessGroup() = default;

  int rank() const noexcept { return rank_; }
  int size() const noexcept { return size_; }
  bool is_first() const noexcept { return rank_ == 0; }

  /// On its owner each tensor becomes the mean of what all processes hold; elsewhere its content is
  /// lost. They travel together, in buckets of kBucketBytes.
  void average(std::span<const OwnedTensor> tensors);

  /// Each tensor becomes what its owner holds, everywhere.
  void share(std::span<const OwnedTensor> tensors);

  /// Sums over all processes of each value; the same bits everywhere.
  std::vector<double> sum(std::vector<double> values);

  /// Whether any process says so.
  bool any(bool mine) { return size_ > 1 ? sum({mine ? 1.0 : 0.0})[0] > 0 : mine; }

  /// The value of the first process, everywhere.
  std::uint64_t of_first(std::uint64_t value);

  /// `mine` of the owner, on the first process; undefined on others. `like`: a tensor of its shape
  /// and type.
  torch::Tensor to_first(const torch::Tensor& mine, const torch::Tensor& like, int owner);

  /// The first process does `work` while the others wait, however long it takes; if it fails, they
  /// fail too.
  virtual void first_does(const std::function<void()>& work) { work(); }

  static constexpr std::size_t kBucketBytes = std::size_t{25} << 20;

 protected:
  ProcessGroup(int rank, int size) noexcept : rank_(rank), size_(size) {}

 private:
  /// In place; tensors are contiguous. reduce: the sum arrives at `root`, others' are lost.
  virtual void reduce(torch::Tensor tensor, int root) = 0;
  virtual void all_reduce(torch::Tensor tensor) = 0;
  virtual void broadcast(torch::Tensor tensor, int root) = 0;
  virtual void send(torch::Tensor tensor, int to) = 0;
  virtual void receive(torch::Tensor tensor, int from) = 0;

  int rank_;
  int size_;
};

/// The group of a run that is alone.
ProcessGroup& single_process();

/// How the processes find each other: what torchrun and its like put into the environment.
struct Launch {
  int rank = 0;
  int size = 1;
  int local_rank = 0;   ///< among the processes on this machine
  int local_size = 1;   ///< their number
  std::string address;  ///< of the machine of rank 0
  std::uint16_t port = 0;
  bool store_exists = false;   ///< the launcher listens at address and port; else rank 0 will
  std::string attempt = {};    ///< tells a restarted run's messages from those of the one before
  std::string interface = {};  ///< network interface to use; empty: that of the host's name
};

/// Meets the other processes; CPU tensors travel by Gloo over TCP. `timeout` bounds the meeting and
/// every later exchange. Throws Error{kResource}.
std::unique_ptr<ProcessGroup> connect(const Launch& launch, std::chrono::seconds timeout);

/// For each of `sizes` the process that is in charge of it, so that all have about the same in sum:
/// the largest first, each to whoever has least.
std::vector<int> balanced_owners(std::span<const std::int64_t> sizes, int processes);

}  // namespace onebit::distill
