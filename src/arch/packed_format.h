// The names in a packed file, for its reader (checkpoint_gguf.cc) and its writer
// (packed_writer.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "arch/checkpoint.h"

namespace onebit::arch {

inline constexpr std::string_view kWeightSuffix = ".weight";
inline constexpr std::string_view kSignSuffix = ".sign";           ///< i8 [out, row bytes]
inline constexpr std::string_view kInScaleSuffix = ".in_scale";    ///< g [in]
inline constexpr std::string_view kOutScaleSuffix = ".out_scale";  ///< h [out] or [out, groups]

// Of a matrix of codes (code_matrix.h); scales of inputs have kInScaleSuffix, [in] or,
// beside scales of rows, [2, in].
inline constexpr std::string_view kCodesSuffix = ".codes";         ///< i8 [out, row bytes]
inline constexpr std::string_view kGroupsSuffix = ".groups";       ///< i32: bits, ends of groups
inline constexpr std::string_view kScaleSuffix = ".scale";         ///< [out, groups]
inline constexpr std::string_view kZeroSuffix = ".zero";           ///< i8, less kZeroOffset, or i16
inline constexpr std::string_view kLevelsSuffix = ".levels";       ///< [out, groups, 2^bits]
inline constexpr std::string_view kRowScaleSuffix = ".row_scale";  ///< [out, groups, 2]
inline constexpr std::string_view kKindsSuffix = ".kinds";         ///< i8 [groups]: ProductKind
inline constexpr std::string_view kOrderSuffix = ".order";         ///< i32 [in]
// Of a matrix of two factors, W = A B.
inline constexpr std::string_view kOutFactorSuffix = ".out_factor";  ///< A [out, rank]
inline constexpr std::string_view kInFactorSuffix = ".in_factor";    ///< B [rank, in]

inline constexpr float kZeroOffset = 128.0F;

inline constexpr std::uint32_t kPackedVersion = 2;  ///< 1 had input scales in form foldable, too
inline constexpr std::string_view kPackedPrefix = "onebit.";
inline constexpr std::string_view kPackedVersionKey = "onebit.version";
inline constexpr std::string_view kPackedMethodKey = "onebit.method";
inline constexpr std::string_view kPackedFormKey = "onebit.form";
inline constexpr std::string_view kPackedGroupKey = "onebit.group_size";
inline constexpr std::string_view kPackedLayoutKey = "onebit.layout";
inline constexpr std::string_view kPackedCodesKey = "onebit.codes";  ///< kCodesLayout
// The ActivationRule; what is absent is none.
inline constexpr std::string_view kPackedInputNormKey = "onebit.activations.norm";
inline constexpr std::string_view kPackedRoundingKey = "onebit.activations.rounding";
inline constexpr std::string_view kPackedInputBitsKey = "onebit.activations.bits";
inline constexpr std::string_view kPackedKvBitsKey = "onebit.activations.kv_bits";
inline constexpr std::string_view kPackedExactKey = "onebit.activations.exact";
inline constexpr std::string_view kPackedSourceNameKey = "onebit.source.name";
inline constexpr std::string_view kPackedSourceHashKey = "onebit.source.sha256";
inline constexpr std::string_view kPackedProgramKey = "onebit.program";

/// Throws Error{kUnsupported} naming `file` for a name of no form.
Form parse_form(std::string_view name, std::string_view file);

}  // namespace onebit::arch
