// The group of several processes: c10d with Gloo. Its own file, because the wheel lacks Gloo's
// headers (they are Debian's libgloo-dev) and c10d's are large.
#define USE_C10D_GLOO
#include <c10/util/Logging.h>
#include <chrono>
#include <fmt/format.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "base/error.h"
#include "distill/process_group.h"

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
  C10dGroup(const Launch& launch, Milliseconds timeout)
      : ProcessGroup(launch.rank, launch.size), launch_(launch) {
    guarded("meeting", [&] {
      c10d::TCPStoreOptions options;
      options.port = launch.port;
      options.isServer = launch.rank == 0 && !launch.store_exists;
      options.timeout = timeout;
      if (!launch.store_exists) options.numWorkers = static_cast<std::size_t>(launch.size);
      store_ = c10::make_intrusive<c10d::PrefixStore>(
          kPrefix + launch.attempt, c10::make_intrusive<c10d::TCPStore>(launch.address, options));
      const auto gloo = c10d::ProcessGroupGloo::Options::create(timeout);
      gloo->devices.push_back(
          launch.interface.empty()
              ? c10d::ProcessGroupGloo::createDefaultDevice()
              : c10d::ProcessGroupGloo::createDeviceForInterface(launch.interface));
      backend_ =
          c10::make_intrusive<c10d::ProcessGroupGloo>(store_, launch.rank, launch.size, gloo);
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
    guarded("averaging gradients", [&] {
      std::vector<Tensor> tensors = {std::move(tensor)};
      c10d::ReduceOptions options;
      options.rootRank = root;
      backend_->reduce(tensors, options)->wait();
    });
  }

  void all_reduce(Tensor tensor) override {
    guarded("adding numbers up", [&] {
      std::vector<Tensor> tensors = {std::move(tensor)};
      backend_->allreduce(tensors)->wait();
    });
  }

  void broadcast(Tensor tensor, int root) override {
    guarded("sharing parameters", [&] {
      std::vector<Tensor> tensors = {std::move(tensor)};
      c10d::BroadcastOptions options;
      options.rootRank = root;
      backend_->broadcast(tensors, options)->wait();
    });
  }

  void send(Tensor tensor, int to) override {
    guarded("sending moments", [&] {
      std::vector<Tensor> tensors = {std::move(tensor)};
      backend_->send(tensors, to, 0)->wait();
    });
  }

  void receive(Tensor tensor, int from) override {
    guarded("receiving moments", [&] {
      std::vector<Tensor> tensors = {std::move(tensor)};
      backend_->recv(tensors, from, 0)->wait();
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
  c10::intrusive_ptr<c10d::Store> store_;
  c10::intrusive_ptr<c10d::Backend> backend_;
  int works_ = 0;
};

}  // namespace

std::unique_ptr<ProcessGroup> connect(const Launch& launch, std::chrono::seconds timeout) {
  FLAGS_caffe2_log_level = c10::GLOG_FATAL;  // it would print what it throws, with traces
  return std::make_unique<C10dGroup>(launch, timeout);
}

}  // namespace onebit::distill
