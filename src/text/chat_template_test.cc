// Chat templates against Jinja2 itself (tests/golden/chat), and what a hostile template may not do.
#include "text/chat_template.h"

#include <cstring>
#include <fmt/format.h>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/mapped_file.h"
#include "base/test_paths.h"
#include "text/jinja_error.h"
#include "text/jinja_eval.h"
#include "text/jinja_parser.h"

namespace onebit::text {
namespace {

using Json = nlohmann::ordered_json;

Json read_golden(const std::string& name) {
  std::ifstream file(testing::golden("chat") / name);
  return Json::parse(file);
}

/// Renders with the variables of a golden file.
std::string render(const std::string& source, const Json& variables, std::int64_t now = 0) {
  jinja::Budget budget{jinja::Limits{}};
  jinja::Variables values;
  for (const auto& [name, value] : variables.items()) {
    values.emplace_back(name, jinja::from_json(budget, value.dump()));
  }
  return jinja::render(jinja::parse(source), values, jinja::Limits{}, now);
}

/// The code of the error that rendering gives; nothing when it gives none.
std::optional<ErrorCode> failure(const std::string& source, const Json& variables) {
  try {
    render(source, variables);
  } catch (const jinja::TemplateError& error) {
    EXPECT_GT(error.line(), 0) << source << ": " << error.what();
    return error.code();
  }
  return std::nullopt;
}

/// The message of the Error that the public interface gives for a template over one user message.
std::string message_of(const std::string& source, ErrorCode code) {
  const std::vector<ChatMessage> messages = {{"user", "hello"}};
  try {
    ChatTemplate(source).render(messages, true, "<s>", "</s>");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << source;
    return error.what();
  }
  return "no error";
}

TEST(ChatTemplate, EveryExpressionAsJinja) {
  const Json golden = read_golden("expressions.json");
  ASSERT_GT(golden["cases"].size(), 500U);
  for (const Json& c : golden["cases"]) {
    const std::string source = c["template"];
    SCOPED_TRACE(source);
    if (!c.contains("error")) {
      std::string rendered;
      try {
        rendered = render(source, golden["variables"], golden["now"]);
      } catch (const jinja::TemplateError& error) {
        ADD_FAILURE() << "line " << error.line() << ": " << error.what();
        continue;
      }
      EXPECT_EQ(rendered, c["output"].get<std::string>());
      continue;
    }
    const std::optional<ErrorCode> code = failure(source, golden["variables"]);
    ASSERT_TRUE(code.has_value()) << "Jinja gives an error: " << c["error"];
    if (c["error"] == "runtime") {
      EXPECT_EQ(*code, ErrorCode::kInvalidArgument);
    } else if (c["error"] == "syntax") {
      EXPECT_TRUE(*code == ErrorCode::kCorrupt || *code == ErrorCode::kUnsupported);
    } else {
      EXPECT_EQ(*code, ErrorCode::kUnsupported);
    }
  }
}

TEST(ChatTemplate, EveryConversationAsJinja) {
  const Json golden = read_golden("conversations.json");
  ASSERT_GT(golden["results"].size(), 200U);
  for (const Json& result : golden["results"]) {
    SCOPED_TRACE(result["template"].get<std::string>() + " x " +
                 result["conversation"].get<std::string>());
    Json variables = golden["common"];
    variables.update(golden["conversations"][result["conversation"].get<std::string>()]);
    variables["add_generation_prompt"] = result["add_generation_prompt"];
    const std::string source = golden["templates"][result["template"].get<std::string>()];
    if (result.contains("error")) {
      EXPECT_EQ(failure(source, variables), ErrorCode::kInvalidArgument);
    } else {
      EXPECT_EQ(render(source, variables, golden["now"]), result["output"].get<std::string>());
    }
  }
}

TEST(ChatTemplate, SmolLm2sOwnTemplate) {
  const std::filesystem::path path = testing::model("smollm2-135m-instruct.gguf");
  ONEBIT_REQUIRE_FILE(path);
  // The metadata string: its key, the type (8: string), the length as u64, the bytes.
  const MappedFile file = MappedFile::open(path);
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes().data()),
                               file.bytes().size());
  const std::size_t key = bytes.find("tokenizer.chat_template");
  ASSERT_NE(key, std::string_view::npos);
  const std::string_view value = bytes.substr(key + 23 + 4);
  std::uint64_t size = 0;
  std::memcpy(&size, value.data(), sizeof(size));
  const ChatTemplate chat(value.substr(8, size));

