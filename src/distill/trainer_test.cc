// A whole run on a tiny model: it learns, it is deterministic, an interrupted run goes on as if it
// had never stopped, and what it leaves behind is what it says.
#include "distill/trainer.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <sys/types.h>

#include "arch/test_models.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/test_paths.h"
#include "distill/losses.h"
#include "distill/run_parts.h"
#include "distill/student.h"
#include "distill/test_run.h"
#include "distill/train_state.h"
#include "nn/load.h"

namespace onebit::distill {
namespace {

using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

using testing::Observer;
using testing::Trainer;

TEST_F(Trainer, LearnsAndLeavesWhatItSays) {
  Observer observer;
  const TrainResult result = run(recipe(30), "run", observer);
  EXPECT_LT(result.end.kl, 0.8 * result.start.kl);
  EXPECT_GT(result.end.tokens, 0);
  EXPECT_EQ(result.tokens, 30 * 8 * 16);
  EXPECT_EQ(observer.losses.size(), 30U);
  EXPECT_EQ(observer.saves, (std::vector<std::int64_t>{0, 4, 8, 12, 16, 20, 24, 28, 30}));
  EXPECT_EQ(observer.evaluations, 7);  // 0, 5, …, 25 and 30

  const arch::Checkpoint packed = arch::Checkpoint::open(folder_ / "run" / "model.gguf");
  ASSERT_TRUE(packed.provenance());
  EXPECT_EQ(packed.provenance()->form, arch::Form::kFree);
  EXPECT_EQ(packed.provenance()->source_sha256,
            arch::Checkpoint::open(folder_ / "t.gguf").sha256());

  std::int64_t steps = 0;
  std::int64_t evaluations = 0;
  for (const nlohmann::json& row : rows("run")) {
    evaluations += row.contains("held_out_kl") ? 1 : 0;
    if (!row.contains("loss")) continue;
    EXPECT_EQ(row["step"], ++steps);
  }
  EXPECT_EQ(steps, 30);
  EXPECT_EQ(evaluations, 7);
}

TEST_F(Trainer, SameSettingsSameRun) {
  Observer first;
  Observer second;
  run(recipe(6), "a", first);
  run(recipe(6), "b", second);
  EXPECT_EQ(first.losses, second.losses);
  EXPECT_EQ(state("a"), state("b"));
  Recipe other = recipe(6);
  other.seed = 1;
  Observer third;
  run(other, "c", third);
  EXPECT_NE(first.losses, third.losses);
}

TEST_F(Trainer, ResumedRunIsTheUnbrokenOne) {
  Observer whole;
  run(recipe(9), "whole", whole);
  for (const std::int64_t stop_at : {1, 4, 7}) {
    const std::string name = "broken" + std::to_string(stop_at);
    Observer observer(stop_at);
    try {
      run(recipe(9), name.c_str(), observer);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
      EXPECT_THAT(error.what(), HasSubstr("after step " + std::to_string(stop_at) + " of 9"));
    }
    EXPECT_TRUE(std::filesystem::exists(folder_ / name / "model.gguf"));
    Observer rest;
    run(recipe(9), name.c_str(), rest, /*resume=*/true);
    EXPECT_EQ(rest.losses.size(), static_cast<std::size_t>(9 - stop_at));
    EXPECT_EQ(state(name.c_str()), state("whole"));
  }
}

TEST_F(Trainer, BlocksLearnAndAreResumed) {
  Recipe with_blocks = recipe(2);
  with_blocks.block.steps = 20;
  with_blocks.block.segments = 8;
  Observer whole;
  const TrainResult result = run(with_blocks, "whole", whole);
  ASSERT_EQ(whole.block_errors.size(), 2U);
  EXPECT_EQ(whole.evaluations, 3);  // start, after the blocks, end
  Recipe short_fit = with_blocks;
  short_fit.block.steps = 1;
  Observer hardly;
  run(short_fit, "hardly", hardly);
  for (std::size_t i = 0; i < 2; ++i) EXPECT_LT(whole.block_errors[i], hardly.block_errors[i]);
  EXPECT_LT(result.end.kl, result.start.kl);

  Observer broken;
  broken.stop_at_block = 0;
  EXPECT_THROW(run(with_blocks, "broken", broken), Error);
  EXPECT_EQ(broken.block_errors.size(), 1U);
  Observer rest;
  run(with_blocks, "broken", rest, /*resume=*/true);
  EXPECT_EQ(rest.block_errors, std::vector<double>{whole.block_errors[1]});
  EXPECT_EQ(state("broken"), state("whole"));
}

// Fitted one at a time and packed from their files, they are what the run that goes on begins with.
TEST_F(Trainer, BlocksAloneNeedNoSteps) {
  for (const arch::Form form : {arch::Form::kFree, arch::Form::kFoldable, arch::Form::kPaper}) {
    Recipe r = recipe(1);
    r.form = form;
    r.block.steps = 5;
    const std::string with_steps = fmt::format("steps-{}", word_of(form));
    Observer goes_on;
    goes_on.model = folder_ / with_steps / "model.gguf";
    run(r, with_steps.c_str(), goes_on);
    r.steps = 0;
    const std::string alone = fmt::format("alone-{}", word_of(form));
    Observer ends;
    const TrainResult result = run(r, alone.c_str(), ends);
    EXPECT_EQ(read_file(folder_ / alone / "model.gguf"), goes_on.first_model);
    EXPECT_EQ(result.tokens, 0);
    ASSERT_EQ(goes_on.held_out.size(), 3U);  // start, after the blocks, end
    EXPECT_DOUBLE_EQ(result.start.kl, goes_on.held_out[0]);
    EXPECT_NEAR(result.end.kl, goes_on.held_out[1], 1e-6);
    EXPECT_FALSE(std::filesystem::exists(folder_ / with_steps / "blocks"));
    // Done already: nothing is fitted again.
    Observer again;
    EXPECT_DOUBLE_EQ(run(r, alone.c_str(), again, /*resume=*/true).end.kl, result.end.kl);
    EXPECT_TRUE(again.block_errors.empty());
  }
}

// A run that starts from a packed student begins where that is, with Adam anew.
TEST_F(Trainer, GoesOnFromAPackedStudent) {
  for (const std::int64_t group_size : {0, 16}) {
    for (const arch::Form form : {arch::Form::kFree, arch::Form::kFoldable, arch::Form::kPaper}) {
      if (group_size > 0 && form != arch::Form::kFoldable) continue;
      Recipe r = recipe(12);
      r.form = form;
      r.group_size = group_size;
      const std::string name = fmt::format("{}-{}", word_of(form), group_size);
      Observer first;
      const TrainResult before = run(r, ("first-" + name).c_str(), first);
      start_ = arch::Checkpoint::open(folder_ / ("first-" + name) / "model.gguf");
      Observer second;
      for (const std::int64_t block_steps : {0, 3}) {
        r.block.steps = block_steps;
        const TrainResult after =
            run(r, fmt::format("second-{}-{}", name, block_steps).c_str(), second);
        // Scales are f16 in the file.
        EXPECT_NEAR(after.start.kl, before.end.kl, 2e-3 * before.end.kl) << name;
        EXPECT_NE(after.end.kl, after.start.kl);
      }
      // Once begun it needs the start no more.
      r.block.steps = 0;
      Observer stopped(5);
      EXPECT_THROW(run(r, ("broken-" + name).c_str(), stopped), Error);
      start_.reset();
      Observer rest;
      run(r, ("broken-" + name).c_str(), rest, /*resume=*/true);
      EXPECT_EQ(state(("broken-" + name).c_str()), state(("second-" + name + "-0").c_str()));
    }
  }
}

TEST_F(Trainer, TrainedNormsOfAStartAreTrainedOn) {
  Recipe r = recipe(6);
  r.train_norms = true;
  Observer observer;
  const TrainResult before = run(r, "first", observer);
  start_ = arch::Checkpoint::open(folder_ / "first" / "model.gguf");
  EXPECT_NEAR(run(r, "second", observer).start.kl, before.end.kl, 2e-3 * before.end.kl);
  r.train_norms = false;
  try {
    run(r, "third", observer);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("blk.0.attn_norm: found a norm that was trained"));
  }
}

// Before the first block as after it, and no block is fitted for a start that is refused.
TEST_F(Trainer, BlocksBeginWithTheEndsOfAStart) {
  Recipe r = recipe(6);
  r.train_norms = r.train_ends = true;
  Observer observer;
  const TrainResult before = run(r, "first", observer);
  start_ = arch::Checkpoint::open(folder_ / "first" / "model.gguf");
  r.steps = 0;
  r.block.steps = 3;
  // Scales are f16 in the file.
  EXPECT_NEAR(run(r, "alone", observer).start.kl, before.end.kl, 2e-3 * before.end.kl);
  const arch::Checkpoint alone = arch::Checkpoint::open(folder_ / "alone" / "model.gguf");
  const arch::Checkpoint teacher = arch::Checkpoint::open(folder_ / "t.gguf");
  for (const arch::Role role :
       {arch::Role::kTokenEmbedding, arch::Role::kOutput, arch::Role::kOutputNorm}) {
    const torch::Tensor values = nn::read_dense(alone, role, -1);
    EXPECT_TRUE(torch::equal(values, nn::read_dense(*start_, role, -1)));
    EXPECT_FALSE(torch::equal(values, nn::read_dense(teacher, role, -1)));
  }
  r.steps = 1;
  Observer goes_on;
  goes_on.model = folder_ / "steps" / "model.gguf";
  run(r, "steps", goes_on);
  EXPECT_EQ(goes_on.first_model, read_file(alone.path()));
  // At a rate of 0 the last quarter of steps, a step for each sequence, says from what a block is
  // fitted: here the start's embeddings, whatever the sequences' order.
  const TokenSegments text = TokenSegments::open(folder_ / "train.tokens");
  Recipe still = r;
  still.steps = 0;
  still.block.learning_rate = 0;
  still.block.segments = text.size();
  still.block.steps = 4 * text.size();
  Observer fitted;
  run(still, "still", fitted);
  const torch::NoGradGuard no_grad;
  const auto model = nn::load_dense(teacher, still.compute);
  const auto student =
      packed_student(teacher, *start_, model->frozen(), still, {0, teacher.config().layers});
  const torch::Tensor tokens =
      gather(text, text.size(), torch::kCPU, [](std::int64_t i) { return i; });
  const double expected = relative_error(student->forward_block(0, student->embed(tokens)),
                                         model->forward_block(0, model->embed(tokens)))
                              .item<double>();
  EXPECT_NEAR(fitted.block_errors[0] / expected, 1, 1e-5);
  for (const auto& [trained, says] :
       {std::pair{&Recipe::train_norms, "found a norm that was trained, expected --train-norms"},
        {&Recipe::train_ends,
         "token_embd: found a matrix that was trained, expected --train-ends"}}) {
    Recipe without = r;
    without.*trained = false;
    Observer none;
    try {
      run(without, "refused", none);
      ADD_FAILURE() << "no error, expected " << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
      EXPECT_THAT(error.what(), HasSubstr(says));
    }
    EXPECT_TRUE(none.block_errors.empty());
  }
}

TEST_F(Trainer, AStartMustFitItsTeacher) {
  Observer observer;
  run(recipe(1), "run", observer);
  const arch::Checkpoint teacher = arch::Checkpoint::open(folder_ / "t.gguf");
  const arch::Checkpoint packed = arch::Checkpoint::open(folder_ / "run" / "model.gguf");
  const auto fails = [&](const arch::Checkpoint& start, const Recipe& r, const char* says) {
    try {
      require_start(start, teacher, r);
      ADD_FAILURE() << "no error, expected " << says;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_THAT(error.what(), HasSubstr(says));
    }
  };
  EXPECT_NO_THROW(require_start(packed, teacher, recipe(1)));
  fails(teacher, recipe(1), "found a full-precision model");
  Recipe other = recipe(1);
  other.form = arch::Form::kPaper;
  fails(packed, other, "found a student of the form free with groups of 0, expected paper");
  arch::ModelConfig config = arch::test_models::tiny_config();
  ++config.layers;
  arch::test_models::write_gguf(arch::test_models::random_model(config, 3), folder_ / "u.gguf",
                                formats::DType::kF32, /*tokenizer=*/true);
  const arch::Checkpoint larger = arch::Checkpoint::open(folder_ / "u.gguf");
  try {
    require_start(packed, larger, recipe(1));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("found 2 layers, expected 3 as in"));
  }
}

