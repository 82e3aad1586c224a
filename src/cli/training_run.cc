#include "cli/training_run.h"

#include <ATen/Parallel.h>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/atomic_file.h"
#include "base/error.h"
#include "cli/launch.h"
#include "cli/number_text.h"
#include "cli/part_file.h"
#include "cli/synth_file.h"
#include "cli/torch_errors.h"
#include "cuda/cuda.h"
#include "distill/memory.h"
#include "distill/train_state.h"
#include "distill/trainer.h"

namespace onebit::cli {
namespace {

using Json = nlohmann::ordered_json;

void remove_if_there(const std::filesystem::path& file) {
  std::error_code ignored;  // a file too many does no harm
  std::filesystem::remove(file, ignored);
}

/// Tells people how the run goes, and drops what it needs no more once it can be resumed.
class RunObserver final : public distill::TrainObserver {
 public:
  RunObserver(Console& console, std::filesystem::path until_saved)
      : console_(console), until_saved_(std::move(until_saved)) {}

  std::unique_ptr<Progress> progress(const char* label, const char* unit) override {
    return console_.progress(label, unit);
  }

  void on_block(std::int64_t, double) override { remove_if_there(until_saved_); }
  void on_step(std::int64_t, const distill::StepMetrics&) override {}

  void on_evaluation(std::int64_t step, const distill::Evaluation& e) override {
    if (!e.has_teacher) {
      console_.message(LogLevel::kInfo,
                       fmt::format("step {}: held-out perplexity {:.2f} ({} tokens)", step,
                                   std::exp(e.cross_entropy), grouped(e.tokens)));
      return;
    }
    console_.message(
        LogLevel::kInfo,
        fmt::format("step {}: held-out KL {:.4f}, perplexity {:.2f} (the teacher's {:.2f}; "
                    "{} tokens)",
                    step, e.kl, std::exp(e.cross_entropy), std::exp(e.teacher_cross_entropy),
                    grouped(e.tokens)));
  }

  void on_rollback(const std::string& reason, std::int64_t step, double rate_scale) override {
    console_.message(LogLevel::kWarning,
                     fmt::format("{}; going on from step {} with the rates times {:g}", reason,
                                 step, rate_scale));
  }

  void on_save(std::int64_t step) override {
    remove_if_there(until_saved_);
    console_.message(LogLevel::kDebug, fmt::format("step {}: saved", step));
  }

 private:
  Console& console_;
  std::filesystem::path until_saved_;
};

/// The types of what model.gguf stores.
arch::PackOptions types_of(const PackFlags& flags) {
  arch::PackOptions types;
  types.embedding = formats::parse_dtype(flags.embedding);
  types.head = formats::parse_dtype(flags.head);
  types.scales = formats::parse_dtype(flags.scales);
  return types;
}

class TrainingRun {
 public:
  TrainingRun(RunFlags& flags, const RunPlan& plan) : flags_(flags), plan_(plan) {}