  const std::vector<ChatMessage> messages = {
      {"user", "Hi"}, {"assistant", "Hello."}, {"user", "Bye"}};
  EXPECT_EQ(chat.render(messages, true, "<|im_start|>", "<|im_end|>"),
            "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging "
            "Face<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello."
            "<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n");
  const std::vector<ChatMessage> with_system = {{"system", "S"}, {"user", "U"}};
  EXPECT_EQ(chat.render(with_system, false, "", ""),
            "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n");
}

TEST(ChatTemplate, MessagesAndTokensReachTheTemplate) {
  const ChatTemplate chat(
      "{{ bos_token }}{% for m in messages %}{{ m.role }}={{ m['content'] }};{% endfor %}"
      "{{ eos_token }}{{ add_generation_prompt }}{{ tools }}{{ documents is defined }}");
  const std::vector<ChatMessage> messages = {{"user", "a"}, {"assistant", "b"}};
  EXPECT_EQ(chat.render(messages, false, "<s>", "</s>"), "<s>user=a;assistant=b;</s>FalseNoneTrue");
  EXPECT_EQ(chat.render({}, true, "", ""), "TrueNoneTrue");
}

TEST(ChatTemplate, RendersTheSameAgainAndFromMovedTemplates) {
  ChatTemplate chat("{% set ns = namespace(n=0) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}");
  EXPECT_EQ(chat.render({}, true, "", ""), "1");
  const ChatTemplate moved = std::move(chat);
  EXPECT_EQ(moved.render({}, true, "", ""), "1");
}

TEST(ChatTemplate, BytesThatAreNoUtf8PassUnchanged) {
  const std::string odd = "\xFF\xC3 \xE2\x82";
  const std::vector<ChatMessage> messages = {{"user", odd}};
  EXPECT_EQ(ChatTemplate("{{ messages[0].content }}").render(messages, true, "", ""), odd);
  EXPECT_EQ(ChatTemplate("{{ messages[0].content|length }}{{ messages[0].content[0] }}")
                .render(messages, true, "", ""),
            "5\xFF");
  EXPECT_EQ(ChatTemplate("{{ messages[0].content|upper|trim }}").render(messages, true, "", ""),
            odd);
}

TEST(ChatTemplate, MessagesSayWhatAndOnWhichLine) {
  EXPECT_EQ(message_of("a\n{{ raise_exception('no system role') }}", ErrorCode::kInvalidArgument),
            "chat template, line 2: no system role");
  EXPECT_EQ(message_of("{{ raise_exception('two\\nlines') }}", ErrorCode::kInvalidArgument),
            "chat template, line 1: two lines");
  EXPECT_EQ(message_of("{{ raise_exception('a\x1B\x7F\u0080z\u009F\u00A0') }}",
                       ErrorCode::kInvalidArgument),
            "chat template, line 1: a   z \u00A0");
  EXPECT_EQ(message_of("{{ raise_exception('a' * 1000) }}", ErrorCode::kInvalidArgument),
            "chat template, line 1: " + std::string(400, 'a'));
  EXPECT_EQ(message_of("{{ x.y }}", ErrorCode::kInvalidArgument),
            "chat template, line 1: 'x' is undefined");
  EXPECT_EQ(message_of("{{ messages[0]['" + std::string(99, 'x') + "\u00E9'].y }}",
                       ErrorCode::kInvalidArgument),
            "chat template, line 1: 'dict object' has no attribute '" + std::string(99, 'x') + "'")
      << "cut after 100 bytes, not inside a character";
  EXPECT_EQ(message_of("\n\n{% if messages[0].z.y %}{% endif %}", ErrorCode::kInvalidArgument),
            "chat template, line 3: 'dict object' has no attribute 'z'");
  EXPECT_EQ(message_of("{{ 1 + 'a' }}", ErrorCode::kInvalidArgument),
            "chat template, line 1: '+' does not take int and str");
  EXPECT_EQ(message_of("\n{{ 'a'|urlize }}", ErrorCode::kUnsupported),
            "chat template, line 2: the filter 'urlize' is not supported");
  EXPECT_EQ(message_of("{{ 1 is frobnicated }}", ErrorCode::kUnsupported),
            "chat template, line 1: the test 'frobnicated' is not supported");
  EXPECT_EQ(message_of("{% include 'x' %}", ErrorCode::kUnsupported),
            "chat template, line 1: the statement 'include' is not supported");
  EXPECT_EQ(message_of("{{ 'a'.zfill(3) }}", ErrorCode::kUnsupported),
            "chat template, line 1: the attribute 'zfill' of a str is not supported");
  EXPECT_EQ(message_of("{{ 9223372036854775807 + 1 }}", ErrorCode::kUnsupported),
            "chat template, line 1: an integer beyond 64 bits is not supported");
  EXPECT_EQ(message_of("{% frobnicate %}", ErrorCode::kCorrupt),
            "chat template, line 1: found 'frobnicate', expected a statement");
  EXPECT_EQ(message_of("{% if 1 %}\n\n", ErrorCode::kCorrupt),
            "chat template, line 2: the template ends inside a block, expected 'endif'");
  EXPECT_EQ(message_of("{{ 1 ", ErrorCode::kCorrupt),
            "chat template, line 1: a tag is not closed, expected '}}'");
}

