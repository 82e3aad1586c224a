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

inline constexpr std::uint32_t kPackedVersion = 2;  ///< 1 had input scales in form foldable, too
inline constexpr std::string_view kPackedPrefix = "onebit.";
inline constexpr std::string_view kPackedVersionKey = "onebit.version";
inline constexpr std::string_view kPackedMethodKey = "onebit.method";
inline constexpr std::string_view kPackedFormKey = "onebit.form";
inline constexpr std::string_view kPackedGroupKey = "onebit.group_size";
inline constexpr std::string_view kPackedLayoutKey = "onebit.layout";
inline constexpr std::string_view kPackedSourceNameKey = "onebit.source.name";
inline constexpr std::string_view kPackedSourceHashKey = "onebit.source.sha256";
inline constexpr std::string_view kPackedProgramKey = "onebit.program";

/// Throws Error{kUnsupported} naming `file` for a name of no form.
Form parse_form(std::string_view name, std::string_view file);

}  // namespace onebit::arch