  void run(Context& context) {
    const auto begin = std::chrono::steady_clock::now();
    const RunFlags& f = flags_;
    Console& console = context.console;
    const distill::Launch launch = launch_from([](const char* name) { return std::getenv(name); });
    choose_threads(launch);
    const torch::Device device =
        f.device == "cuda" ? cuda::use_gpu(launch.local_rank) : torch::Device(torch::kCPU);
    const std::unique_ptr<distill::ProcessGroup> several = meet(launch, device);
    distill::ProcessGroup& group = several ? *several : distill::single_process();
    // One voice is enough; what ends a process all of them tell.
    if (!group.is_first()) console.set_verbosity(Verbosity::kError);
    const std::filesystem::path folder = f.out;
    require_own_settings();
    require_inputs_stay(folder);
    if (plan_.from_scratch) require_state(folder, group);
    if (plan_.prepare) group.first_does([&] { plan_.prepare(folder); });
    const arch::Checkpoint teacher = arch::Checkpoint::open(plan_.teacher);
    require_head(f.given("--head"), teacher.config(), f.pack);
    if (!plan_.from_scratch) require_state(folder, group);
    std::optional<arch::Checkpoint> start;
    if (!plan_.start.empty()) start = arch::Checkpoint::open(plan_.start);
    distill::Recipe recipe = choose_recipe(teacher, start, device, folder, group);
    const bool by_text = f.epochs || (!f.resume && !f.settings.has("steps"));
    if (!by_text && recipe.steps == 0) require_blocks_alone(recipe);
    group.first_does([&] { create_folder(folder); });
    const arch::PackOptions types = types_of(choose_pack(folder, group));
    group.first_does([&] {
      // Before hours of work: types that the model cannot be stored in.
      distill::require_types(teacher, recipe, folder, types);
      prepare_text(context, teacher, recipe, folder, group);
    });
    recipe.seed = group.of_first(recipe.seed);
    const auto [train, held_out] = open_text(recipe, folder);
    if (by_text) {
      recipe.steps = steps_of(f.epochs.value_or(1), train.size(), recipe, group);
      require_countable(recipe, group);
    }
    if (plan_.rate_follows_steps && recipe.method == distill::StudentMethod::kOneBit &&
        recipe.steps > 0) {
      recipe.learning_rate = distill::best_learning_rate(recipe.steps);
    }
    const Json settings = distill::to_json(recipe);
    if (!f.resume && group.is_first()) {
      write_file(folder / "recipe.json", settings.dump(2) + "\n");
    }
    announce(console, teacher, recipe, train, held_out, group, device);
    const distill::TrainOptions options{.device = device,
                                        .save_every = f.save_every,
                                        .eval_every = f.eval_every,
                                        .keep = f.keep,
                                        .resume = f.resume,
                                        .gradient_checkpointing = f.gradient_checkpointing,
                                        .pack = types,
                                        .threads = f.threads};
    RunObserver observer(console, PartFile::path_of(synth_file(folder)));
    const std::string no_memory = fmt::format(
        "not enough memory for {} x {} tokens at a time; a smaller --batch or "
        "--length needs less",
        recipe.batch, recipe.length);
    const distill::TrainResult result = with_torch_errors(no_memory, [&] {
      return distill::train({.teacher = teacher,
                             .recipe = recipe,
                             .start = start ? &*start : nullptr,
                             .from_scratch = plan_.from_scratch,
                             .train = train,
                             .held_out = held_out,
                             .folder = folder,
                             .options = options,
                             .group = group,
                             .observer = observer,
                             .stop = context.interrupts.token()});
    });
    if (!group.is_first()) return;
    const std::chrono::duration<double> wall = std::chrono::steady_clock::now() - begin;
    report(console, folder, result, settings, wall.count());
  }

 private:
  /// The group of a run of several processes; null for one.
  std::unique_ptr<distill::ProcessGroup> meet(const distill::Launch& launch,
                                              torch::Device device) const {
    if (launch.size == 1) return nullptr;
    const std::chrono::seconds timeout(flags_.timeout);
    if (device.is_cpu()) return distill::connect(launch, timeout);
    // NCCL's waits then end with an error after the timeout, not with the process.
    ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", /*overwrite=*/0);
    return cuda::connect(launch, timeout, device);
  }

  /// As many as asked for; else processes that share a machine share its processors.
  void choose_threads(const distill::Launch& launch) {
    if (flags_.threads == 0 && launch.local_size > 1) {
      flags_.threads = std::max(1, at::get_num_threads() / launch.local_size);
    }
    if (flags_.threads > 0) at::set_num_threads(flags_.threads);
  }

  /// The run's recipe but for the steps that --epochs asks for: those come with the data.
  distill::Recipe choose_recipe(const arch::Checkpoint& teacher,
                                const std::optional<arch::Checkpoint>& start, torch::Device device,
                                const std::filesystem::path& folder,
                                distill::ProcessGroup& group) const {
    distill::Recipe recipe = flags_.settings.applied_to(plan_.recipe(device, folder));
    if (flags_.given("--seed") && flags_.seed >= 0) {
      recipe.seed = static_cast<std::uint64_t>(flags_.seed);
    }
    // Seeds may be drawn, and machines may differ in what is fastest.
    recipe.seed = group.of_first(recipe.seed);
    recipe.compute =
        static_cast<torch::ScalarType>(group.of_first(static_cast<std::uint64_t>(recipe.compute)));
    if (start) {
      take_form(*start, recipe);
      distill::require_start(*start, teacher, recipe);
    }
    distill::require_teacher(teacher, recipe);
    require_countable(recipe, group);
    return recipe;
  }

