// Reading what `onebit compare` compares. A file's kind is told by its content, never by its name.
// Each kind has a reader of its own in input_<kind>.cc.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "report/json_fields.h"
#include "report/records.h"

namespace onebit::report {

/// A result file, or the folder of a run. Of results that name a file of samples, that is read too,
/// where it is there. Throws Error{kNotFound, kIo} for what cannot be read, Error{kCorrupt} for a
/// file that is of no known kind or not as its kind is, saying where and what was expected.
Record read_input(const std::filesystem::path& path);

/// A result file's text; `file` is its name in messages.
Record parse_record(std::string_view text, const std::string& file);

/// A file of samples (docs/compare.md), by task. Error{kCorrupt} naming the line.
std::map<std::string, TaskSamples> parse_samples(std::string_view text, const std::string& file);

/// A run's metrics.jsonl, all but a last line that is not finished; the folder's name for `file`.
std::vector<MetricsRow> parse_metrics(std::string_view text);

/// A folder of a run; Error{kNotFound} where there is no metrics.jsonl.
TrainingRun read_run(const std::filesystem::path& folder);

// The readers by kind. `fields` is the whole file.
EvalRecord parse_eval(const Fields& fields, const Origin& origin);
PerplexityRecord parse_perplexity(const Fields& fields, const Origin& origin);
BenchRecord parse_bench(const Fields& fields, const Origin& origin);
SensitivityRecord parse_sensitivity(const Fields& fields, const Origin& origin);
QuantizeRecord parse_quantize(const Fields& fields, const Origin& origin);

/// The member "model_info"; without it what "model", a path, tells.
ModelInfo parse_model(const Fields& fields);

/// "blk.3.attn_q" is {3, "attn_q"}; {-1, the name} where it is no block's.
std::pair<std::int64_t, std::string> layer_and_role(const std::string& matrix);

/// A setting that the file says, as text; numbers without a needless fraction.
void add_setting(const Fields& fields, const char* key, const char* name, Settings& settings);
/// A number as people write it.
std::string number_word(double value);

}  // namespace onebit::report
