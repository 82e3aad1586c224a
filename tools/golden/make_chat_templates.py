#!/usr/bin/env python3
"""Golden values for src/text/chat_template_test.cc: what Jinja2 itself renders.

Writes tests/golden/chat/expressions.json (one small template a case,
among them some that Jinja renders and the program refuses) and conversations.json
(templates in the style of well-known models x conversations). The environment is the one that
transformers builds for chat templates: ImmutableSandboxedEnvironment, trim_blocks, lstrip_blocks,
loop controls, the {% generation %} tag, its tojson, raise_exception, strftime_now and namespace.
The clock stands still at NOW.

Needs: jinja2 3.1.6 (any Python 3.10 or later). Run: python tools/golden/make_chat_templates.py
"""
import datetime
import json
import pathlib
import platform

import jinja2
import jinja2.ext
import jinja2.nodes
import jinja2.sandbox

import chat_expressions
import chat_templates

NOW = 1721995200  # 2024-07-26 12:00:00 UTC: the same day in most time zones
OUT = pathlib.Path(__file__).resolve().parents[2] / "tests" / "golden" / "chat"


class Generation(jinja2.ext.Extension):
    """{% generation %}: marks the model's text for training, and renders its body as it is."""

    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = jinja2.nodes.CallBlock(self.call_method("_body"), [], [], body)
        return call.set_lineno(line)

    def _body(self, caller):
        return caller()


class Namespace(jinja2.utils.Namespace):
    def __setitem__(self, name, value):
        if name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)
        super().__setitem__(name, value)


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    def strftime_now(form):
        return datetime.datetime.fromtimestamp(NOW, datetime.timezone.utc).strftime(form)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals.update(raise_exception=raise_exception, strftime_now=strftime_now, dict=dict,
                       namespace=Namespace)
    return env


def render(env, source, variables):
    """{"output": text} or {"error": "syntax" | "runtime" | "unknown name"}"""
    try:
        template = env.from_string(source)
    except (jinja2.exceptions.TemplateSyntaxError, SyntaxError):  # the latter from Python
        return {"error": "syntax"}
    try:
        return {"output": template.render(**variables)}
    except Exception as error:  # Jinja lets Python's own errors through
        unknown = str(error).startswith(("No filter named", "No test named"))
        return {"error": "unknown name" if unknown else "runtime"}


def write(name, content):
    content["made_by"] = {"script": "tools/golden/make_chat_templates.py",
                          "jinja2": jinja2.__version__, "python": platform.python_version()}
    text = json.dumps(content, indent=1, ensure_ascii=False)
    assert len(text.encode()) < 300_000, name
    (OUT / name).write_text(text + "\n")
    print(name, len(text))


def main():
    env = environment()
    cases = []
    for source in dict.fromkeys(chat_expressions.CASES):  # each once
        case = {"template": source, **render(env, source, chat_expressions.VARIABLES)}
        if " at 0x" in case.get("output", ""):  # an object's address: nothing to reproduce
            case = {"template": source, "error": "address"}
        cases.append(case)
    for source in chat_expressions.REFUSED:
        assert "output" in render(env, source, chat_expressions.VARIABLES), source
        cases.append({"template": source, "error": "refused"})
    write("expressions.json", {"now": NOW, "variables": chat_expressions.VARIABLES, "cases": cases})

    results = []
    for template, source in chat_templates.TEMPLATES.items():
        for name, variables in chat_templates.CONVERSATIONS.items():
            for prompt in (False, True):
                full = {**chat_templates.COMMON, **variables, "add_generation_prompt": prompt}
                results.append({"template": template, "conversation": name,
                                "add_generation_prompt": prompt, **render(env, source, full)})
    failed = sum("error" in r for r in results)
    print(f"{len(cases)} expressions, {sum('error' in c for c in cases)} of them errors; "
          f"{len(results)} renderings, {failed} of them errors")
    write("conversations.json", {"now": NOW, "templates": chat_templates.TEMPLATES,
                                 "common": chat_templates.COMMON,
                                 "conversations": chat_templates.CONVERSATIONS,
                                 "results": results})


if __name__ == "__main__":
    main()