TEST_F(Trainer, KeepsOlderCheckpointsThatRunsGoOnFrom) {
  keep_ = 2;
  Observer whole;
  run(recipe(15), "run", whole);
  const auto kept = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder_ / "run" / "checkpoints")) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  };
  EXPECT_THAT(kept(), UnorderedElementsAre("8.safetensors", "12.safetensors", "15.safetensors"));
  const std::string end = state("run");
  const auto checkpoint = [&](const char* step) {
    return read_file(folder_ / "run" / "checkpoints" / fmt::format("{}.safetensors", step));
  };
  EXPECT_EQ(checkpoint("15"), end);
  EXPECT_NE(checkpoint("12"), end);
  const std::string torn = fmt::format("{}", std::numeric_limits<pid_t>::max());  // none is so high
  write_file(folder_ / "run" / "checkpoints" / ("15.safetensors.tmp-" + torn), "killed");
  // As `cp` does it: into the file that is there.
  std::ofstream(folder_ / "run" / "state.safetensors", std::ios::binary) << checkpoint("8");
  EXPECT_EQ(checkpoint("15"), end);
  EXPECT_EQ(checkpoint("8"), state("run"));
  Observer rest(9);
  EXPECT_THROW(run(recipe(15), "run", rest, /*resume=*/true), Error);
  EXPECT_THAT(kept(), UnorderedElementsAre("8.safetensors", "9.safetensors"));
  run(recipe(15), "run", whole, /*resume=*/true);
  EXPECT_EQ(state("run"), end);
  EXPECT_THAT(kept(), UnorderedElementsAre("9.safetensors", "12.safetensors", "15.safetensors"));
}

