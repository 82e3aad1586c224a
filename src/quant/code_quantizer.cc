#include "quant/code_quantizer.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace onebit::quant {

void require_finite(const MatrixTask& task) {
  for (std::size_t i = 0; i < task.weights.size(); ++i) {
    if (std::isfinite(task.weights[i])) continue;
    const auto index = static_cast<std::int64_t>(i);
    throw Error(ErrorCode::kNumeric,
                fmt::format("weight [{}, {}]: found {}, expected a finite number", index / task.in,
                            index % task.in, task.weights[i]));
  }
}

void measure_error(const MatrixTask& task, std::span<const float> fake, MatrixReport& report) {
  for (std::size_t i = 0; i < fake.size(); ++i) {
    const double w = task.weights[i];
    const double difference = w - fake[i];
    report.square_norm += w * w;
    report.square_error += difference * difference;
  }
  report.relative_error = report.square_norm > 0 ? report.square_error / report.square_norm : 0;
}

namespace {

/// The name of one of a matrix's arrays in a part.
std::string part_name(arch::Role role, const char* array) {
  return fmt::format("{}.{}", static_cast<int>(role), array);
}

/// Calls visit(name, values) for every array that is of bytes, floats or integers.
template <class Values, class Visit>
void for_each_array(Values& values, const Visit& visit) {
  visit("codes", values.codes);
  visit("ends", values.ends);
  visit("scale", values.scale);
  visit("zero", values.zero);
  visit("levels", values.levels);
  visit("order", values.order);
  visit("in_scale", values.in_scale);
  visit("row_scale", values.row_scale);
}

constexpr const char* kKinds = "kinds";

/// That no scale was limited to what its type holds: weights would be limited with it.
void require_held(std::span<const float> scales, formats::DType type) {
  const float limit = static_cast<float>(stored_scale(std::numeric_limits<double>::max(), type));
  const auto above = std::find_if(scales.begin(), scales.end(),
                                  [&](float scale) { return !(std::abs(scale) < limit); });
  if (above == scales.end()) return;
  throw Error(ErrorCode::kNumeric,
              fmt::format("scales: found one of {} or more, expected less, which {} holds{}", limit,
                          formats::info(type).name,
                          type == formats::DType::kF16 ? "; choose f32 (--scales)" : ""));
}

/// That what an earlier run has left are values of the spec.
void require_fit(const arch::CodeSpec& spec, const arch::CodeValues& values, std::int64_t out,
                 std::int64_t in) {
  const std::int64_t grids = out * spec.groups;
  const std::int64_t inputs = spec.products ? 2 * in : spec.in_scale ? in : 0;
  const bool scaled = !spec.tables && !spec.products;
  const std::int64_t most = std::int64_t{1} << spec.bits;
  const bool fits =
      std::ssize(values.codes) == out * in && std::ssize(values.ends) == spec.groups &&
      values.ends.back() == in && std::is_sorted(values.ends.begin(), values.ends.end()) &&
      values.ends.front() > 0 && std::ssize(values.scale) == (scaled ? grids : 0) &&
      std::ssize(values.zero) == (spec.zero ? grids : 0) &&
      std::ssize(values.levels) == (spec.tables ? grids * most : 0) &&
      std::ssize(values.row_scale) == (spec.products ? 2 * grids : 0) &&
      std::ssize(values.kinds) == (spec.products ? spec.groups : 0) &&
      std::ssize(values.order) == (spec.ordered ? in : 0) &&
      std::ssize(values.in_scale) == inputs &&
      std::all_of(values.codes.begin(), values.codes.end(), [&](int c) { return c < most; }) &&
      std::all_of(values.order.begin(), values.order.end(),
                  [&](std::int32_t i) { return i >= 0 && i < in; });
  if (fits) return;
  throw Error(ErrorCode::kCorrupt,
              "found other arrays than a matrix of codes has in what an earlier run has left, "
              "expected its own; --restart begins anew");
}

}  // namespace

arch::CodeValues CodeQuantizer::found(const MatrixTask& task) {
  require_finite(task);
  arch::CodeValues values = quantize(task);
  require_held(values.scale, scales_);
  for (const auto* scales : {&values.scale, &values.levels, &values.row_scale, &values.in_scale}) {
    arch::require_precise_scales(*scales, scales_, "scales");
  }
  return values;
}

FakeQuantized CodeQuantizer::meaning(const MatrixTask& task, const arch::CodeValues& values) {
  const formats::Shape shape = {task.out, task.in};
  const arch::CodeSpec how = spec({task.role, task.layer}, shape);
  FakeQuantized fake;
  fake.weights.resize(task.weights.size());
  arch::dequantize(how, values, fake.weights);
  fake.inputs = activations();
  fake.report.shape = shape;
  fake.report.stored_bytes = arch::code_bytes(how, task.out, task.in, scales_);
  MatrixTask coded = task;
  coded.weights = coded_weights(task);
  measure_error(coded, fake.weights, fake.report);
  return fake;
}

MatrixReport CodeQuantizer::add(const MatrixTask& task, arch::PackedWriter& writer) {
  const arch::TensorId id = {task.role, task.layer};
  if (const auto found = kept_.find(id); found != kept_.end()) {
    if (found->second.restored) {
      require_fit(spec(id, {task.out, task.in}), found->second.values, task.out, task.in);
    }
    writer.add_codes(task.role, task.layer, found->second.values);
    return meaning(task, found->second.values).report;
  }
  const arch::CodeValues values = found(task);
  writer.add_codes(task.role, task.layer, values);
  return meaning(task, values).report;
}

FakeQuantized CodeQuantizer::fake_quantize(const MatrixTask& task) {
  Kept& kept = kept_[{task.role, task.layer}];
  if (kept.restored) {
    require_fit(spec({task.role, task.layer}, {task.out, task.in}), kept.values, task.out, task.in);
  } else {
    kept.values = found(task);
    inputs_.reset();  // a budget has a quantizer for each matrix of the model
  }
  return meaning(task, kept.values);
}

void CodeQuantizer::save_block(BlockPart& part) const {
  for (const auto& [id, kept] : kept_) {
    for_each_array(kept.values, [&, role = id.role](const char* name, const auto& array) {
      if (!array.empty()) part.add(part_name(role, name), std::span(array));
    });
    std::vector<std::uint8_t> kinds;
    kinds.reserve(kept.values.kinds.size());
    for (const arch::ProductKind kind : kept.values.kinds) {
      kinds.push_back(static_cast<std::uint8_t>(kind));
    }
    if (!kinds.empty()) part.add(part_name(id.role, kKinds), std::span<const std::uint8_t>(kinds));
  }
}

void CodeQuantizer::restore_block(std::int64_t layer, std::span<const arch::Role> matrices,
                                  const BlockPart& part, Calibration*) {
  for (const arch::Role role : matrices) {
    Kept kept;
    kept.restored = true;
    for_each_array(kept.values, [&]<class T>(const char* name, std::vector<T>& array) {
      const std::string at = part_name(role, name);
      if constexpr (std::is_same_v<T, float>) {
        array = part.floats(at);
      } else if constexpr (std::is_same_v<T, std::uint8_t>) {
        array = part.bytes(at);
      } else {
        array = part.integers(at);
      }
    });
    for (const std::uint8_t kind : part.bytes(part_name(role, kKinds))) {
      kept.values.kinds.push_back(static_cast<arch::ProductKind>(kind));
    }
    // Without calibration nothing was kept: what is found anew is the same.
    if (!kept.values.codes.empty()) kept_[{role, layer}] = std::move(kept);
  }
}

}  // namespace onebit::quant
