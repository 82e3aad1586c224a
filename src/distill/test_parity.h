// Training on another device gives what it gives on the CPU, whatever the student.
#pragma once

#include <cstring>
#include <gtest/gtest.h>
#include <ostream>

#include "distill/test_run.h"
#include "file/safetensors.h"

namespace onebit::distill::testing {

struct StudentCase {
  const char* name;
  arch::Form form;
  std::int64_t group_size;
  bool everything;  ///< all loss terms, norms trained, blocks computed again for their gradients
};

inline void PrintTo(const StudentCase& student, std::ostream* out) { *out << student.name; }

inline const auto kStudents =
    ::testing::Values(StudentCase{"paper", arch::Form::kPaper, 0, false},
                      StudentCase{"free", arch::Form::kFree, 0, false},
                      StudentCase{"foldable", arch::Form::kFoldable, 0, false},
                      StudentCase{"grouped", arch::Form::kFoldable, 16, false},
                      StudentCase{"everything", arch::Form::kPaper, 0, true});

/// With both stages, in f64.
class DeviceParity : public Trainer, public ::testing::WithParamInterface<StudentCase> {
 protected:
  void expect_same_as_cpu(torch::Device device);
};

inline void DeviceParity::expect_same_as_cpu(torch::Device device) {
  const StudentCase& student = GetParam();
  Recipe recipe = Trainer::recipe(/*steps=*/4);
  recipe.compute = torch::kFloat64;
  recipe.form = student.form;
  recipe.group_size = student.group_size;
  recipe.block.steps = 3;
  if (student.everything) {
    recipe.loss.logit.alpha = 0.5;
    recipe.loss.logit.temperature = 1.5;
    recipe.loss.beta = 1;
    recipe.loss.gamma = 1;
    recipe.train_norms = true;
    recipe.sign_gradient = nn::SignGradient::kTanh;
  }
  gradient_checkpointing_ = student.everything;
  Observer observer;
  const TrainResult here = run(recipe, "here", observer);
  device_ = device;
  const TrainResult there = run(recipe, "there", observer);
  EXPECT_NEAR(there.start.kl, here.start.kl, 1e-10 * here.start.kl);
  EXPECT_NEAR(there.end.kl, here.end.kl, 1e-10 * here.end.kl);

  const auto a = file::SafetensorsFile::open(folder_ / "here/state.safetensors");
  const auto b = file::SafetensorsFile::open(folder_ / "there/state.safetensors");
  ASSERT_EQ(a.tensors().size(), b.tensors().size());
  for (const file::SafeTensor& tensor : a.tensors()) {
    const file::SafeTensor* other = b.find(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    ASSERT_EQ(tensor.view.dtype, formats::DType::kF64);
    const auto count = static_cast<std::int64_t>(tensor.view.data.size() / sizeof(double));
    const auto values = [&](const file::SafeTensor& t) {
      torch::Tensor result = torch::empty({count}, torch::kFloat64);
      std::memcpy(result.mutable_data_ptr(), t.view.data.data(), t.view.data.size());
      return result;
    };
    // The attention of the two is computed in another order.
    EXPECT_TRUE(torch::allclose(values(*other), values(tensor), 1e-9, 1e-12)) << tensor.name;
  }

  // What is saved there is read there.
  const TrainResult again = run(recipe, "there", observer, /*resume=*/true);
  EXPECT_EQ(again.end.kl, there.end.kl);
}

}  // namespace onebit::distill::testing
