// Matrices of codes in packed files: what they stand for, written and read back in every shape,
// and damaged.
#include "arch/code_matrix.h"

#include <cstring>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include "arch/checkpoint.h"
#include "arch/packed_writer.h"
#include "arch/test_gguf_change.h"
#include "arch/test_models.h"
#include "base/check.h"
#include "base/error.h"
#include "base/test_paths.h"

namespace onebit::arch {
namespace {

using formats::DType;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(GroupEnds, TheLastMayBePartial) {
  using Ends = std::vector<std::int32_t>;
  EXPECT_EQ(group_ends(576, 128), (Ends{128, 256, 384, 512, 576}));
  EXPECT_EQ(group_ends(64, 32), (Ends{32, 64}));
  EXPECT_EQ(group_ends(64, 0), Ends{64});
  EXPECT_EQ(group_ends(5, 128), Ends{5});
}

/// By the definition in code_matrix.h, element by element; of products, groups are by turns sums
/// and one of both.
std::vector<float> meaning(const CodeSpec& spec, const CodeValues& values, std::int64_t out) {
  const std::size_t in = values.codes.size() / static_cast<std::size_t>(out);
  std::vector<float> w(values.codes.size());
  for (std::size_t i = 0; i < w.size(); ++i) {
    const std::size_t c = i % in;
    std::size_t group = 0;
    while (static_cast<std::int32_t>(c) >= values.ends[group]) ++group;
    const std::size_t grid = i / in * values.ends.size() + group;
    const std::size_t input = spec.ordered ? static_cast<std::size_t>(values.order[c]) : c;
    float value = 0;
    if (spec.products) {
      const auto sign = [](int bit) { return bit != 0 ? 1.0F : -1.0F; };
      const int low = values.codes[i] & 1;
      const int high = values.codes[i] >> 1;
      const float first = values.row_scale[2 * grid] * values.in_scale[input];
      const float second = values.row_scale[2 * grid + 1] * values.in_scale[in + input];
      value = group % 2 == 0 ? sign(low) * first + sign(high) * second
                             : sign(low) * (high != 0 ? second : first);
    } else {
      const float zero = spec.zero ? values.zero[grid] : symmetric_zero(spec.bits);
      value = spec.tables ? values.levels[(grid << spec.bits) + values.codes[i]]
                          : values.scale[grid] * (static_cast<float>(values.codes[i]) - zero);
    }
    if (spec.in_scale) value *= values.in_scale[input];
    w[i - c + input] = value;
  }
  return w;
}

class CodesFile : public ::testing::Test {
 protected:
  CodesFile() : model_(test_models::random_model(test_models::tiny_config(), 3)) {
    test_models::write_gguf(model_, dir_ / "source.gguf");
    options_.provenance = {"rtn", Form::kPaper, "tiny", "hash", "onebit 0.1.0"};
    options_.embedding = options_.head = DType::kF16;  // rows of 42 are no multiple of 32
    const std::vector<CodeSpec> specs = test_models::code_specs();
    std::size_t next = 0;
    for (const TensorId& id : tensor_ids(model_.config)) {
      if (!find_tensor(*model_.config.arch, id.role)->linear || id == kOneBit) continue;
      options_.codes.emplace(id, specs[next++ % specs.size()]);
    }
  }

  void write() {
    test_models::write_packed(dir_ / "p.gguf", model_, Checkpoint::open(dir_ / "source.gguf"),
                              options_);
  }

  /// What write() wrote, changed, is refused with one line that says so, by the time that a matrix
  /// is read.
  void expect_refused(const test_models::GgufChange& change, const TensorId& id,
                      const std::string& message) {
    test_models::rewrite_gguf(dir_ / "p.gguf", dir_ / "bad.gguf", change);
    try {
      const Checkpoint found = Checkpoint::open(dir_ / "bad.gguf");
      found.codes(id.role, id.layer);
      ADD_FAILURE() << "accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr("bad.gguf"), HasSubstr(message)));
    }
  }

  formats::Shape shape(const TensorId& id) const {
    return shape_of(model_.config, *find_tensor(*model_.config.arch, id.role));
  }

