// What several processes do together is what one does alone: exchanges, a training step, a block's
// fit, and the ways in which it ends when one of them is lost.
#include "distill/process_group.h"

#include <atomic>
#include <cmath>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <numeric>
#include <torch/utils.h>

#include "arch/test_models.h"
#include "base/error.h"
#include "base/test_paths.h"
#include "distill/block_stage.h"
#include "distill/distiller.h"
#include "distill/student.h"
#include "distill/test_processes.h"
#include "nn/load.h"

namespace onebit::distill {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::run_processes;
using torch::Tensor;

TEST(BalancedOwners, GivesTheLargestToWhoeverHasLeast) {
  EXPECT_THAT(balanced_owners(std::vector<std::int64_t>{5, 1, 4, 3, 3}, 2),
              ElementsAre(0, 1, 1, 1, 0));
  EXPECT_THAT(balanced_owners(std::vector<std::int64_t>{7, 7}, 3), ElementsAre(0, 1));
  EXPECT_THAT(balanced_owners(std::vector<std::int64_t>{}, 3), IsEmpty());
  EXPECT_THAT(balanced_owners(std::vector<std::int64_t>{2, 9}, 1), ElementsAre(0, 0));
}

TEST(ProcessGroup, OneProcessLeavesEverythingAsItIs) {
  ProcessGroup& one = single_process();
  const Tensor x = torch::arange(5.0);
  const OwnedTensor owned[] = {{x, 0}};
  one.average(owned);
  one.share(owned);
  EXPECT_TRUE(torch::equal(x, torch::arange(5.0)));
  EXPECT_THAT(one.sum({1.5, 2}), ElementsAre(1.5, 2));
  EXPECT_FALSE(one.any(false));
  EXPECT_TRUE(one.any(true));
  EXPECT_EQ(one.of_first(~std::uint64_t{0}), ~std::uint64_t{0});
  EXPECT_TRUE(one.to_first(x, x, 0).is_same(x));
}

TEST(ProcessGroup, ExchangesReachTheirOwners) {
  // More than a bucket in all, of two types, sizes that no bucket divides, one of them empty.
  const std::int64_t large = ProcessGroup::kBucketBytes / 4 - 3;
  EXPECT_THAT(
      run_processes(3,
                    [&](ProcessGroup& group) {
                      const double mine = group.rank() + 1;  // 1, 2, 3: mean 2
                      const std::vector<OwnedTensor> tensors = {
                          {torch::full({7}, mine), 0},
                          {torch::full({large}, mine), 1},
                          {torch::full({3, 5}, mine, torch::kFloat64), 1},
                          {torch::full({0}, mine), 2},
                          {torch::full({11, 2}, mine), 1},
                          {torch::full({1}, mine), 2}};
                      group.average(tensors);
                      for (const OwnedTensor& t : tensors) {
                        if (t.owner != group.rank()) continue;
                        EXPECT_TRUE(torch::all(t.tensor == 2).item<bool>());
                      }
                      for (const OwnedTensor& t : tensors) Tensor(t.tensor).fill_(mine);
                      group.share(tensors);
                      for (const OwnedTensor& t : tensors) {
                        EXPECT_TRUE(torch::all(t.tensor == t.owner + 1).item<bool>());
                      }
                      EXPECT_THAT(group.sum({mine, -mine}), ElementsAre(6, -6));
                      EXPECT_TRUE(group.any(group.rank() == 2));
                      EXPECT_FALSE(group.any(false));
                      EXPECT_EQ(
                          group.of_first(~std::uint64_t{0} - static_cast<unsigned>(group.rank())),
                          ~std::uint64_t{0});
                      for (int owner = 0; owner < 3; ++owner) {
                        const Tensor like = torch::zeros({2, 3});
                        const bool own = owner == group.rank();
                        const Tensor got =
                            group.to_first(own ? torch::full({2, 3}, mine) : Tensor(), like, owner);
                        ASSERT_EQ(got.defined(), group.is_first());
                        EXPECT_TRUE(!got.defined() || torch::all(got == owner + 1).item<bool>());
                      }
                      // The others go on only when the first is done.
                      static std::atomic<int> work = 0;
                      group.first_does([] { ++work; });
                      EXPECT_EQ(work, 1);
                    }),
      Each(IsEmpty()));
}

TEST(ProcessGroup, WhenTheFirstFailsSoDoTheOthers) {
  const auto errors = run_processes(2, [](ProcessGroup& group) {
    group.first_does([] { throw Error(ErrorCode::kIo, "the disk is full"); });
  });
  EXPECT_EQ(errors[0], "the disk is full");
  EXPECT_THAT(errors[1], HasSubstr("process 1 of 2"));
  EXPECT_THAT(errors[1], HasSubstr("waiting for process 0"));
}

TEST(ProcessGroup, ALostOrSilentProcessEndsTheOthers) {
  const auto lost = run_processes(
      2,
      [](ProcessGroup& group) {
        if (group.is_first()) group.sum({1});
      },
      std::chrono::seconds(5));
  EXPECT_THAT(lost[0], HasSubstr("process 0 of 2"));
  EXPECT_THAT(lost[0], Not(HasSubstr("\n")));
  EXPECT_THAT(lost[1], IsEmpty());

  const auto silent = run_processes(
      2,
      [](ProcessGroup& group) {
        if (group.is_first()) group.sum({1});
        std::this_thread::sleep_for(std::chrono::seconds(3));
      },
      std::chrono::seconds(1));
  EXPECT_THAT(silent[0], HasSubstr("lost another process, or it took too long"));

  const std::uint16_t port = testing::free_port();
  try {
    connect({.rank = 1, .size = 2, .address = "127.0.0.1", .port = port}, std::chrono::seconds(1));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kResource);
    EXPECT_THAT(error.what(), HasSubstr("meeting"));
  }
}

