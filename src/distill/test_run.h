// Whole runs on a tiny model, for tests of what training does and leaves behind.
#pragma once

#include <filesystem>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/rng.h"
#include "base/test_paths.h"
#include "distill/data.h"
#include "distill/trainer.h"

namespace onebit::distill::testing {

/// Requests a stop at a step.
class Observer final : public TrainObserver {
 public:
  explicit Observer(std::int64_t stop_at = -1) : stop_at_(stop_at) {}
  std::unique_ptr<Progress> progress(const char*, const char*) override {
    return std::make_unique<NoProgress>();
  }
  void on_block(std::int64_t layer, double error) override {
    block_errors.push_back(error);
    if (layer == stop_at_block) source.request_stop();
  }
  void on_step(std::int64_t step, const StepMetrics& metrics) override {
    losses.push_back(metrics.loss);
    if (step == stop_at_) source.request_stop();
  }
  void on_evaluation(std::int64_t, const Evaluation& e) override {
    ++evaluations;
    held_out.push_back(e.kl);
  }
  void on_save(std::int64_t step) override {
    saves.push_back(step);
    if (step == 0 && !model.empty()) first_model = read_file(model);
  }
  void on_rollback(const std::string& reason, std::int64_t step, double rate_scale) override {
    rollbacks.push_back(fmt::format("{} > {} x{}", reason, step, rate_scale));
  }

  std::int64_t stop_at_block = -1;
  std::vector<double> block_errors;
  std::vector<double> losses;
  std::vector<std::int64_t> saves;
  std::vector<std::string> rollbacks;
  int evaluations = 0;
  std::vector<double> held_out;  ///< divergences
  std::filesystem::path model;   ///< read when step 0 is saved
  std::string first_model;
  std::stop_source source;

 private:
  std::int64_t stop_at_;
};

/// A tiny random teacher and text for it.
class Trainer : public ::testing::Test {
 protected:
  void SetUp() override {
    arch::test_models::write_gguf(
        arch::test_models::random_model(arch::test_models::tiny_config(), 3), folder_ / "t.gguf",
        formats::DType::kF32, /*tokenizer=*/true);
    Rng rng(1);
    std::string rows;
    for (int i = 0; i < 64; ++i) {
      nlohmann::json tokens = nlohmann::json::array();
      for (int t = 0; t < 16; ++t) tokens.push_back(3 + rng.below(34));
      rows += nlohmann::json{{"tokens", tokens}}.dump() + "\n";
    }
    write_file(folder_ / "data.jsonl", rows);
    NoProgress progress;
    const arch::Checkpoint teacher = arch::Checkpoint::open(folder_ / "t.gguf");
    prepare_data({folder_ / "data.jsonl"}, teacher.tokenizer(), {.length = 16, .held_out = 0.2},
                 folder_ / "train.tokens", folder_ / "held_out.tokens", progress, {});
  }

  static Recipe recipe(std::int64_t steps) {
    Recipe recipe = best_recipe();
    recipe.compute = torch::kFloat32;
    recipe.length = 16;
    recipe.steps = steps;
    recipe.accumulate = 2;
    recipe.block.steps = 0;
    return recipe;
  }

  TrainResult run(const Recipe& recipe, const char* name, Observer& observer, bool resume = false) {
    const std::filesystem::path out = folder_ / name;
    std::filesystem::create_directories(out);
    TrainOptions options{.device = device_,
                         .save_every = 4,
                         .eval_every = 5,
                         .keep = keep_,
                         .resume = resume,
                         .gradient_checkpointing = gradient_checkpointing_,
                         .pack = {}};
    options.pack.embedding = options.pack.head = formats::DType::kF32;
    const arch::Checkpoint teacher = arch::Checkpoint::open(folder_ / "t.gguf");
    const arch::Checkpoint* start = start_ ? &*start_ : nullptr;
    const TokenSegments train_text = TokenSegments::open(folder_ / "train.tokens");
    const TokenSegments held_out = TokenSegments::open(folder_ / "held_out.tokens");
    return train({.teacher = teacher,
                  .recipe = recipe,
                  .start = start,
                  .train = train_text,
                  .held_out = held_out,
                  .folder = out,
                  .options = options,
                  .group = single_process(),
                  .observer = observer,
                  .stop = observer.source.get_token()});
  }

  std::string state(const char* name) const {
    return read_file(folder_ / name / "state.safetensors");
  }

  /// Of metrics.jsonl.
  std::vector<nlohmann::json> rows(const char* name) const {
    std::vector<nlohmann::json> result;
    std::ifstream in(folder_ / name / "metrics.jsonl");
    for (std::string line; std::getline(in, line);) result.push_back(nlohmann::json::parse(line));
    return result;
  }

  onebit::testing::TempDir folder_;
  torch::Device device_ = torch::kCPU;
  bool gradient_checkpointing_ = false;
  std::int64_t keep_ = 0;
  std::optional<arch::Checkpoint> start_;
};

}  // namespace onebit::distill::testing
