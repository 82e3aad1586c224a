// Any bytes as a chat template: it renders or fails with a TemplateError, within its limits,
// without leaks or undefined behaviour.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/jinja_error.h"
#include "text/jinja_eval.h"
#include "text/jinja_parser.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace onebit::text::jinja;
  Limits limits;
  limits.steps = 200'000;
  limits.bytes = 4U << 20;
  try {
    const Body body = parse({reinterpret_cast<const char*>(data), size});
    Budget budget(limits);
    const Variables variables = {
        {"messages", from_json(budget, R"([{"role": "system", "content": " S\n"},
                                           {"role": "user", "content": "Grüße <x> 'q'"},
                                           {"role": "assistant", "content": "a,b,,c",
                                            "tool_calls": [{"f": {"x": 1.5, "y": null}}]}])")},
        {"add_generation_prompt", Value(true)},
        {"bos_token", Value(std::string("<s>"))},
        {"d", from_json(budget, R"({"b": 1, "a": [3, 1, 2], "c": {"k": "v"}})")},
        {"odd", Value(std::string("\xFF\xC3 \xE2\x82"))},
    };
    render(body, variables, limits, 1'700'000'000);
  } catch (const TemplateError&) {  // an answer like any other
  }
  return 0;
}
