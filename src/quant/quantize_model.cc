#include "quant/quantize_model.h"

#include <algorithm>
#include <fmt/format.h>
#include <map>
#include <vector>

#include "base/atomic_file.h"
#include "base/check.h"
#include "quant/block_parts.h"
#include "quant/calibration.h"
#include "quant/matrix_names.h"

namespace onebit::quant {
namespace {

constexpr std::string_view kOneBit = "onebit";

std::vector<float> read(const arch::Checkpoint& source, const arch::TensorSpec& tensor,
                        std::int64_t layer) {
  const auto count = formats::element_count(arch::shape_of(source.config(), tensor));
  std::vector<float> values(*count);
  source.read_f32(tensor.role, layer, values);
  source.release(tensor.role, layer);
  return values;
}

/// Which method quantises which matrix.
class Assignment {
 public:
  Assignment(const arch::Checkpoint& source, const QuantizeOptions& options, ThreadPool& pool) {
    choices_.push_back({"", options.method, options.method_options});
    std::vector<std::string> patterns;
    for (const Override& o : options.overrides) {
      choices_.push_back(o);
      patterns.push_back(o.pattern);
    }
    for (const auto& [id, index] : match_matrices(source, patterns, "--override")) {
      matrices_[id] = index + 1;
    }
    for (const arch::TensorId& id : arch::tensor_ids(source.config())) {
      if (arch::find_tensor(*source.config().arch, id.role)->linear) matrices_.try_emplace(id, 0);
    }
    require_calibration(options);
    for (const Override& choice : choices_) {
      const Method& method = *choice.method;
      quantizers_.push_back(method.make(source, choice.options, pool));
      calibrates_.push_back(method.calibrates != Calibrates::kNo && options.calibration);
    }
  }

  Quantizer& of(const arch::TensorId& id) const { return *quantizers_[index_of(id)]; }

  bool calibrates(const arch::TensorId& id) const { return calibrates_[index_of(id)]; }
  bool any_calibrates() const {
    return std::any_of(matrices_.begin(), matrices_.end(),
                       [&](const auto& matrix) { return calibrates_[matrix.second]; });
  }

  /// Of the 1-bit matrices, which have one form in a file; the default where there are none.
  /// Throws Error{kUnsupported} for two forms.
  MethodOptions one_bit_options() const {
    const MethodOptions* found = nullptr;
    for (const auto& [id, index] : matrices_) {
      if (choices_[index].method->name != kOneBit) continue;
      const MethodOptions& how = choices_[index].options;
      if (found != nullptr && (how.form != found->form || how.group_size != found->group_size)) {
        throw Error(ErrorCode::kUnsupported,
                    fmt::format("found 1-bit matrices of the form {} and of the form {}, expected "
                                "one form and group size in a file",
                                word_of(found->form), word_of(how.form)));
      }
      found = &how;
    }
    return found == nullptr ? MethodOptions{} : *found;
  }

  /// Of the methods that matrices have, "rtn" or "rtn+int8".
  std::string names() const {
    std::vector<std::string_view> used;
    for (const auto& [id, index] : matrices_) {
      const std::string_view name = choices_[index].method->name;
      if (std::find(used.begin(), used.end(), name) == used.end()) used.push_back(name);
    }
    return fmt::format("{}", fmt::join(used, "+"));
  }

  /// The method of all matrices that no pattern names; norms are its.
  Quantizer& main() const { return *quantizers_.front(); }

  void begin_layer(std::int64_t layer) const {
    for (const auto& quantizer : quantizers_) quantizer->begin_layer(layer);
  }

  void save_block(BlockPart& part) const {
    for (const auto& quantizer : quantizers_) quantizer->save_block(part);
  }

  /// Each method takes its own matrices.
  void restore_block(std::int64_t layer, const BlockPart& part, Calibration* calibration) const {
    for (std::size_t i = 0; i < quantizers_.size(); ++i) {
      std::vector<arch::Role> own;
      for (const auto& [id, index] : matrices_) {
        if (index == i && id.layer == layer) own.push_back(id.role);
      }
      if (!own.empty()) quantizers_[i]->restore_block(layer, own, part, calibration);
    }
  }

 private:
  /// Before any method is made, which may read the whole model.
  void require_calibration(const QuantizeOptions& options) const {
    if (options.calibration) return;
    for (const auto& [id, index] : matrices_) {
      const Method& method = *choices_[index].method;
      if (method.calibrates != Calibrates::kAlways) continue;
      throw Error(
          ErrorCode::kInvalidArgument,
          fmt::format("method {}: found no calibration text, expected --calib FILE", method.name));
    }
  }