  /// What is about to happen.
  void announce(Console& console, const arch::Checkpoint& teacher, const distill::Recipe& recipe,
                const distill::TokenSegments& train, const distill::TokenSegments& held_out,
                const distill::ProcessGroup& group, torch::Device device) const {
    if (!plan_.start.empty() && !flags_.resume) {
      console.message(LogLevel::kInfo,
                      fmt::format("beginning from {}: its matrices stay, Adam's moments "
                                  "begin anew",
                                  plan_.start));
    }
    if (recipe.steps > 0 && recipe.warmup >= recipe.steps) {
      console.message(LogLevel::kWarning,
                      fmt::format("a warm-up of {} steps for a run of {}: the rate never reaches "
                                  "{:g}; --warmup sets it",
                                  recipe.warmup, recipe.steps, recipe.learning_rate));
    }
    const std::int64_t together = recipe.sequences_per_step() * group.size();
    const distill::Mixture mixture(recipe, teacher);
    const distill::MemoryEstimate memory =
        recipe.steps == 0
            ? distill::estimate_block_memory(teacher.config(), recipe, group.size(),
                                             held_out.size(), device, &mixture)
            : distill::estimate_memory(teacher.config(), recipe, group.size(),
                                       flags_.gradient_checkpointing, device, &mixture);
    console.message(
        LogLevel::kInfo,
        fmt::format("{} steps of {} x {} tokens ({} in all), {} segments to train on, {} held out; "
                    "about {} of memory",
                    recipe.steps, together, recipe.length,
                    grouped(recipe.steps * together * recipe.length), grouped(train.size()),
                    grouped(held_out.size()),
                    bytes_text(static_cast<std::uint64_t>(memory.peak()))));
  }

  /// A start decides the form, unless the command line does.
  void take_form(const arch::Checkpoint& start, distill::Recipe& recipe) const {
    if (!start.provenance()) return;
    if (!flags_.settings.has("form") && !flags_.settings.has("group_size")) {
      recipe.form = start.provenance()->form;
      recipe.group_size = start.provenance()->group_size;
    }
  }

  /// Beyond this the number of a run's tokens is no number of a run.
  static void require_countable(const distill::Recipe& r, const distill::ProcessGroup& group) {
    constexpr double kMost = 1e15;
    const double tokens = static_cast<double>(r.steps) *
                          static_cast<double>(r.sequences_per_step()) *
                          static_cast<double>(group.size()) * static_cast<double>(r.length);
    if (tokens <= kMost) return;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("--steps, --batch, --accumulate, --length: found {:.3g} tokens in all, "
                            "expected at most {:g}",
                            tokens, kMost));
  }

  /// Settings beside others that leave nothing to them.
  void require_own_settings() const {
    if (!flags_.eval_file.empty() && flags_.given("--held-out") && flags_.held_out > 0) {
      throw UsageError("--held-out: found with --eval-file, which is all of the evaluations' text");
    }
    if (plan_.start.empty()) return;
    for (const char* name : {"init", "split", "latent"}) {
      if (!flags_.settings.has(name)) continue;
      throw UsageError(
          fmt::format("--{}: found with --start, whose signs and scales begin the run", name));
    }
  }

  /// What a run without steps of the whole model has no use for.
  void require_blocks_alone(const distill::Recipe& recipe) const {
    if (recipe.block.steps == 0) {
      throw UsageError("--steps, --block-steps: found 0 for both, expected something to train");
    }
    for (const char* flag :
         {"--gradient-checkpointing", "--save-every", "--keep", "--eval-every"}) {
      if (!flags_.given(flag)) continue;
      throw UsageError(fmt::format("{}: found with --steps 0, expected a stage that has it", flag));
    }
    // Those that a start has trained stay as they are.
    if (recipe.train_ends && flags_.settings.has("train_ends") && plan_.start.empty()) {
      throw UsageError(
          "--train-ends: found with --steps 0, expected steps of the whole model, which alone "
          "train embedding and head");
    }
  }