/// A model in a file, the same in every process: stories260K where it is, else a tiny one.
class Teacher {
 public:
  Teacher() {
    if (std::filesystem::exists(path_)) return;
    path_ = folder_ / "t.gguf";
    arch::test_models::write_gguf(
        arch::test_models::random_model(arch::test_models::tiny_config(), 3), path_,
        formats::DType::kF32, /*tokenizer=*/true);
  }
  const std::filesystem::path& path() const { return path_; }

 private:
  const onebit::testing::TempDir folder_;
  std::filesystem::path path_ = onebit::testing::model("stories260k.gguf");
};

double largest(const Tensor& tensor) { return tensor.abs().max().item<double>(); }

/// A teacher and the start of a student, the same in every process.
class Parallel : public ::testing::Test {
 protected:
  struct Models {
    std::unique_ptr<nn::DecoderModel> teacher;
    std::unique_ptr<nn::DecoderModel> student;
  };

  static Models models(torch::ScalarType compute) {
    const Teacher file;
    const arch::Checkpoint teacher = arch::Checkpoint::open(file.path());
    Recipe recipe = best_recipe();
    recipe.form = arch::Form::kPaper;
    recipe.compute = compute;
    Models result;
    result.teacher = nn::load_dense(teacher, compute);
    ThreadPool pool(1);
    result.student = start_student(teacher, result.teacher->frozen(), recipe, pool, {});
    return result;
  }

  static LossOptions loss() {
    LossOptions loss;
    loss.logit.alpha = 0.7;
    loss.gamma = 0.5;
    return loss;
  }

  /// Sequence `i` of the data.
  static Tensor sequence(std::int64_t i) {
    return (torch::arange(16).mul(i * i + 3).add(i * 7)).remainder(34).add(3).unsqueeze(0);
  }

  struct Trained {
    std::vector<Tensor> parameters;
    std::vector<double> losses;
    std::int64_t moments = 0;  ///< values held
  };

  /// Twenty steps of two micro-batches of `together` sequences, of which each process of the group
  /// takes its part.
  static Trained train(torch::ScalarType compute, ProcessGroup& group, std::int64_t together) {
    const Models m = models(compute);
    Distiller distiller(m.teacher.get(), *m.student, loss(), AdamOptions{}, group);
    const std::int64_t own = together / group.size();
    Trained result;
    for (std::int64_t step = 0; step < 20; ++step) {
      std::vector<Tensor> batches;
      for (std::int64_t i = 0; i < 2; ++i) {
        std::vector<Tensor> rows;
        for (std::int64_t j = 0; j < own; ++j) {
          rows.push_back(sequence((step * 2 + i) * together + group.rank() * own + j));
        }
        batches.push_back(torch::cat(rows));
      }
      result.losses.push_back(distiller.step(batches, 3e-3).loss);
    }
    for (const nn::Parameter& p : distiller.optimizer().parameters()) {
      result.parameters.push_back(p.value.detach());
    }
    for (const Tensor& t : distiller.optimizer().first_moments()) {
      if (t.defined()) result.moments += t.numel();
    }
    return result;
  }
};

TEST_F(Parallel, TwoProcessesTrainAsOneWithTheDoubledBatch) {
  for (const auto compute : {torch::kFloat64, torch::kFloat32}) {
    const Trained one = train(compute, single_process(), 4);
    EXPECT_LT(one.losses.back(), one.losses.front());
    Trained two[2];
    EXPECT_THAT(run_processes(
                    2, [&](ProcessGroup& group) { two[group.rank()] = train(compute, group, 4); }),
                Each(IsEmpty()));
    double loss_difference = 0;
    for (std::size_t i = 0; i < one.losses.size(); ++i) {
      const double difference = std::abs(two[0].losses[i] - one.losses[i]);
      loss_difference = std::max(loss_difference, difference);
      EXPECT_LT(difference, compute == torch::kFloat64 ? 1e-11 : 1e-5);
      EXPECT_EQ(two[0].losses[i], two[1].losses[i]);
    }
    double parameter_difference = 0;
    for (std::size_t i = 0; i < one.parameters.size(); ++i) {
      EXPECT_TRUE(torch::equal(two[0].parameters[i], two[1].parameters[i]));
      parameter_difference =
          std::max(parameter_difference, largest(two[0].parameters[i] - one.parameters[i]));
    }
    // tools/accept/processes.py prints these.
    if (compute == torch::kFloat64) {
      EXPECT_LT(parameter_difference, 1e-9);
      RecordProperty("f64_parameters", fmt::format("{:.2g}", parameter_difference));
    } else {
      RecordProperty("f32_losses", fmt::format("{:.2g}", loss_difference));
    }
    RecordProperty("moments", fmt::format("{:.3f}", static_cast<double>(two[0].moments) /
                                                        static_cast<double>(one.moments)));
    // Each holds about half of the moments.
    EXPECT_EQ(two[0].moments + two[1].moments, one.moments);
    EXPECT_NEAR(static_cast<double>(two[0].moments), 0.5 * static_cast<double>(one.moments),
                0.1 * static_cast<double>(one.moments));
  }
}