  std::size_t index_of(const arch::TensorId& id) const { return matrices_.at(id); }

  std::vector<std::unique_ptr<Quantizer>> quantizers_;
  std::vector<bool> calibrates_;
  std::vector<Override> choices_;                   ///< the main method's, then the overrides
  std::map<arch::TensorId, std::size_t> matrices_;  ///< index of each one's quantizer
};

/// Scales that fold into tensors before a matrix are shared by all that read these.
void require_own_scales(const QuantizeOptions& options) {
  const auto folds = [](const Method& method, const MethodOptions& how) {
    return method.name == kOneBit && how.form == arch::Form::kFoldable;
  };
  bool any = folds(*options.method, options.method_options);
  for (const Override& o : options.overrides) any = any || folds(*o.method, o.options);
  if (!any || options.overrides.empty()) return;
  throw Error(
      ErrorCode::kUnsupported,
      "found 1-bit matrices of the form foldable, whose scales matrices share, among others "
      "(--override, --budget), expected the form paper or free");
}

/// A method that trains whole blocks, their norms included.
void require_no_mixture(const QuantizeOptions& options) {
  const Method* training = options.method->trains_blocks ? options.method : nullptr;
  for (const Override& o : options.overrides) {
    if (o.method->trains_blocks) training = o.method;
  }
  if (training == nullptr || options.overrides.empty()) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("--override: found method {}, which trains whole blocks, in a mixture, "
                          "expected it alone",
                          training->name));
}

/// But for the source's hash, which takes a pass through its file.
arch::PackOptions pack_options(const arch::Checkpoint& source, const QuantizeOptions& options,
                               const Assignment& assignment) {
  arch::PackOptions pack;
  const MethodOptions one_bit = assignment.one_bit_options();
  pack.provenance = {assignment.names(),
                     one_bit.form,
                     source.name(),
                     {},
                     {},
                     one_bit.group_size,
                     assignment.main().activations()};
  pack.embedding = options.embedding;
  pack.head = options.head;
  pack.scales = options.method_options.scales;
  const arch::ModelConfig& config = source.config();
  for (const arch::TensorId& id : arch::tensor_ids(config)) {
    const arch::TensorSpec& tensor = *arch::find_tensor(*config.arch, id.role);
    if (!tensor.linear) continue;
    pack.set(id, assignment.of(id).storage(id, arch::shape_of(config, tensor)));
  }
  return pack;
}

/// Of the parts of a run.
std::string whole_identity(const arch::Checkpoint& source, const QuantizeOptions& options) {
  return fmt::format("{} {} {}", arch::program_name(), source.identity(), options.identity);
}

}  // namespace

bool keeps_blocks(const QuantizeOptions& options) {
  const auto calibrates = [](const Method& method) { return method.calibrates != Calibrates::kNo; };
  return calibrates(*options.method) ||
         std::any_of(options.overrides.begin(), options.overrides.end(),
                     [&](const Override& o) { return calibrates(*o.method); });
}

std::uint64_t planned_bytes(const arch::Checkpoint& source, const std::filesystem::path& out,
                            const QuantizeOptions& options) {
  require_own_scales(options);
  require_no_mixture(options);
  ThreadPool pool(1);
  const Assignment assignment(source, options, pool);
  arch::PackOptions pack = pack_options(source, options, assignment);
  pack.provenance.source_sha256 = std::string(64, '0');  // as long as one
  pack.provenance.program = arch::program_name();
  return arch::PackedWriter(out, source, std::move(pack)).file_bytes();
}

Error located(const Error& error, const arch::Checkpoint& source, std::string_view matrix) {
  return {error.code(), fmt::format("{}: {}: {}", source.path().string(), matrix, error.what())};
}

void require_full_precision(const arch::Checkpoint& source) {
  if (!source.provenance()) return;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: found a model already quantised by method '{}', expected a "
                          "full-precision model",
                          source.path().string(), source.provenance()->method));
}

std::filesystem::path parts_folder(const std::filesystem::path& out) {
  return out.string() + ".part";
}

void require_parts(const arch::Checkpoint& source, const std::filesystem::path& out,
                   const QuantizeOptions& options) {
  BlockParts::require_run(parts_folder(out), whole_identity(source, options));
}