  /// Of model.gguf: what the command line says, and where that is silent what the run began with.
  PackFlags choose_pack(const std::filesystem::path& folder, distill::ProcessGroup& group) const {
    const std::filesystem::path file = folder / "pack.json";
    PackFlags pack = flags_.pack;
    if (flags_.resume && std::filesystem::exists(file)) {
      try {
        const Json saved = Json::parse(read_file(file));
        for (const PackFlags::Entry& entry : PackFlags::entries()) {
          const auto type = saved.at(entry.name).get<std::string>();
          if (std::find(entry.types.begin(), entry.types.end(), type) == entry.types.end()) {
            throw Error(ErrorCode::kCorrupt,
                        fmt::format("{}: {}: found '{}', expected one of {}", file.string(),
                                    entry.name, type, fmt::join(entry.types, ", ")));
          }
          if (!flags_.given(fmt::format("--{}", entry.name).c_str())) pack.*entry.type = type;
        }
      } catch (const Json::exception& error) {
        throw Error(ErrorCode::kCorrupt, fmt::format("{}: {}", file.string(), error.what()));
      }
    }
    // Others find the same in it, whether they read before or after: their flags are these.
    group.first_does([&] {
      Json chosen;
      for (const PackFlags::Entry& entry : PackFlags::entries()) {
        chosen[entry.name] = pack.*entry.type;
      }
      write_file(file, chosen.dump() + "\n");
    });
    return pack;
  }

  /// No file of the run takes an input's place.
  void require_inputs_stay(const std::filesystem::path& folder) const {
    std::vector<std::filesystem::path> files;
    for (const char* file :
         {"model.gguf", "recipe.json", "pack.json", "metrics.jsonl", "state.safetensors"}) {
      files.push_back(folder / file);
    }
    std::vector<std::string> inputs = flags_.data;
    inputs.push_back(flags_.eval_file);
    inputs.push_back(plan_.start);
    require_other_file(plan_.teacher, folder / "model.gguf");
    // What a run from scratch begins with is its own file; what it reads is another.
    if (plan_.from_scratch && !flags_.resume) {
      require_other_file(plan_.tokenizer, folder / "model.gguf");
      require_other_file(plan_.tokenizer, plan_.teacher);
      files.emplace_back(plan_.teacher);
    }
    for (const auto& file : files) require_other_files(inputs, file);
    for (const auto& file : {train_file(folder), held_out_file(folder)}) {
      require_other_files(inputs, file);
    }
  }