TEST_F(Trainer, TrainedNormsAreSavedPackedAndResumed) {
  Recipe r = recipe(6);
  r.train_norms = true;
  r.form = arch::Form::kFree;  // no scale folds into the norms of the file
  r.block.steps = 4;
  Observer whole;
  run(r, "whole", whole);
  const arch::Checkpoint teacher = arch::Checkpoint::open(folder_ / "t.gguf");
  const arch::Checkpoint student = arch::Checkpoint::open(folder_ / "whole" / "model.gguf");
  for (const auto& [role, layer] : {std::pair{arch::Role::kAttnNorm, 0},
                                    {arch::Role::kFfnNorm, 1},
                                    {arch::Role::kOutputNorm, -1}}) {
    const torch::Tensor before = nn::read_dense(teacher, role, layer);
    const torch::Tensor after = nn::read_dense(student, role, layer);
    EXPECT_FALSE(torch::equal(before, after));
    EXPECT_TRUE(torch::allclose(before, after, 0, 0.1));
  }
  Observer broken(3);
  EXPECT_THROW(run(r, "broken", broken), Error);
  Observer rest;
  run(r, "broken", rest, /*resume=*/true);
  EXPECT_EQ(state("broken"), state("whole"));
}

TEST_F(Trainer, GradientCheckpointingChangesNothing) {
  Recipe r = recipe(5);
  r.loss.beta = 1;
  r.loss.gamma = 0.5;
  Observer plain;
  run(r, "plain", plain);
  gradient_checkpointing_ = true;
  Observer other;
  run(r, "other", other);
  ASSERT_EQ(plain.losses.size(), other.losses.size());
  for (std::size_t i = 0; i < plain.losses.size(); ++i) {
    EXPECT_NEAR(other.losses[i] / plain.losses[i], 1, 1e-4) << i;  // f32, sums in another order
  }
}