/// What no template may do to the program, each with the line that stops it.
TEST(ChatTemplate, HostileTemplatesAreStopped) {
  const std::string nested_parentheses =
      "{{ " + std::string(5000, '(') + std::string(5000, ')') + " }}";
  std::string nested_blocks;
  for (int i = 0; i < 5000; ++i) nested_blocks += "{% if 1 %}";
  std::string long_sum = "{{ 1";
  for (int i = 0; i < 5000; ++i) long_sum += "+1";
  long_sum += " }}";
  std::string long_filter = "{{ 'a'";
  for (int i = 0; i < 5000; ++i) long_filter += "|trim";
  long_filter += " }}";
  const std::string grow = "{% set ns = namespace(x='ab') %}{% for i in range(200) %}";
  // 2^50 items as 50 lists: small until it is printed or compared.
  const std::string fold =
      "{% set ns = namespace(x=[1], y=[1]) %}{% for i in range(50) %}"
      "{% set ns.x = [ns.x, ns.x] %}{% set ns.y = [ns.y, ns.y] %}{% endfor %}";
  const std::string million = "{% for i in range(1000) %}{% for j in range(1000) %}";
  const std::string loops =
      "{% set ns = namespace(l=0) %}{% for i in range(90000) %}{% for j in [ns.l] %}"
      "{% set ns.l = loop %}{% endfor %}{% endfor %}";
  const std::string megabyte = "{% set m = ('x' * 1000) * 1000 %}";
  std::string parameters = "p0";
  std::string variables;
  std::string attributes = "{% set ns = namespace() %}";
  for (int i = 1; i < 2000; ++i) {
    parameters += fmt::format(",p{}", i);
    variables += fmt::format("{{% set v{} = 0 %}}", i);
    attributes += fmt::format("{{% set ns.a{} = 0 %}}", i);
  }
  const std::vector<std::string> templates = {
      // endless or nearly so
      "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
      million + "{% for k in range(1000) %}{% endfor %}{% endfor %}{% endfor %}",
      "{% set a = range(100000)|list %}{% for x in a %}{{ -1 in a }}{% endfor %}",
      "{% set s = 'a' * 1000000 %}{% set n = 'a' * 500000 ~ 'b' %}{{ n in s }}{{ s.find(n) }}",
      // long or many names
      "{% macro m(" + parameters + ") %}{% endmacro %}{% for i in range(500) %}{{ m() }}" +
          "{% endfor %}",
      variables + "{% for i in range(50000) %}{{ v1999 }}{% endfor %}",
      attributes + "{% for i in range(50000) %}{{ ns.a1999 }}{% endfor %}",
      megabyte +
          "{% set n = ('x' * 1000) * 1000 %}{% for i in range(500) %}{{ m is sameas n }}"
          "{% endfor %}",
      megabyte +
          "{% set f = '%' ~ m|replace('x', '-') ~ 'd' %}{% for i in range(200) %}"
          "{{ strftime_now(f) }}{% endfor %}",
      std::string(
          "{% for i in range(8) %}{% set l = range(100000)|map(attribute='x' * 100)|list %}") +
          "{% endfor %}",
      megabyte +
          "{% set d = {m: 1} %}{% for i in range(300) %}{% set n = namespace(**d) %}"
          "{% endfor %}",
      megabyte +
          "{% set d = {m: 1} %}{% macro k() %}{{ kwargs|length }}{% endmacro %}"
          "{% for i in range(300) %}{% set n = k(**d) %}{% endfor %}",
      // too much memory
      grow + "{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
      grow + "{% set ns.x = ns.x + ns.x %}{% endfor %}",
      grow + "{% set ns.x = ns.x|replace('a', ns.x) %}{% endfor %}",
      grow + "{% set ns.x = [ns.x, ns.x] %}{% endfor %}",
      fold + "{{ ns.x }}",
      fold + "{{ ns.x|tojson }}",
      fold + "{{ ns.x == ns.y }}",
      "{{ 'a' * 9000000000000000000 }}",
      "{{ [1, 2, 3] * 9000000000000000000 }}",
      "{{ 'a'|indent(9000000000000000000) }}",
      "{{ [1]|tojson(indent=9000000000000000000) }}",
      million + "{{ 'aaaaaaaaaa' * 100 }}{% endfor %}{% endfor %}",
      "{% set s = 'a' * 1000000 %}{{ s|replace('', s) }}",
      "{% set s = 'a' * 10000 %}{{ (s * 10000)|list|join(s) }}",
      // too deep
      nested_parentheses,
      nested_blocks,
      long_sum,
      long_filter,
      "{{ " + std::string(5000, '-') + "1 }}",
      "{{ " + std::string(5000, '[') + std::string(5000, ']') + " }}",
      loops,
  };
  for (const std::string& source : templates) {
    try {
      ChatTemplate(source).render({}, true, "", "");
      ADD_FAILURE() << "not stopped: " << source.substr(0, 100);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kResource)
          << source.substr(0, 100) << ": " << error.what();
    }
  }
}