  /// As the first process sees it: the others' view of the folder may be late.
  void require_state(const std::filesystem::path& folder, distill::ProcessGroup& group) const {
    const bool begun = group.of_first(distill::holds_run(folder) ? 1 : 0) != 0;
    if (flags_.resume && !begun) {
      throw Error(
          ErrorCode::kNotFound,
          fmt::format("{}: found no state.safetensors or blocks/ to resume from", folder.string()));
    }
    if (!flags_.resume && begun) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: holds a run already; --resume goes on with it, another folder "
                              "begins a new one",
                              folder.string()));
    }
  }

  static std::filesystem::path train_file(const std::filesystem::path& folder) {
    return folder / "data" / "train.tokens";
  }
  static std::filesystem::path held_out_file(const std::filesystem::path& folder) {
    return folder / "data" / "held_out.tokens";
  }

  /// What the teacher writes for a run without data.
  static std::filesystem::path synth_file(const std::filesystem::path& folder) {
    return folder / "data" / "synth.jsonl";
  }

  static void create_folder(const std::filesystem::path& folder) {
    std::error_code error;
    std::filesystem::create_directories(folder / "data", error);
    if (error) {
      throw Error(ErrorCode::kIo, fmt::format("{}: {}", folder.string(), error.message()));
    }
  }

  /// The run's training and held-out segments. A resumed run finds what it was begun with. Where
  /// any seed will do, `recipe` gets that of text which the teacher has begun to write.
  void prepare_text(Context& context, const arch::Checkpoint& teacher, distill::Recipe& recipe,
                    const std::filesystem::path& folder, const distill::ProcessGroup& group) const {
    const std::filesystem::path train = train_file(folder);
    const std::filesystem::path held_out = held_out_file(folder);
    if (!flags_.resume) {
      const auto progress = context.console.progress("tokenise", "bytes");
      distill::DataOptions options;
      options.length = recipe.length;
      options.held_out = flags_.eval_file.empty() ? flags_.held_out : 0.0;
      options.max_held_out = flags_.eval_sequences;
      const auto prepare = [&](const std::vector<std::string>& files, const auto& first,
                               const auto& second) {
        distill::prepare_data({files.begin(), files.end()}, teacher.tokenizer(), options, first,
                              second, *progress, context.interrupts.token());
      };
      const std::filesystem::path unused = folder / "data" / "unused.tokens";
      if (!flags_.eval_file.empty()) {
        options.max_train = options.max_held_out;
        prepare({flags_.eval_file}, held_out, unused);
        options.max_train = -1;
      }
      std::vector<std::string> files = flags_.data;
      if (files.empty()) files.push_back(synthesize(context, recipe, folder, group));
      prepare(files, train, flags_.eval_file.empty() ? held_out : unused);
      std::filesystem::remove(unused);
      return;
    }
    for (const char* file : {"model.gguf", "state.safetensors"}) remove_abandoned(folder / file);
    remove_if_there(PartFile::path_of(synth_file(folder)));
    for (const char* flag : {"--data", "--eval-file", "--held-out", "--eval-sequences"}) {
      if (!flags_.given(flag)) continue;
      context.console.message(
          LogLevel::kInfo,
          fmt::format("{}: has no effect, the text is what the run began with", flag));
    }
  }

  struct Text {
    distill::TokenSegments train;
    distill::TokenSegments held_out;
  };

  static Text open_text(const distill::Recipe& recipe, const std::filesystem::path& folder) {
    Text text{distill::TokenSegments::open(train_file(folder)),
              distill::TokenSegments::open(held_out_file(folder))};
    if (text.train.length() != recipe.length) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("{}: the saved run has length = {}, found {} now; resume with the "
                              "same settings, or start a new run in another folder",
                              folder.string(), text.train.length(), recipe.length));
    }
    return text;
  }

  /// The teacher's own text for a run without data; the file that holds it. What it is made from
  /// stays beside it until the run can be resumed: until then the same command begins here.
  std::string synthesize(Context& context, distill::Recipe& recipe,
                         const std::filesystem::path& folder,
                         const distill::ProcessGroup& group) const {
    RuntimeFlags runtime;
    runtime.model = plan_.teacher;
    runtime.threads = flags_.threads;
    runtime::Model model = load_model(context, runtime);
    runtime::SynthOptions options;
    options.samples = recipe.steps > 0 ? recipe.steps * recipe.sequences_per_step() * group.size()
                                       : recipe.block.segments;
    options.length = recipe.length;
    options.sampling.seed = recipe.seed;
    const std::filesystem::path file = synth_file(folder);
    write_samples(context, model, options, file,
                  {.any_seed = flags_.seed < 0, .drop_other = true, .keep = true});
    recipe.seed = options.sampling.seed;
    return file.string();
  }

  static std::int64_t steps_of(double epochs, std::int64_t segments, const distill::Recipe& r,
                               const distill::ProcessGroup& group) {
    const double steps = epochs * static_cast<double>(segments) /
                         static_cast<double>(r.sequences_per_step() * group.size());
    return std::max<std::int64_t>(1, std::llround(steps));
  }

  void report(Console& console, const std::filesystem::path& folder,
              const distill::TrainResult& result, const Json& settings, double wall) const {
    const double rate = static_cast<double>(result.tokens) / std::max(result.seconds, 1e-9);
    if (result.end.tokens > 0) {
      const auto figure = [&](const distill::Evaluation& e) {
        return plan_.from_scratch ? std::exp(e.cross_entropy) : e.kl;
      };
      console.print(fmt::format("held-out {} {:.4f} {}, {:.4f} at the end ({} tokens)\n",
                                plan_.from_scratch ? "perplexity" : "KL", figure(result.start),
                                flags_.resume ? "when resumed" : "at start", figure(result.end),
                                grouped(result.end.tokens)));
    }
    if (result.tokens > 0) {
      console.print(fmt::format("trained on {} tokens in {:.0f} s, {:.0f} tokens/s; ",
                                grouped(result.tokens), result.seconds, rate));
    }
    console.print(fmt::format("{:.0f} s in all\n", wall));
    const std::filesystem::path model = folder / "model.gguf";
    console.print(fmt::format("wrote {} ({})\n", model.string(),
                              bytes_text(std::filesystem::file_size(model))));
    const auto evaluation = [](const distill::Evaluation& e) -> Json {
      if (e.tokens == 0) return nullptr;
      if (!e.has_teacher) return {{"cross_entropy", e.cross_entropy}, {"tokens", e.tokens}};
      return {{"kl", e.kl},
              {"cross_entropy", e.cross_entropy},
              {"teacher_cross_entropy", e.teacher_cross_entropy},
              {"tokens", e.tokens}};
    };
    console.print_json({{"teacher", plan_.from_scratch ? Json() : Json(plan_.teacher)},
                        {"output", flags_.out},
                        {"model", model.string()},
                        {"start", evaluation(result.start)},
                        {"end", evaluation(result.end)},
                        {"tokens", result.tokens},
                        {"seconds", result.seconds},
                        {"tokens_per_second", rate},
                        {"wall_seconds", wall},
                        {"recipe", settings}});
  }

  RunFlags& flags_;
  const RunPlan& plan_;
};

}  // namespace

