// The names of a packed file that are enumerations.
#include "arch/packed_format.h"

#include <algorithm>
#include <fmt/format.h>
#include <iterator>

#include "base/error.h"
#include "file/quote.h"

namespace onebit::arch {

Form parse_form(std::string_view name, std::string_view file) {
  if (const auto form = value_of<Form>(name)) return *form;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: {}: found {}, expected one of {}", file, kPackedFormKey,
                          file::in_quotes(name), fmt::join(all_words<Form>(), ", ")));
}

void require_group_size(Form form, std::int64_t group_size) {
  if (std::find(std::begin(kGroupSizes), std::end(kGroupSizes), group_size) ==
      std::end(kGroupSizes)) {
    throw Error(
        ErrorCode::kUnsupported,
        fmt::format("group size: found {}, expected 16, 32, 64 or 128, or 0 for none", group_size));
  }
  if (group_size != 0 && form != Form::kFoldable) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("group size: found {} with the form {}, expected the form foldable",
                            group_size, word_of(form)));
  }
}

}  // namespace onebit::arch
