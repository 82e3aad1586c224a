#include "distill/process_group_c10d.h"

#include <algorithm>
#include <c10/util/Logging.h>
#include <fmt/format.h>
#include <string_view>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/error.h"

namespace onebit::distill {
namespace {

using torch::Tensor;
using Milliseconds = std::chrono::milliseconds;

/// Prefix of our keys in a store that a launcher may use too.
const std::string kPrefix = "onebit/";
/// What the first process sets after its work, and to what.
constexpr const char* kWorkKey = "first_does/";
constexpr const char* kDone = "done";
constexpr const char* kFailed = "failed";
/// How long the others wait for it: it may write text for hours. When it dies, they notice.
constexpr Milliseconds kWorkTimeout = std::chrono::hours(24 * 30);

std::string text_of(const std::vector<std::uint8_t>& bytes) { return {bytes.begin(), bytes.end()}; }

/// The first line of libtorch's message, without its "[address:port]: " and source locations.
std::string reason_of(const std::exception& error) {
  std::string text = error.what();
  text.resize(std::min(text.find('\n'), text.size()));
  if (text.starts_with('[')) {
    const std::size_t end = text.find("] ");
    if (end != std::string::npos) text.erase(0, end + 2);
  }
  return text;
}

class C10dGroup final : public ProcessGroup {
 public:
  C10dGroup(const Launch& launch, Milliseconds timeout, torch::Device device,
            const BackendFactory& make_backend)
      : ProcessGroup(launch.rank, launch.size), launch_(launch), device_(device) {
    guarded("meeting", [&] {
      c10d::TCPStoreOptions options;
      options.port = launch.port;
      options.isServer = launch.rank == 0 && !launch.store_exists;
      options.timeout = timeout;
      if (!launch.store_exists) options.numWorkers = static_cast<std::size_t>(launch.size);
      store_ = c10::make_intrusive<c10d::PrefixStore>(
          kPrefix + launch.attempt, c10::make_intrusive<c10d::TCPStore>(launch.address, options));
      backend_ = make_backend(store_, launch_, timeout);
    });
  }

  void first_does(const std::function<void()>& work) override {
    const std::string key = kWorkKey + std::to_string(works_++);
    if (is_first()) {
      try {
        work();
      } catch (...) {
        try {
          say(key, kFailed);
        } catch (const std::exception&) {  // nobody listens: the work's error is what matters
        }
        throw;
      }
      guarded("telling the others", [&] { say(key, kDone); });
      return;
    }
    std::string answer;
    guarded("waiting for process 0", [&] {
      store_->wait({key}, kWorkTimeout);
      answer = text_of(store_->get(key));
    });
    if (answer != kDone) fail("waiting for process 0", "it failed");
  }

 private:
  void reduce(Tensor tensor, int root) override {
    c10d::ReduceOptions options;
    options.rootRank = root;
    exchange("averaging gradients", tensor,
             [&](std::vector<Tensor>& t) { return backend_->reduce(t, options); });
  }

  void all_reduce(Tensor tensor) override {
    exchange("adding numbers up", tensor,
             [&](std::vector<Tensor>& t) { return backend_->allreduce(t); });
  }

  void broadcast(Tensor tensor, int root) override {
    c10d::BroadcastOptions options;
    options.rootRank = root;
    exchange("sharing parameters", tensor,
             [&](std::vector<Tensor>& t) { return backend_->broadcast(t, options); });
  }

  void send(Tensor tensor, int to) override {
    exchange("sending moments", tensor,
             [&](std::vector<Tensor>& t) { return backend_->send(t, to, 0); });
  }

  void receive(Tensor tensor, int from) override {
    exchange("receiving moments", tensor,
             [&](std::vector<Tensor>& t) { return backend_->recv(t, from, 0); });
  }

  /// Starts and ends one exchange, of a copy where the tensor is not on the group's device.
  template <class Start>
  void exchange(const char* what, Tensor& tensor, Start&& start) {
    guarded(what, [&] {
      std::vector<Tensor> tensors = {tensor.to(device_)};
      start(tensors)->wait();
      if (!tensors[0].is_same(tensor)) tensor.copy_(tensors[0]);
    });
  }

  void say(const std::string& key, std::string_view word) {
    store_->set(key, std::vector<std::uint8_t>(word.begin(), word.end()));
  }

  template <class Work>
  void guarded(const char* what, Work&& work) {
    try {
      work();
    } catch (const std::exception& error) {
      fail(what, reason_of(error));
    }
  }

  [[noreturn]] void fail(const char* what, const std::string& reason) const {
    throw Error(ErrorCode::kResource,
                fmt::format("process {} of {} at {}:{}: {}: lost another process, or it took too "
                            "long: {}",
                            rank(), size(), launch_.address, launch_.port, what, reason));
  }

  Launch launch_;
  torch::Device device_;
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::Backend> backend_;
  int works_ = 0;
};

}  // namespace

std::unique_ptr<ProcessGroup> connect(const Launch& launch, std::chrono::seconds timeout,
                                      torch::Device device, const BackendFactory& make_backend) {
  FLAGS_caffe2_log_level = c10::GLOG_FATAL;  // it would print what it throws, with traces
  return std::make_unique<C10dGroup>(launch, timeout, device, make_backend);
}

}  // namespace onebit::distill