/// Rings and long chains of what refers to each other are freed, without deep recursion (this test
/// earns its keep under AddressSanitizer).
TEST(ChatTemplate, RingsAndChainsAreFreed) {
  for (const char* source : {
           "{% set a = namespace() %}{% set b = namespace(a=a) %}{% set a.b = b %}{% set a.a = a "
           "%}",
           "{% set ns = namespace(l=none) %}{% for i in range(50000) %}"
           "{% set ns.l = namespace(l=ns.l) %}{% endfor %}",
           "{% set ns = namespace(m=none) %}{% for i in range(50000) %}{% set old = ns.m %}"
           "{% macro m() %}{{ old }}{% endmacro %}{% set ns.m = m %}{% endfor %}",
           "{% for x in [1, 2] %}{{ loop.changed(loop) }}{% endfor %}",
           "{% set ns = namespace() %}{% for x in [1, 2] if true %}{% set ns.l = loop %}{% break %}"
           "{% endfor %}{{ ns.l.last }}{{ ns.l.length }}",
       }) {
    EXPECT_NO_THROW(ChatTemplate(source).render({}, true, "", "")) << source;
  }
}

TEST(ChatTemplate, LongConversationsFitTheLimits) {
  std::vector<ChatMessage> messages;
  messages.reserve(2000);
  for (int i = 0; i < 2000; ++i) {
    messages.push_back({i % 2 == 0 ? "user" : "assistant", std::string(2000, 'x')});
  }
  const Json golden = read_golden("conversations.json");
  for (const char* name : {"llama2", "llama31", "mistral", "qwen3", "gemma3", "deepseek"}) {
    const ChatTemplate chat(golden["templates"][name].get<std::string>());
    EXPECT_GT(chat.render(messages, true, "<s>", "</s>").size(), 2000U * 2000U) << name;
  }
}

}  // namespace
}  // namespace onebit::text