// A gradient of zero under an epsilon of zero is 0/0: no lower rate helps.
TEST_F(Trainer, GivesUpAfterTheStatedNumberOfReturns) {
  Recipe r = recipe(9);
  r.adam.eps = 0;
  r.loss.logit.scale = 0;
  Observer observer;
  try {
    run(r, "run", observer);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kNumeric);
    EXPECT_THAT(error.what(), HasSubstr("step 2: the loss is"));
    EXPECT_THAT(error.what(), HasSubstr("also after 5 returns to step 0 at half the rate each"));
  }
  ASSERT_EQ(observer.rollbacks.size(), static_cast<std::size_t>(kMaxRollbacks));
  EXPECT_THAT(observer.rollbacks.back(), HasSubstr("> 0 x0.03125"));
  // What was found at the step returned to stays in the record.
  std::int64_t evaluations = 0;
  std::int64_t returns = 0;
  for (const nlohmann::json& row : rows("run")) {
    evaluations += row.contains("held_out_kl") ? 1 : 0;
    returns += row.contains("rolled_back") ? 1 : 0;
  }
  EXPECT_EQ(evaluations, 1);
  EXPECT_EQ(returns, kMaxRollbacks);
}

// A stop before the first step of a process says what there is to go on from.
TEST_F(Trainer, AnEarlyStopSaysWhatIsSaved) {
  const auto says = [&](const Recipe& r, Observer& observer, bool resume) -> std::string {
    try {
      run(r, "run", observer, resume);
      ADD_FAILURE() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInterrupted);
      return error.what();
    }
    return "";
  };
  Observer at_once;
  at_once.source.request_stop();
  EXPECT_EQ(says(recipe(9), at_once, false), "interrupted before the first step; nothing saved");
  Recipe r = recipe(9);
  r.block.steps = 1;
  Observer after_blocks(2);
  after_blocks.stop_at_block = 1;
  EXPECT_THAT(says(r, after_blocks, false), HasSubstr("interrupted after 2 of 2 blocks; saved in"));
  Observer later(2);
  EXPECT_THAT(says(r, later, true), HasSubstr("interrupted after step 2 of 9; saved in"));
  EXPECT_THAT(says(r, at_once, true), HasSubstr("interrupted before another step; saved in"));
}

