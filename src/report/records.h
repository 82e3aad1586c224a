// What the files hold that `onebit compare` reads, one type a kind of file; input.h reads them.
// Pure data: nothing here is checked against other files yet (comparison.h does that). Members have
// initialisers so that a record can be made from those that one kind of file says.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace onebit::report {

/// What a number depends on beside its model, by name: {"shots", "5"}. What a file does not say is
/// absent.
using Settings = std::map<std::string, std::string>;

/// Where a record comes from. Empty: the file does not say.
struct Origin {
  std::string file = {};                  ///< as the user gave it
  std::string program = {};               ///< that wrote it
  std::string command = {};               ///< as typed
  std::optional<std::int64_t> date = {};  ///< seconds since 1970
};

/// What a file says of the model that was measured (src/cli/model_record.h writes it); of other
/// programs' files little is known.
struct ModelInfo {
  std::string name = {};
  std::string path = {};
  std::string sha256 = {};
  std::string architecture = {};
  std::string method = {};
  std::string form = {};
  std::string source_name = {};
  std::optional<std::int64_t> group_size = {};
  std::optional<std::int64_t> parameters = {};
  std::optional<std::int64_t> file_bytes = {};
  std::optional<double> file_bits = {};    ///< a weight, of the whole file
  std::optional<double> matrix_bits = {};  ///< a weight, of the matrices that methods replace
};

struct Score {
  double value = 0;
  std::optional<double> error = {};  ///< standard error
};

struct TaskScore {
  std::string task = {};
  /// By metric, "acc" or "exact_match (strict-match)", in the file's order.
  std::vector<std::pair<std::string, Score>> scores = {};
  std::vector<std::string> subtasks = {};          ///< of a group
  std::optional<std::int64_t> documents = {};      ///< scored
  std::optional<std::int64_t> all_documents = {};  ///< of the set
  std::int64_t truncated = 0;                      ///< documents longer than the context
  Settings settings = {};

  const Score* find(const std::string& metric) const;
};

/// One document of a task, as one model answered it.
struct Sample {
  std::string target = {};  ///< the right answer, as JSON
  std::size_t choices = 0;
  std::map<std::string, double> scores = {};  ///< by metric
};

/// By the document's number.
using TaskSamples = std::map<std::int64_t, Sample>;

/// Of `onebit eval` or of lm-eval.
struct EvalRecord {
  Origin origin = {};
  ModelInfo model = {};
  std::vector<TaskScore> tasks = {};
  Settings settings = {};         ///< of the run, for people
  std::string samples_file = {};  ///< named by the results; empty: none
  std::map<std::string, TaskSamples> samples = {};
};

/// Divergence from a teacher, KL(teacher ‖ model) in nats.
struct Divergence {
  Score mean = {};
  std::optional<double> p99 = {};
  std::optional<double> same_top = {};  ///< share
  std::string teacher = {};
};

struct PerplexityRecord {
  Origin origin = {};
  ModelInfo model = {};
  std::string text = {};  ///< the file, as it was given
  Score ppl = {};
  std::optional<Divergence> kl = {};
  Settings settings = {};
};

struct SpeedTest {
  std::string name = {};  ///< "pp512", "tg128", as llama-bench calls them
  std::int64_t threads = 0;
  double rate = 0;                       ///< tokens a second, mean of the runs
  std::optional<double> deviation = {};  ///< of a run
  std::optional<double> bandwidth_share = {};
};

struct BenchRecord {
  Origin origin = {};
  ModelInfo model = {};
  std::vector<SpeedTest> tests = {};
  std::optional<std::int64_t> peak_bytes = {};
  Settings settings = {};
};

/// One matrix, quantised alone.
struct SensitivityRow {
  std::string matrix = {};
  std::int64_t layer = 0;
  std::string role = {};
  std::string method = {};
  std::optional<std::int64_t> setting = {};  ///< the number of the way in which it was quantised
  double bits = 0;                           ///< a weight, as stored
  Score kl = {};
  std::optional<double> ppl = {};
  std::optional<double> relative_error = {};
  std::optional<std::int64_t> bytes = {};
};

struct SensitivityRecord {
  Origin origin = {};
  ModelInfo model = {};
  std::string text = {};
  std::vector<SensitivityRow> rows = {};
  std::optional<double> ppl = {};  ///< of the model with no matrix quantised
  Settings settings = {};
};

struct MatrixError {
  std::string matrix = {};
  std::int64_t layer = 0;
  std::string role = {};
  double relative_error = 0;  ///< |W - W'|^2 / |W|^2
  double bits = 0;
};

/// Of `onebit quantize --json`; `model` is the packed one.
struct QuantizeRecord {
  Origin origin = {};
  ModelInfo model = {};
  std::vector<MatrixError> matrices = {};
  double relative_error = 0;  ///< of all of them
  Settings settings = {};
};

/// A step of a run, or what it measured between steps: metrics by their names in metrics.jsonl.
struct MetricsRow {
  double step = 0;
  std::optional<std::int64_t> block = {};  ///< the row is of a block that was trained alone
  std::map<std::string, double> metrics = {};
};

/// A folder of `onebit distill`.
struct TrainingRun {
  Origin origin = {};
  std::vector<MetricsRow> rows = {};
  Settings recipe = {};  ///< recipe.json; empty where the folder has none
};

using Record = std::variant<EvalRecord, PerplexityRecord, BenchRecord, SensitivityRecord,
                            QuantizeRecord, TrainingRun>;

const Origin& origin_of(const Record& record);
/// Null for a run, which is no model.
const ModelInfo* model_of(const Record& record);
/// "perplexity", "results of tasks"…
const char* kind_of(const Record& record);

}  // namespace onebit::report
