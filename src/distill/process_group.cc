#include "distill/process_group.h"

#include <algorithm>
#include <numeric>
#include <torch/utils.h>

#include "base/check.h"

namespace onebit::distill {
namespace {

using torch::Tensor;

class SingleProcess final : public ProcessGroup {
 public:
  SingleProcess() noexcept : ProcessGroup(0, 1) {}

 private:
  void reduce(Tensor, int) override {}
  void all_reduce(Tensor) override {}
  void broadcast(Tensor, int) override {}
  void send(Tensor, int) override {}
  void receive(Tensor, int) override {}
};

/// Calls visit(flat, owner, parts) for every bucket: parts of one owner and one type.
template <class Visit>
void for_each_bucket(std::span<const OwnedTensor> tensors, int processes, Visit&& visit) {
  for (int owner = 0; owner < processes; ++owner) {
    std::vector<Tensor> parts;
    std::size_t bytes = 0;
    const auto flush = [&] {
      if (!parts.empty()) visit(std::as_const(parts), owner);
      parts.clear();
      bytes = 0;
    };
    for (const OwnedTensor& t : tensors) {
      if (t.owner != owner) continue;
      const bool same_type = parts.empty() || parts[0].scalar_type() == t.tensor.scalar_type();
      if (!same_type || bytes + t.tensor.nbytes() > ProcessGroup::kBucketBytes) flush();
      parts.push_back(t.tensor.detach());
      bytes += t.tensor.nbytes();
    }
    flush();
  }
}

Tensor flatten(const std::vector<Tensor>& parts) {
  std::vector<Tensor> flat;
  flat.reserve(parts.size());
  for (const Tensor& part : parts) flat.push_back(part.reshape({-1}));
  return torch::cat(flat);
}

void unflatten(const Tensor& flat, const std::vector<Tensor>& parts) {
  std::int64_t begin = 0;
  for (Tensor part : parts) {
    part.copy_(flat.narrow(0, begin, part.numel()).view_as(part));
    begin += part.numel();
  }
}

}  // namespace

void ProcessGroup::average(std::span<const OwnedTensor> tensors) {
  if (size_ == 1) return;
  const torch::NoGradGuard no_grad;
  for_each_bucket(tensors, size_, [&](const std::vector<Tensor>& parts, int owner) {
    Tensor flat = flatten(parts);
    reduce(flat, owner);
    if (owner == rank_) unflatten(flat.div_(size_), parts);
  });
}

void ProcessGroup::share(std::span<const OwnedTensor> tensors) {
  if (size_ == 1) return;
  const torch::NoGradGuard no_grad;
  for_each_bucket(tensors, size_, [&](const std::vector<Tensor>& parts, int owner) {
    const Tensor flat = flatten(parts);
    broadcast(flat, owner);
    if (owner != rank_) unflatten(flat, parts);
  });
}

std::vector<double> ProcessGroup::sum(std::vector<double> values) {
  if (size_ == 1) return values;
  all_reduce(torch::from_blob(values.data(), {std::ssize(values)}, torch::kFloat64));
  return values;
}

std::uint64_t ProcessGroup::of_first(std::uint64_t value) {
  if (size_ == 1) return value;
  const torch::Tensor shared = torch::full({1}, static_cast<std::int64_t>(value), torch::kInt64);
  broadcast(shared, 0);
  return static_cast<std::uint64_t>(shared.item<std::int64_t>());
}

Tensor ProcessGroup::to_first(const Tensor& mine, const Tensor& like, int owner) {
  if (owner == 0) return is_first() ? mine : Tensor();
  if (owner == rank_) send(mine.detach().contiguous(), 0);
  if (!is_first()) return {};
  const Tensor received = torch::empty(like.sizes(), like.options().requires_grad(false));
  receive(received, owner);
  return received;
}

ProcessGroup& single_process() {
  static SingleProcess single;
  return single;
}

std::vector<int> balanced_owners(std::span<const std::int64_t> sizes, int processes) {
  ONEBIT_CHECK(processes > 0);
  std::vector<std::size_t> order(sizes.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return sizes[a] > sizes[b]; });
  std::vector<std::int64_t> load(static_cast<std::size_t>(processes));
  std::vector<int> owners(sizes.size());
  for (const std::size_t i : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += sizes[i];
    owners[i] = static_cast<int>(least - load.begin());
  }
  return owners;
}

}  // namespace onebit::distill