  static constexpr TensorId kOneBit = {Role::kAttnOut, 1};  ///< among codes
  testing::TempDir dir_;
  test_models::TinyModel model_;
  PackOptions options_;
};

TEST_F(CodesFile, EverySpecIsReadBack) {
  for (const DType scales : {DType::kF16, DType::kF32}) {
    options_.scales = scales;
    std::filesystem::remove(dir_ / "p.gguf");
    write();
    const Checkpoint found = Checkpoint::open(dir_ / "p.gguf");
    EXPECT_EQ(found.provenance()->method, "rtn");
    EXPECT_TRUE(found.one_bit(kOneBit.role, kOneBit.layer).has_value());
    for (const auto& [id, spec] : options_.codes) {
      SCOPED_TRACE(gguf_name(*find_tensor(*model_.config.arch, id.role), id.layer));
      const CodeValues values = test_models::coded(model_, id, spec);
      const auto matrix = found.codes(id.role, id.layer);
      ASSERT_TRUE(matrix.has_value());
      EXPECT_FALSE(found.dense(id.role, id.layer).has_value());
      EXPECT_FALSE(found.one_bit(id.role, id.layer).has_value());
      EXPECT_EQ(matrix->codes.bits, spec.bits);
      EXPECT_EQ(matrix->ends, values.ends);
      EXPECT_EQ(matrix->order, values.order);
      std::vector<float> w(values.codes.size());
      found.read_f32(id.role, id.layer, w);
      EXPECT_EQ(w, meaning(spec, values, shape(id)[0]));
    }
  }
}

TEST_F(CodesFile, BytesAreThoseOfTheTensors) {
  write();
  const auto file = file::GgufFile::open(dir_ / "p.gguf");
  for (const auto& [id, spec] : options_.codes) {
    const std::string base = gguf_name(*find_tensor(*model_.config.arch, id.role), id.layer) + ".";
    std::uint64_t bytes = 0;
    for (const file::GgufTensor& tensor : file.tensors()) {
      if (tensor.name.starts_with(base)) bytes += tensor.view.data.size();
    }
    EXPECT_EQ(code_bytes(spec, shape(id)[0], shape(id)[1], DType::kF16), bytes) << base;
  }
}

TEST_F(CodesFile, ItsSizeIsKnownBeforeItIsWritten) {
  write();
  PackedWriter planned(dir_ / "other.gguf", Checkpoint::open(dir_ / "source.gguf"), options_);
  EXPECT_EQ(planned.file_bytes(), std::filesystem::file_size(dir_ / "p.gguf"));
}

TEST_F(CodesFile, ValuesThatDoNotFitTheSpecAreAProgrammerError) {
  PackedWriter writer(dir_ / "p.gguf", Checkpoint::open(dir_ / "source.gguf"), options_);
  writer.add_dense(Role::kTokenEmbedding, -1, model_.weights.at({Role::kTokenEmbedding, -1}));
  writer.add_dense(Role::kAttnNorm, 0, model_.weights.at({Role::kAttnNorm, 0}));
  CodeSpec other = options_.codes.at({Role::kAttnQ, 0});
  other.in_scale = true;
  EXPECT_THROW(
      writer.add_codes(Role::kAttnQ, 0, test_models::coded(model_, {Role::kAttnQ, 0}, other)),
      InternalError);
}

template <class Value>
void put(std::vector<std::byte>& bytes, std::size_t index, Value value) {
  std::memcpy(bytes.data() + index * sizeof(Value), &value, sizeof(Value));
}

TEST_F(CodesFile, DamageIsNamed) {
  write();
  // The second spec: 2 bits, three groups, zero points.
  const std::string name = "blk.0.attn_k";
  const auto bytes = [&](const char* suffix, auto change) {
    return [=](std::string& found, auto*, auto* data, auto*, auto*) {
      if (data != nullptr && found == name + suffix) change(*data);
    };
  };
  const auto drop = [&](const char* suffix) {
    return [=](std::string& found, auto*, auto*, auto*, auto*) {
      if (found == name + suffix) found.clear();
    };
  };
  const auto groups = [&](std::size_t index, std::int32_t value) {
    return bytes(".groups", [=](std::vector<std::byte>& data) { put(data, index, value); });
  };
  struct Case {
    const char* what;
    test_models::GgufChange change;
    const char* message;
  };
  const Case cases[] = {
      {"bits", groups(0, 9), "blk.0.attn_k.groups: found codes of 9 bits, expected 1 to 8"},
      {"no bits", groups(0, 0), "found codes of 0 bits"},
      {"a group back", groups(2, 4), "found a group that ends with column 4, expected 6 to 42"},
      {"a group beyond", groups(3, 43), "found a group that ends with column 43"},
      {"too few columns", groups(3, 41), "last group that ends with column 41, expected 42"},
      {"no groups", drop(".groups"), "tensor blk.0.attn_k.groups is absent"},
      {"no scale", drop(".scale"), "tensor blk.0.attn_k.scale is absent"},
      {"no codes", drop(".codes"), "tensor blk.0.attn_k.weight is absent"},
      {"scale not finite",
       bytes(".scale", [](std::vector<std::byte>& data) { put(data, 4, std::uint16_t{0x7C00}); }),
       "blk.0.attn_k.scale: element 4: found inf"},
      {"padding",
       bytes(".codes", [](std::vector<std::byte>& data) { data[2 * 16 + 10] = std::byte{0x10}; }),
       "blk.0.attn_k.codes: row 2: found one bits after column 42"},
      {"type of zero",
       [&](std::string& found, auto*, auto* data, auto*, DType* type) {
         if (type == nullptr || found != name + ".zero") return;
         *type = DType::kF16;
         data->resize(2 * data->size());
       },
       "blk.0.attn_k.zero: found type f16, expected i8 or i16"},
      {"shape of scale",
       [&](std::string& found, auto*, auto* data, formats::Shape* shape, auto*) {
         if (shape == nullptr || found != name + ".scale") return;
         shape->back() = 2;
         data->resize(data->size() / 3 * 2);
       },
       "blk.0.attn_k.scale: found shape [20, 2], expected [20, 3]"},
      {"layout",
       [](std::string& key, file::GgufValue* value, auto*, auto*, auto*) {
         if (value != nullptr && key == "onebit.codes") value->value = std::string("codes.v2");
       },
       "onebit.codes: found 'codes.v2', expected 'codes.v1'"},
      {"also dense",
       [&](std::string& found, auto*, auto*, auto*, auto*) {
         if (found == name + ".order") found = name + ".weight";
         if (found == name + ".scale") found = name + ".sign";
       },
       "found both blk.0.attn_k.sign and blk.0.attn_k.codes"},
  };
  for (const Case& damage : cases) {
    SCOPED_TRACE(damage.what);
    expect_refused(damage.change, {Role::kAttnK, 0}, damage.message);
  }
  const auto order = [](std::string& found, auto*, auto* data, auto*, auto*) {
    if (data != nullptr && found == "blk.0.attn_v.order") put(*data, 7, std::int32_t{42});
  };
  expect_refused(order, {Role::kAttnV, 0},
                 "blk.0.attn_v.order: found input 42, expected each of 0 to 41 once");
}

TEST_F(CodesFile, DamageOfProductsIsNamed) {
  write();
  const std::string name = "blk.1.attn_k";
  const auto check = [&](const test_models::GgufChange& change, const std::string& message) {
    expect_refused(change, {Role::kAttnK, 1}, message);
  };
  const auto bytes = [&](const char* suffix, auto change) {
    return [=](std::string& found, auto*, auto* data, auto*, auto*) {
      if (data != nullptr && found == name + suffix) change(*data);
    };
  };
  const auto renamed = [&](const char* suffix, const char* other) {
    return [=](std::string& found, auto*, auto*, auto*, auto*) {
      if (found == name + suffix) found = other[0] == 0 ? "" : name + other;
    };
  };
  check(bytes(".kinds", [](std::vector<std::byte>& data) { data[1] = std::byte{2}; }),
        name + ".kinds: group 1: found kind 2, expected 0 or 1");
  check(
      [&](std::string& found, auto*, auto* data, formats::Shape* shape, auto*) {
        if (data != nullptr && found == name + ".groups") put(*data, 0, std::int32_t{3});
        if (shape == nullptr || found != name + ".codes") return;
        shape->back() = 24;
        data->resize(20 * 24);
      },
      name + ".groups: found codes of 3 bits, expected 2 beside " + name + ".row_scale");
  check(bytes(".row_scale",
              [](std::vector<std::byte>& data) { put(data, 9, std::uint16_t{0x7E00}); }),
        name + ".row_scale: element 9: found nan");
  check(bytes(".in_scale",
              [](std::vector<std::byte>& data) { put(data, 50, std::uint16_t{0xFC00}); }),
        name + ".in_scale: element 50: found -inf");
  check(renamed(".kinds", ""), "tensor " + name + ".kinds is absent");
  check(renamed(".in_scale", ""), "tensor " + name + ".in_scale is absent");
  check(renamed(".row_scale", ""), "tensor " + name + ".scale is absent");
  check(renamed(".order", ".levels"), name + ".levels");
  const auto reshaped = [&](const char* suffix, std::int64_t outer) {
    return [=](std::string& found, auto*, auto* data, formats::Shape* shape, auto*) {
      if (shape == nullptr || found != name + suffix) return;
      const auto size = static_cast<std::int64_t>(data->size());
      data->resize(static_cast<std::size_t>(size / shape->front() * outer));
      shape->front() = outer;
    };
  };
  check(reshaped(".in_scale", 1), name + ".in_scale: found shape [1, 42], expected [2, 42]");
  check(reshaped(".row_scale", 19),
        name + ".row_scale: found shape [19, 3, 2], expected [20, 3, 2]");
  check(reshaped(".kinds", 2), name + ".kinds: found shape [2], expected [3]");
}

}  // namespace
}  // namespace onebit::arch
