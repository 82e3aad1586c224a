// The names of a packed file that are enumerations.
#include "arch/packed_format.h"

#include <fmt/format.h>

#include "base/error.h"
#include "file/quote.h"

namespace onebit::arch {

std::string_view form_name(Form form) noexcept {
  return form == Form::kPaper ? "paper" : "foldable";
}

Form parse_form(std::string_view name, std::string_view file) {
  for (const Form form : {Form::kPaper, Form::kFoldable}) {
    if (form_name(form) == name) return form;
  }
  throw Error(ErrorCode::kUnsupported,
              fmt::format("{}: {}: found {}, expected 'paper' or 'foldable'", file, kPackedFormKey,
                          file::in_quotes(name)));
}

}  // namespace onebit::arch