QuantizeTotals quantize_model(const arch::Checkpoint& source, const std::filesystem::path& out,
                              const QuantizeOptions& options, const OnMatrix& on_matrix,
                              Progress& progress, const std::stop_token& stop) {
  ONEBIT_CHECK(options.method != nullptr);
  require_full_precision(source);
  require_own_scales(options);
  require_no_mixture(options);
  std::optional<BlockParts> parts;
  if (keeps_blocks(options) && !options.identity.empty()) {
    parts.emplace(parts_folder(out), whole_identity(source, options), options.plan);
  }
  remove_abandoned(std::filesystem::absolute(out));
  const arch::ModelConfig& config = source.config();
  ThreadPool pool(options.threads);
  const Assignment assignment(source, options, pool);
  arch::PackOptions pack = pack_options(source, options, assignment);
  const arch::Provenance known = std::move(pack.provenance);
  pack.provenance = arch::provenance_of(source, known.method, known.form, known.group_size);
  pack.provenance.activations = known.activations;
  arch::PackedWriter writer(out, source, std::move(pack));

  std::unique_ptr<Calibration> calibration;
  if (assignment.any_calibrates()) {
    calibration = std::make_unique<Calibration>(source, *options.calibration,
                                                out.parent_path().empty() ? "." : out.parent_path(),
                                                stop, options.method->trains_blocks);
  }

  const std::uint64_t total = writer.order().size();
  std::uint64_t done = 0;
  QuantizeTotals totals;
  totals.method = assignment.names();
  double square_error = 0;
  double square_norm = 0;
  std::int64_t layer = -1;
  bool restored = false;  // this layer, from its part
  const auto end_layer = [&] {
    if (layer < 0 || !parts || restored) return;
    BlockPart part;
    assignment.save_block(part);
    parts->save(layer, part);
  };
  for (const arch::TensorId& id : writer.order()) {
    if (stop.stop_requested()) {
      throw Error(ErrorCode::kInterrupted,
                  fmt::format("interrupted after {} of {} tensors; nothing written", done, total));
    }
    const arch::TensorSpec& tensor = *arch::find_tensor(*config.arch, id.role);
    const std::string name = arch::gguf_name(tensor, id.layer);
    progress.update(done++, total, name);
    if (id.layer != layer) {
      end_layer();
      layer = id.layer;
      restored = false;
      if (layer >= 0) assignment.begin_layer(layer);
      if (calibration) {
        if (layer != 0) calibration->end_block();
        if (layer >= 0) calibration->begin_block(layer);
      }
      if (layer >= 0 && parts) {
        if (const std::optional<BlockPart> part = parts->load(layer)) {
          restored = true;
          try {
            assignment.restore_block(layer, *part, calibration.get());
          } catch (const Error& error) {
            throw located(error, source, fmt::format("blk.{}", layer));
          }
        }
      }
      if (layer >= 0 && options.method->trains_blocks && !restored) {
        try {
          assignment.main().train_block(
              *calibration, [&](std::string_view note) { progress.update(done, total, note); });
        } catch (const Error& error) {
          throw located(error, source, fmt::format("blk.{}", layer));
        }
      }
    }
    std::vector<float> values = read(source, tensor, id.layer);
    if (!tensor.linear) {
      assignment.main().adjust(id.role, id.layer, values);
      writer.add_dense(id.role, id.layer, values);
      continue;
    }
    const formats::Shape shape = arch::shape_of(config, tensor);
    MatrixReport report;
    try {
      const MatrixTask task = {id.role, id.layer, shape[0], shape[1], values, stop};
      Quantizer& quantizer = assignment.of(id);
      if (calibration) {
        if (assignment.calibrates(id) && !options.method->trains_blocks && !restored) {
          quantizer.set_inputs(calibration->second_moment(id.role));
        }
        calibration->replace(id.role, quantizer.fake_quantize(task));
      }
      report = quantizer.add(task, writer);
    } catch (const Error& error) {
      throw located(error, source, name);
    }
    report.name = name;
    ++totals.matrices;
    totals.weights += shape[0] * shape[1];
    totals.matrix_bytes += report.stored_bytes;
    square_error += report.square_error;
    square_norm += report.square_norm;
    on_matrix(report);
  }
  progress.update(done, total, "writing");
  writer.finish();
  if (parts) parts->remove();
  totals.relative_error = square_norm > 0 ? square_error / square_norm : 0;
  totals.parameters = arch::count_parameters(config).total();
  totals.file_bytes = std::filesystem::file_size(out);
  return totals;
}

}  // namespace onebit::quant