void define_run(CLI::App& app, RunFlags& f, const char* about_data, bool from_scratch) {
  define_path(app, "-o,--output", f.out,
              "the run's folder: checkpoints, metrics (JSONL, TensorBoard), model.gguf")
      ->required();
  app.add_option("--data", f.data, about_data)
      ->type_name("PATH")
      ->check(not_empty("a path"))
      ->allow_extra_args(false);
  app.add_flag("--resume", f.resume, "go on from the folder's last checkpoint");
  f.settings.define(app, from_scratch);
  app.add_option("--epochs", f.epochs,
                 "passes over the data, in place of --steps; 1 where neither is given")
      ->transform(number_within(1e-6, 1e6))
      ->type_name("N")
      ->excludes("--steps");
  app.add_flag("--gradient-checkpointing", f.gradient_checkpointing,
               "compute each block once more for its gradient: less memory, a third more time");
  define_number(app, "--save-every", f.save_every, "steps between checkpoints", std::int64_t{1},
                kMaxCount);
  define_number(app, "--keep", f.keep, "older checkpoints that stay, in the folder's checkpoints/",
                std::int64_t{0}, kMaxCount);
  define_number(app, "--eval-every", f.eval_every, "steps between evaluations; 0: at start and end",
                std::int64_t{0}, kMaxCount);
  define_path(app, "--eval-file", f.eval_file,
              "text of the evaluations, in place of a share of the data");
  define_number(app, "--eval-sequences", f.eval_sequences,
                "most sequences of an evaluation; what is beyond is dropped", std::int64_t{1},
                kMaxCount);
  define_number(app, "--held-out", f.held_out, "share of the documents kept for evaluation", 0.0,
                0.5);
  define_device(app, f.device);
  define_pack(app, f.pack);
  define_threads(app, f.threads);
  define_number(app, "--timeout", f.timeout,
                "of several processes: seconds after which one that is silent is lost",
                std::int64_t{1}, std::int64_t{1000000});
  define_seed(app, f.seed);
  f.app = &app;
}

void run_training(Context& context, RunFlags& flags, const RunPlan& plan) {
  TrainingRun(flags, plan).run(context);
}

}  // namespace onebit::cli