TEST_F(Trainer, ResumeNamesWhatChanged) {
  Observer observer(2);
  EXPECT_THROW(run(recipe(9), "run", observer), Error);
  const auto error_of = [&](const Recipe& changed) -> std::string {
    Observer rest;
    try {
      run(changed, "run", rest, /*resume=*/true);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "";
  };
  Recipe changed = recipe(9);
  changed.learning_rate = 0.5;
  EXPECT_THAT(error_of(changed),
              HasSubstr(fmt::format("has lr = {}, found 0.5 now", recipe(9).learning_rate)));
  EXPECT_THAT(error_of(recipe(10)), HasSubstr("steps = 9, found 10 now"));

  // Another teacher, then a torn state.
  arch::test_models::write_gguf(
      arch::test_models::random_model(arch::test_models::tiny_config(), 4), folder_ / "t.gguf",
      formats::DType::kF32, true);
  EXPECT_THAT(error_of(recipe(9)), HasSubstr("another teacher"));
  const std::string whole = state("run");
  write_file(folder_ / "run" / "state.safetensors", whole.substr(0, whole.size() / 2));
  Observer rest;
  try {
    run(recipe(9), "run", rest, true);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
    EXPECT_THAT(error.what(), HasSubstr("state.safetensors"));
  }
}

TEST_F(Trainer, RefusesSequencesBeyondTheContext) {
  const arch::Checkpoint teacher = arch::Checkpoint::open(folder_ / "t.gguf");
  Recipe r = recipe(1);
  r.length = teacher.config().context;
  EXPECT_NO_THROW(require_teacher(teacher, r));
  ++r.length;
  try {
    require_teacher(teacher, r);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("the model's context"));
  }
}

