// The names of a packed file that are enumerations.
#include "arch/packed_format.h"

#include <fmt/format.h>

#include "base/error.h"
#include "file/quote.h"

namespace onebit::arch {

Form parse_form(std::string_view name, std::string_view file) {
  if (const auto form = value_of<Form>(name)) return *form;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: {}: found {}, expected one of {}", file, kPackedFormKey,
                          file::in_quotes(name), fmt::join(all_words<Form>(), ", ")));
}

}  // namespace onebit::arch