TEST_F(Parallel, TheAveragedGradientIsThatOfTheDoubledBatch) {
  const auto gradients = [](ProcessGroup& group, std::vector<std::int64_t> rows) {
    const Models m = models(torch::kFloat32);
    Distiller distiller(m.teacher.get(), *m.student, loss(), AdamOptions{}, group);
    std::vector<Tensor> batch;
    for (const std::int64_t row : rows) batch.push_back(sequence(row));
    distiller.accumulate(torch::cat(batch), 1.0);
    std::vector<OwnedTensor> result;
    for (const nn::Parameter& p : m.student->parameters()) result.push_back({p.value.grad(), 0});
    group.average(result);
    return result;
  };
  const auto one = gradients(single_process(), {0, 1, 2, 3});
  std::vector<OwnedTensor> first;
  EXPECT_THAT(run_processes(2,
                            [&](ProcessGroup& group) {
                              const std::int64_t own = 2 * group.rank();
                              auto mean = gradients(group, {own, own + 1});
                              if (group.is_first()) first = std::move(mean);
                            }),
              Each(IsEmpty()));
  double worst = 0;
  for (std::size_t i = 0; i < one.size(); ++i) {
    const double size = std::max(1.0, largest(one[i].tensor));
    worst = std::max(worst, largest(first[i].tensor - one[i].tensor) / size);
  }
  EXPECT_LT(worst, 1e-6);
  RecordProperty("f32_gradient", fmt::format("{:.2g}", worst));
}

/// A model's blocks, whose fits are kept.
class BlocksInMemory final : public BlockStore {
 public:
  std::int64_t layers() const override { return teacher_.config().layers; }
  BlockPair load(std::int64_t layer) override {
    Recipe recipe = best_recipe();
    recipe.compute = torch::kFloat64;
    BlockPair pair;
    pair.teacher = nn::load_block(teacher_, torch::kFloat64, layer);
    ThreadPool pool(1);
    pair.student = start_student(teacher_, pair.teacher->frozen(), recipe, pool, {}, {layer, 1});
    return pair;
  }
  bool restore(std::int64_t, nn::DecoderModel&) override { return false; }
  void keep(std::int64_t layer, const nn::DecoderModel& student, double loss) override {
    for (const nn::Parameter& p : student.block_parameters(layer)) {
      results.push_back(p.value.detach().clone());
    }
    results.push_back(torch::tensor({loss}, torch::kFloat64));
  }
  void on_retry(std::int64_t, const std::string& reason, double) override {
    ADD_FAILURE() << reason;
  }

  std::vector<Tensor> results;

 private:
  const Teacher file_;
  const arch::Checkpoint teacher_ = arch::Checkpoint::open(file_.path());
};

TEST_F(Parallel, TwoProcessesFitBlocksAsOneWithTheDoubledBatch) {
  const auto fit = [](ProcessGroup& group) {
    BlockStageOptions options;
    options.steps = 6;
    options.batch = 4 / group.size();
    std::vector<Tensor> rows;
    for (std::int64_t i = 0; i < 8; ++i) {
      if (i / options.batch % group.size() == group.rank()) rows.push_back(sequence(i));
    }
    BlocksInMemory blocks;
    NoProgress progress;
    const Models m = models(torch::kFloat64);
    const Tensor tokens = torch::cat(rows);
    fit_blocks(blocks, {m.teacher->embed(tokens), m.teacher->embed(tokens)}, {}, options,
               AdamOptions{}, group, progress, {});
    return blocks.results;
  };
  const std::vector<Tensor> one = fit(single_process());
  std::vector<Tensor> two[2];
  EXPECT_THAT(run_processes(2, [&](ProcessGroup& group) { two[group.rank()] = fit(group); }),
              Each(IsEmpty()));
  for (std::size_t i = 0; i < one.size(); ++i) {
    EXPECT_TRUE(torch::equal(two[0][i], two[1][i]));
    EXPECT_LT(largest(two[0][i] - one[i]), 1e-9);
  }
}

}  // namespace
}  // namespace onebit::distill