// Two micro-batches are one batch of both, in either reduction: the loss is a mean over sequences.
TEST_F(Trainer, MicroBatchesAddUpToTheirBatch) {
  const arch::Checkpoint source = arch::Checkpoint::open(folder_ / "t.gguf");
  const torch::Tensor both =
      torch::randint(3, 37, {4, 16}, torch::make_generator<at::CPUGeneratorImpl>(1),
                     torch::TensorOptions(torch::kInt64));
  for (const LogitReduction reduction : {LogitReduction::kPerSequence, LogitReduction::kPerToken}) {
    std::vector<std::vector<torch::Tensor>> ends;
    for (const bool split : {false, true}) {
      Recipe r = paper_recipe();
      r.compute = torch::kFloat64;
      r.loss.logit.reduction = reduction;
      r.loss.logit.alpha = 0.7;
      const auto teacher = nn::load_dense(source, r.compute);
      ThreadPool pool(1);
      const auto student = start_student(source, teacher->frozen(), r, pool, {});
      Distiller distiller(teacher.get(), *student, r.loss, r.adam);
      std::vector<torch::Tensor> batches = {both};
      if (split) batches = {both.narrow(0, 0, 2), both.narrow(0, 2, 2)};
      distiller.step(batches, 1e-3);
      ends.emplace_back();
      for (const torch::Tensor& moment : distiller.optimizer().first_moments()) {
        ends.back().push_back(moment.clone());
      }
    }
    for (std::size_t i = 0; i < ends[0].size(); ++i) {
      const double size = ends[0][i].norm().item<double>();
      EXPECT_LE((ends[0][i] - ends[1][i]).norm().item<double>(), 1e-12 * size) << i;
    }
  }
}

// docs/cli.md: `copy` keeps W itself as the latent weight, whatever the recipe started from.
TEST_F(Trainer, CopyKeepsTheWeights) {
  const arch::Checkpoint source = arch::Checkpoint::open(folder_ / "t.gguf");
  Recipe r = paper_recipe();
  r.compute = torch::kFloat32;
  choose_init(r, quant::Init::kCopy);
  const auto teacher = nn::load_dense(source, r.compute);
  ThreadPool pool(1);
  const auto student = start_student(source, teacher->frozen(), r, pool, {});
  std::map<std::string, torch::Tensor> parameters;
  for (const nn::Parameter& p : student->parameters()) parameters[p.name] = p.value.detach();
  std::size_t compared = 0;
  for (const arch::TensorSpec& spec : source.config().arch->tensors) {
    if (!spec.linear) continue;
    for (std::int64_t layer = 0; layer < source.config().layers; ++layer) {
      const std::string name = arch::gguf_name(spec, layer);
      const torch::Tensor latent = parameters.at(name + ".latent");
      std::vector<float> w(static_cast<std::size_t>(latent.numel()));
      source.read_f32(spec.role, layer, w);
      EXPECT_TRUE(std::equal(w.begin(), w.end(), latent.const_data_ptr<float>())) << name;
      EXPECT_TRUE(parameters.at(name + ".g").eq(1).all().item<bool>()) << name;
      EXPECT_TRUE(parameters.at(name + ".h").eq(1).all().item<bool>()) << name;
      ++compared;
    }
  }
  EXPECT_EQ(3 * compared, parameters.size());
}

TEST(Adam, ScalesDecayUnlessToldOtherwise) {
  for (const bool decay : {true, false}) {
    const auto one = [] { return torch::ones({2}, torch::kFloat64).requires_grad_(); };
    const std::vector<nn::Parameter> parameters = {{"latent", one(), nn::ParameterKind::kLatent},
                                                   {"g", one(), nn::ParameterKind::kScale}};
    AdamOptions options;
    options.weight_decay = 0.5;
    options.decay_scales = decay;
    Adam adam(parameters, options);
    for (const nn::Parameter& p : parameters) p.value.mutable_grad() = torch::zeros_like(p.value);
    adam.step(0.1);  // without a gradient only w (1 - 0.1 · 0.5) is left
    EXPECT_DOUBLE_EQ(parameters[0].value[0].item<double>(), 0.95);
    EXPECT_DOUBLE_EQ(parameters[1].value[0].item<double>(), decay ? 0.95 : 1.0);
  }
}

TEST(Recipe, ComesBackFromItsJson) {
  for (const char* name : {"best", "paper"}) {
    Recipe recipe = recipe_by_name(name);
    recipe.seed = ~std::uint64_t{0};
    const nlohmann::ordered_json object = to_json(recipe);
    EXPECT_EQ(to_json(recipe_from_json(object)), object);
    for (const auto& [key, value] : object.items()) {
      nlohmann::ordered_json broken = object;
      broken[key] = nlohmann::json::array();
      EXPECT_THROW(recipe_from_json(broken), Error) << key;
      broken.erase(key);
      EXPECT_THROW(recipe_from_json(broken), Error) << key;
    }
  }
}

TEST_F(Trainer, RefusesAPackedTeacher) {
  Observer observer;
  run(recipe(1), "run", observer);
  std::filesystem::copy_file(folder_ / "run" / "model.gguf", folder_ / "t.gguf",
                             std::filesystem::copy_options::overwrite_existing);
  try {
    Observer second;
    run(recipe(1), "again", second);
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_THAT(error.what(), HasSubstr("already quantised by method 'onebit'"));
  }
}

TEST_F(Trainer, FoldableStudentsLearnAreResumedAndPacked) {
  for (const std::int64_t group_size : {0, 16, 32}) {
    Recipe r = recipe(9);
    r.form = arch::Form::kFoldable;
    r.group_size = group_size;
    r.block.steps = 6;
    const std::string name = "whole" + std::to_string(group_size);
    Observer whole;
    const TrainResult result = run(r, name.c_str(), whole);
    EXPECT_LT(result.end.kl, result.start.kl);
    const arch::Checkpoint packed = arch::Checkpoint::open(folder_ / name / "model.gguf");
    EXPECT_EQ(packed.provenance()->group_size, group_size);
    const std::string broken = "broken" + std::to_string(group_size);
    Observer stopped(5);
    EXPECT_THROW(run(r, broken.c_str(), stopped), Error);
    Observer rest;
    run(r, broken.c_str(), rest, /*resume=*/true);
    EXPECT_EQ(state(broken.c_str()), state(name.c_str()));
  }
}

// Every start and form trains: a few steps lower the loss on the data itself.
TEST_F(Trainer, EveryStartAndFormTrains) {
  for (const char* name : {"best", "paper"}) {
    for (const quant::Init init : {quant::Init::kNmf, quant::Init::kSvd, quant::Init::kCopy}) {
      Recipe r = recipe_by_name(name);
      r.compute = torch::kFloat32;
      r.length = 16;
      r.batch = 4;
      r.steps = 12;
      r.warmup = 0;
      choose_init(r, init);
      Observer observer;
      const TrainResult result =
          run(r, (name + std::to_string(static_cast<int>(init))).c_str(), observer);
      EXPECT_LT(result.end.kl, result.start.kl) << name << " " << static_cast<int>(init);
    }
  }
  EXPECT_THROW(recipe_by_name("good"), Error);
}

}  // namespace
}  // namespace onebit::distill
