"""The small templates of make_chat_templates.py: one construct each."""

VARIABLES = {
    "t": "Hello World", "empty": "", "blank": "  x y \n", "uni": "Grüße, Ünïcode ß 日本 😀",
    "n": 7, "neg": -7, "f": 2.5, "zero": 0, "yes": True, "no": False, "nothing": None,
    "xs": [3, 1, 2], "words": ["b", "A", "c", "a", "B"], "none_list": [], "nested": [[1, 2], [3]],
    "d": {"b": 1, "a": 2, "C": 3}, "deep": {"x": {"y": [10, 20, {"z": "end"}]}},
    "users": [{"name": "Ann", "age": 30, "tags": ["x"]}, {"name": "bob", "age": 25, "tags": []},
              {"name": "Cy", "age": 30}],
    "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "U"},
                 {"role": "assistant", "content": "A"}],
    "html": "<a href=\"x\">'&'</a>", "lines": "one\ntwo\n\nthree", "mixed": [1, 2.5, "s", None, True],
}


def e(*expressions):
    return ["{{ " + x + " }}" for x in expressions]


ARITHMETIC = e(
    "1 + 2 * 3", "(1 + 2) * 3", "7 / 2", "8 / 2", "7 // 2", "-7 // 2", "7 % 3", "-7 % 3", "7 % -3",
    "2 ** 10", "2 ** -1", "2 ** 3 ** 2", "-2 ** 2", "7.5 // 2", "-7.5 % 2", "1e3", "1.5e-7", "0.1 + 0.2",
    "1e16", "1e15", "123456789.125", "1e100", "0.0001", "0.00001", "-0.0", "2.0", "100 / 3",
    "1_000 + 1", "true + 1", "true == 1", "1 == 1.0", "1 / 0", "1 // 0", "1 % 0", "1.0 / 0",
    "1 + 'a'", "'a' + 1", "'ab' * 3", "3 * 'ab'", "'a' * -1", "[1] * 3", "[1] + [2]", "(1,) + (2,)",
    "[1] + (2,)", "- n", "+ n", "- 'a'", "n ~ f ~ t", "1 ~ none ~ true", "1 ~ 2 + 3", "1 + 2 ~ 3",
    "n - - 3", "f * 2", "f ** 2", "10 - 2 - 3", "100 // 7 // 2", "9007199254740993 + 0.0",
    "5 // 0.3", "-5 // 0.3", "5 % 0.3", "-0.0 // 1", "0 ** 0", "0 ** -1", "(-8) ** 2", "7 // -2",
)
LOGIC = e(
    "1 and 2", "0 and 2", "0 or 'x'", "'' or none", "not 1", "not not t", "not empty", "yes and not no",
    "1 < 2 < 3", "1 < 3 < 2", "1 == 1 != 2", "3 > 2 >= 2", "'a' < 'b'", "'Z' < 'a'", "'é' > 'z'",
    "[1, 2] < [1, 3]", "(1, 2) == (1, 2)", "[1, 2] == (1, 2)", "{'a': 1} == {'a': 1.0}",
    "{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "1 < 'a'", "none == none", "none < 1", "[1] < [1, 0]",
    "1 in [1, 2]", "3 not in [1, 2]", "'ell' in t", "'' in t", "1 in 'abc'", "'a' in d", "'z' in d",
    "2 in d.values()", "('a', 2) in d.items()", "1.0 in [1]", "'x' in nothing", "'x' in missing",
    "not 1 in [1]", "not (1 in [2])", "'a' if yes", "'a' if no", "'a' if no else 'b'",
    "'a' if no else 'b' if no else 'c'", "('a' if no) is undefined", "missing == missing",
    "missing == none", "missing != 1", "missing < 1", "missing + 1", "missing and 1", "not missing",
    "missing or 'd'", "true and true or false", "n > 5 and n < 10 or n == 0", "1 if 0 else 2 if 1 else 3",
)
LOOKUP = e(
    "t[0]", "t[-1]", "t[99]", "t[1:4]", "t[:5]", "t[-5:]", "t[::2]", "t[::-1]", "t[10:2:-3]", "t[5:2]",
    "uni[0:6]", "uni[-1]", "uni[-4:]", "xs[0]", "xs[-1]", "xs[9]", "xs[1:]", "xs[:-1]", "xs[::-1]", "xs[5:]",
    "xs[0:3:0]", "xs[true]", "xs['a']", "xs[1.0]", "(1, 2, 3)[1:]", "d.a", "d['a']", "d.missing", "d['missing']",
    "d.missing.x", "d[1]", "d.items", "missing.x", "missing['x']", "missing[0]", "missing[1:]", "nothing.x",
    "nothing.x.y", "nothing[0]", "nothing[1:]", "n.x", "n[0]", "deep.x.y[2].z", "deep['x']['y'][-1]['z']",
    "deep.x.y.0", "messages[0].role", "messages[0]['content']", "messages[1:][0].role", "messages[-1:]",
    "nested[0][1]", "d[[1]]", "t.upper()", "t['upper']()", "t.foo", "t.foo()", "t.__class__", "d.__len__",
    "xs.append(1)", "xs.append", "xs.append is defined", "d.update({'q': 1})", "d.pop('a')", "xs.pop()",
    "xs.index(1)", "xs.index(9)", "xs.count(3)", "(1, 1).count(1)", "range(3)[1]", "range(3)[-1]", "d.keys()[0]",
    "xs[n]", "t[n]", "{'a': {'b': 'c'}}.a.b", "[1, 2, 3][1]", "'abc'[1]", "messages[5].role",
)
LITERALS = e(
    "[]", "[1, 'a', none, true, 2.5]", "[1, 2,]", "()", "(1,)", "(1, 2)", "1, 2", "{}", "{'a': 1, 'b': [2]}",
    "{1: 'x', 'y': 2,}", "{'a': 1, 'a': 2}", "{[1]: 2}", "{(1, 2): 3}", "'it\\'s'", "\"say \\\"hi\\\"\"",
    "'a\\nb\\tc\\\\d'", "'\\x41\\u00e9\\U0001F600'", "'\\q\\101'", "'a' 'b'", "'multi\nline'", "\"'\"",
    "['it\\'s']", "[\"say \\\"hi\\\"\"]", "['both \\' and \\\"']", "['\\n\\t\\r\\\\\\x00\\x7f']", "['é日😀\\u00ad\\u200b\\u3000']",
    "[[], {}, ()]", "[none, missing]", "true", "True", "false", "False", "none", "None", "[1.0, 1e20, -0.0]",
    "uni", "d", "deep", "mixed", "xs", "nothing", "{'a': 1}['a']", "[d.items()]", "d.items()", "d.keys()",
    "d.values()", "range(3)", "range(1, 10, 3)", "range(5, 0, -2)|list", "range(0)|list", "range(3)|list",
    "'\\\nx'", "{'k': 'v'}|length", "'}}'", "'%}'", "{'a': {'b': {}}}",
)
FILTERS = e(
    "blank|trim", "'xxaxx'|trim('x')", "t|length", "uni|length", "xs|count", "d|length", "n|length", "missing|length",
    "t|lower", "t|upper", "uni|upper", "uni|lower", "'hELLO wORLD'|capitalize", "''|capitalize", "'hello-world (foo) [bar] <x>'|title",
    "\"it's o'clock\"|title", "xs|join", "xs|join(', ')", "users|join(',', attribute='name')", "'abc'|join('-')", "mixed|join('|')",
    "d|join", "missing|join('x')", "n|join", "xs|first", "none_list|first", "'abc'|first", "xs|last", "none_list|last", "'abc'|last",
    "missing|default('x')", "empty|default('x')", "empty|default('x', true)", "none|default('x')", "missing|d", "no|default(5, boolean=true)",
    "d|tojson", "deep|tojson", "deep|tojson(indent=2)", "[]|tojson(indent=2)", "{'a': []}|tojson(indent=4)", "uni|tojson",
    "uni|tojson(ensure_ascii=true)", "html|tojson", "mixed|tojson", "d|tojson(sort_keys=true)", "d|tojson(separators=(',', ':'))",
    "'\\x01\\x7f\\\\\\n'|tojson", "missing|tojson", "(1, 2)|tojson", "{1: 2, none: 3, true: 4}|tojson", "1e20|tojson", "xs|tojson(indent='\t')",
    "n|string", "none|string", "'42'|int", "'4.9'|int", "'x'|int", "'x'|int(9)", "' 1_000 '|int", "4.9|int", "-4.9|int", "true|int", "none|int",
    "'-5'|int", "'+5'|int", "'1e3'|int", "'2.5'|float", "'x'|float", "'x'|float(1.5)", "7|float", "'inf'|float", "missing|int", "'1_0.5'|float",
    "t|list", "d|list", "xs|list", "missing|list", "n|list", "users|map(attribute='name')|list", "users|map(attribute='tags.0')|list",
    "users|map(attribute='tags', default='-')|list", "words|map('upper')|list", "words|map('replace', 'a', 'z')|join", "words|map('nosuch')|list",
    "xs|map('string')|list", "none_list|map('upper')|list", "users|selectattr('age', 'equalto', 30)|map(attribute='name')|join(',')",
    "users|selectattr('tags')|map(attribute='name')|list", "users|rejectattr('age', 'gt', 26)|map(attribute='name')|list",
    "users|selectattr('tags', 'defined')|list|length", "users|rejectattr('tags')|map(attribute='name')|list", "xs|select('odd')|list",
    "xs|reject('odd')|list", "mixed|select|list", "mixed|reject('none')|list", "mixed|select('string')|list", "xs|select('>', 1)|list",
    "xs|select('in', [1, 2])|list", "users|selectattr('age', 'nosuch')|list", "t|replace('l', 'L')", "t|replace('l', 'L', 2)", "'aaa'|replace('', '-')",
    "n|replace(7, 8)", "d|items|list", "missing|items|list", "n|items|list", "d|dictsort", "d|dictsort(true)", "d|dictsort(false, 'value')",
    "d|dictsort(reverse=true)", "words|sort", "words|sort(reverse=true)", "words|sort(case_sensitive=true)", "users|sort(attribute='age')|map(attribute='name')|list",
    "users|sort(attribute='age,name')|map(attribute='name')|list", "[1, 'a']|sort", "xs|sort", "words|unique|list", "words|unique(true)|list",
    "[1, 1.0, 2, 1]|unique|list", "xs|reverse|list", "t|reverse", "uni|reverse", "d|reverse|list", "lines|indent", "lines|indent(2, true)",
    "lines|indent(2, blank=true)", "lines|indent('> ')", "''|indent", "html|escape", "html|e", "html|safe", "xs|min", "xs|max", "words|max", "none_list|max",
    "xs|sum", "users|sum(attribute='age')", "[0.5, 1]|sum", "-3|abs", "-2.5|abs", "2.5|round", "3.5|round", "42.55|round(1)", "42.55|round(1, 'floor')", "7|round",
    "42.1|round(0, 'ceil')", "2.675|round(2)", "'a'|length|string ~ 'b'", "xs|map('string')|join(',')|upper", "xs|nosuch", "xs|first|string|length",
    "users|map(attribute='age')|unique|list", "'x'|default('y')|upper", "-n|abs", "(xs|select('odd')) is iterable", "1 if xs|select('gt', 99) else 0",
    "xs|select('odd')|length", "xs|map('abs')|first", "t|trim|lower|replace(' ', '_')", "none|length", "none|trim", "users|map(attribute='nosuch')|list",
    "d|tojson(indent=0)",
)
METHODS = e(
    "blank.strip()", "'xxaxx'.strip('x')", "'xyaxy'.lstrip('yx')", "'xyaxy'.rstrip('xy')", "blank.strip(none)", "t.split()", "'a,b,,c'.split(',')",
    "'a,b,c'.split(',', 1)", "'a,b,c'.split(sep=',', maxsplit=1)", "'  a  b '.split()", "'  a  b  c '.split(none, 1)", "'a<s>b<s>c'.split('<s>')[-1]",
    "'a'.split('')", "''.split()", "''.split(',')", "'a,b,c'.rsplit(',', 1)", "t.upper()", "t.lower()", "\"it's a dog\".title()", "'hELLO'.capitalize()",
    "t.startswith('He')", "t.startswith(('x', 'He'))", "t.endswith('ld')", "t.startswith(1)", "t.replace('o', '0')", "t.replace('o', '0', 1)", "t.find('o')",
    "t.find('z')", "t.rfind('o')", "uni.find('ß')", "t.index('z')", "t.count('o')", "'aaaa'.count('aa')", "t.count('')", "', '.join(words)", "','.join(xs)",
    "lines.splitlines()", "'a\\r\\nb\\rc\\x0bd\\u2028e'.splitlines()", "'abc'.isdigit()", "'12'.isdigit()", "''.isdigit()", "' '.isspace()", "'AB1'.isupper()", "'ab1'.islower()",
    "'1'.islower()", "'a=b=c'.partition('=')", "'a=b=c'.rpartition('=')", "'abc'.partition('=')", "'prefix-x'.removeprefix('prefix-')", "'x.txt'.removesuffix('.txt')",
    "d.get('a')", "d.get('z')", "d.get('z', 'dflt')", "d.items()|list", "d.keys()|list", "d.values()|list", "d.items()|length", "d.get()", "t.upper(1)", "t.split(nosuch=1)",
    "d.copy()", "xs.copy()", "t.replace('o')", "'ÀÉ'.lower()", "'ÿ'.upper()", "'straße'.upper()", "'\\u00a0x\\u3000'.strip()", "'<think>a</think>b'.split('</think>')[0].split('<think>')[-1]",
)
TESTS = e(
    "t is defined", "missing is defined", "missing is undefined", "d.zzz is defined", "nothing is none", "nothing is not none", "t is string", "n is string", "d is mapping",
    "xs is mapping", "xs is iterable", "t is iterable", "n is iterable", "missing is iterable", "xs is sequence", "d is sequence", "n is number", "f is number", "yes is number", "t is number",
    "yes is true", "no is false", "1 is true", "n is integer", "yes is integer", "f is float", "yes is boolean", "yes is sameas true", "1 is sameas true", "nothing is sameas none",
    "n is equalto 7", "n is eq 7", "n is ne 7", "n is gt 3", "n is lt(3)", "n is ge 7", "n is le 7", "n is in [7]", "n is not in [7]", "n is odd", "n is even", "n is divisibleby 7", "n is divisibleby(2)",
    "'abc' is lower", "'ABC' is upper", "'upper' is filter", "'nosuch' is filter", "'odd' is test", "range is callable", "t.upper is callable", "t is callable", 
    "n is nosuch", "not n is odd", "n is odd and t is string", "(n is odd) ~ 'x'", "n is string or n is number", "'a' if n is odd else 'b'", "missing is none", "none is none", "d.items() is iterable",
    "d.items() is sequence", "range(3) is sequence", "missing is sequence", "missing is string", "n is greaterthan 3", "n is lessthan 3", "t is string is true", "[] is sequence",
)
STATEMENTS = [
    "{% for x in xs %}{{ loop.index }}/{{ loop.index0 }}/{{ loop.revindex }}/{{ loop.revindex0 }}/{{ loop.length }}/{{ loop.first }}/{{ loop.last }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}",
    "{% for x in xs %}{{ loop.previtem is defined }}{{ loop.nextitem is defined }}{% endfor %}",
    "{% for x in none_list %}x{% else %}empty{% endfor %}", "{% for x in missing %}x{% else %}empty{% endfor %}", "{% for x in nothing %}x{% endfor %}", "{% for x in n %}x{% endfor %}",
    "{% for x in xs if x > 1 %}{{ x }}{{ loop.index }}{{ loop.last }}{{ loop.length }}{% endfor %}", "{% for x in xs if x > 9 %}x{% else %}none{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }},{% endfor %}", "{% for k, v in d|items %}{{ k }}={{ v }},{% endfor %}", "{% for k in d %}{{ k }}{% endfor %}", "{% for c in 'äb' %}[{{ c }}]{% endfor %}",
    "{% for a, b in nested %}x{% endfor %}", "{% for (a, (b, c)) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}", "{% for x in xs %}{% for y in xs %}{{ loop.index }}{% endfor %}{{ loop.index }};{% endfor %}",
    "{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}", "{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}", "{% break %}",
    "{% for x in xs %}{{ loop.cycle('a', 'b') }}{% endfor %}", "{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{% endfor %}", "{% for x in xs %}{{ loop.depth }}{{ loop.nosuch }}{% endfor %}", "{{ loop }}",
    "{% for x in 1, 2, 3 %}{{ x }}{% endfor %}", "{% for x in xs[::-1] %}{{ x }}{% endfor %}", "{% for x in xs|reverse %}{{ x }}{{ loop.length }}{% endfor %}", "{% for x in range(2, 5) %}{{ x }}{% endfor %}",
    "{% set x = 1 %}{% for y in xs %}{% set x = y %}{{ x }}{% endfor %}{{ x }}", "{% set x = 1 %}{% if yes %}{% set x = 2 %}{% endif %}{{ x }}", "{% for y in xs %}{{ x }}{% set x = y %}{% endfor %}",
    "{% for y in xs %}{% if loop.first %}{% set q = y %}{% endif %}{{ q }}{% endfor %}",
    "{% set ns = namespace(v=0, w='a') %}{% for x in xs %}{% set ns.v = ns.v + x %}{% endfor %}{{ ns.v }}{{ ns.w }}{{ ns.z }}", "{% set ns = namespace({'a': 1}) %}{{ ns.a }}{{ ns['a'] }}", "{% set d.x = 1 %}", "{% set ns = namespace() %}{% set ns._x = 1 %}",
    "{% set ns = namespace(done=false) %}{% for x in xs if not ns.done %}{{ x }}{% set ns.done = true %}{% endfor %}", "{% set ns = namespace(done=false) %}{% for x in xs if not ns.done %}{{ x }}{{ loop.last }}{% set ns.done = true %}{% endfor %}",
    "{% set a, b = 1, 2 %}{{ a }}{{ b }}", "{% set a, b = [1] %}", "{% set a = 1, 2 %}{{ a }}", "{% set x %}ab{{ n }}{% endset %}[{{ x }}]", "{% set x | upper %}ab{% endset %}[{{ x }}]", "{% set x | replace('a', 'b') | upper %}ab{% endset %}{{ x }}",
    "{% set x = 'o' %}{% set y %}{% set x = 'i' %}{{ x }}{% endset %}{{ x }}{{ y }}",
    "{% if no %}a{% elif n == 7 %}b{% else %}c{% endif %}", "{% if no %}a{% elif no %}b{% else %}c{% endif %}", "{% if missing %}a{% endif %}b", "{% if xs and d and t %}a{% endif %}", "{% if not xs %}a{% else %}b{% endif %}",
    "{% macro m(a, b=2, c=a) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, c=3) }}|{{ m(b=5, a=4) }}|{{ m() }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{{ a }}{% endmacro %}{{ m(z=2) }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, k=3) }}", "{% macro m(n) %}{% if n > 0 %}{{ n }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(3) }}", "{% macro m() %}x{% endmacro %}{{ m()|upper }}{{ m() ~ 1 }}{{ m() + 'y' }}",
    "{% set g = 1 %}{% macro m() %}{{ g }}{% set g = 2 %}{{ g }}{% endmacro %}{{ m() }}{{ g }}", "{% macro m() %}{{ late }}{% endmacro %}{% set late = 5 %}{{ m() }}", "{{ m() }}{% macro m() %}x{% endmacro %}", "{% macro m(a=1, b) %}{% endmacro %}",
    "{% macro box(t) %}<{{ t }}:{{ caller() }}>{% endmacro %}{% call box('q') %}in{{ n }}{% endcall %}", "{% macro each(l) %}{% for x in l %}{{ caller(x) }}{% endfor %}{% endmacro %}{% call(x) each(xs) %}({{ x }}){% endcall %}", "{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}",
    "{% macro outer(v) %}{% macro inner_m(w) %}{{ v }}{{ w }}{% endmacro %}{{ inner_m(2) }}{% endmacro %}{{ outer(1) }}", "{% filter upper %}ab{{ t }}{% endfilter %}", "{% filter replace('a', 'b') | upper %}aXa{% endfilter %}", "{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}",
    "{% generation %}x{{ n }}{% endgeneration %}y", "{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}{{ m.content }}{% endgeneration %}{% else %}{{ m.content }}{% endif %}{% endfor %}", "{% set v = 1 %}{% generation %}{% set v = 2 %}{{ v }}{% endgeneration %}{{ v }}",
    "{% raw %}{{ x }}{% if %}{% endraw %}!", "{% raw -%}  {{ x }}  {%- endraw %}!", "a\n  {% raw %}\n b\n  {% endraw %}\nc", "{# comment #}a{#- c -#} b", "a {#- {{ x }} -#} b", "a\n  {# c #}\nb", "{# open",
    "a\n{% if yes %}\nb\n{% endif %}\nc\n", "  {% if yes %}x{% endif %}  y", "\n  {% if yes %}\n  x\n  {% endif %}\n", "a  {%- if yes -%}  b  {%- endif -%}  c", "a  {%+ if yes +%}\n  b{% endif %}", "a\n  {%+ if yes %}b{% endif %}", "x\n\n{{ n }}\n\n", "x\n  {{ n }}\n  y",
    "{{ n -}}  \n z", "z \n {{- n }}", "a\r\nb\rc\n", "{% if yes %}\r\na{% endif %}\r\n", "{%if yes%}a{%endif%}{{n}}", "a{{ '\n' }}b\n", "{{'a\n'}}{% if yes %}\n\nb{% endif %}", " {% set x = 1 %} {{ x }}", "a {% if yes %} b {% endif %} c", "{% if yes -%}\n\n  a\n\n{%- endif %}\n", "\t{% if yes %}\n\tb\n\t{% endif %}\n",
    "{% for x in xs -%}\n  {{ x }}\n{%- endfor %}", "{%- for x in xs %}\n  {{- x }}\n{%- endfor %}", "{{ raise_exception('no ' ~ n) }}", "{{ strftime_now('%d %b %Y') }}", "{{ strftime_now('%Y-%m-%d %A %B') }}", "{{ dict(a=1, b='x') }}{{ dict([(1, 2)]) }}{{ dict({'z': 1}, y=2) }}", "{{ range(200000) }}", "{{ range() }}", "{{ range(1, 5, 0) }}", "{{ nosuch() }}", "{{ n() }}", "{{ (range)(2)|list }}",
    "{% if %}x{% endif %}", "{% endif %}", "{% if yes %}", "{% for x xs %}{% endfor %}", "{% nosuch %}", "{{ }}", "{{ 1 + }}", "{{ (1 }}", "{{ [1, 2 }}", "{{ 'open }}", "{{ a b }}", "{% set 1 = 2 %}", "{% set true = 2 %}", "{{ x ? }}", "{{ {'a' 1} }}", "{% else %}", "{% if yes %}{% else %}{% else %}{% endif %}", "{{ f(a=1, 2) }}", "{{ 1 is defined is defined }}", "{%", "{{", "{{ 1 }", "plain", "", "{ % } { { }", "}} %}", "{{ '{{' }}{{ '{%' }}", "{% for loop in xs %}{% endfor %}",
    "{% set xs2 = xs + [9] %}{{ xs2 }}{{ xs }}", "{% set messages = messages[1:] %}{{ messages|length }}", "{% set s = messages[0]['content'] if messages[0]['role'] == 'system' else '' %}{{ s }}", "{{ [1, 2, 3][messages|length - 1] }}", "{{ (messages|last).role }}{{ (messages|first)['content'] }}", "{{ messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|first }}", "{{ messages|map(attribute='role')|list }}", "{{ 'a' 'b' ~ 'c' }}",
    "{% for m in messages %}{{ (m.role == 'user') != (loop.index0 % 2 == 0) }}{% endfor %}", "{{ namespace is defined }}{{ ns is defined }}", "{% macro m(a, *b) %}{% endmacro %}", "{{ dict(*[[('a', 1)]], **{'b': 2}) }}", "{% macro m(a, b) %}{{ a }}{{ b }}{% endmacro %}{{ m(*[1, 2]) }}{{ m(**{'a': 3, 'b': 4}) }}", "{% if 'x' in 'xyz' and 'q' not in 'xyz' %}ok{% endif %}", "{{ -1|abs }}{{ -n.x }}", "{{ not yes == no }}", "{{ (not yes) == no }}", "{{ n.__class__ }}",
]
# Jinja has these, the engine refuses them.
REFUSED = e(
    "users|groupby('age')|list|length", "'%s' % 'x'", "'{}'.format(1)", "xs|batch(2)|list|length", "t is escaped", "range(3)[1:]",
    "2 ** 63", "9223372036854775808", "99999999999999999999|string", "0x10", "'\\N{EN DASH}'", "t.zfill(20)", "n.bit_length()", "(-8) ** 0.5", "xs[0, 1]",
    "'ff'|int(0, 16)", "'²'.isdigit()", "t.startswith('e', 1)", "d.keys() == d.keys()", "t|wordcount", "t|truncate(3)", "lipsum is defined and t|center(20)",
) + ["{% block b %}{% endblock %}", "{% autoescape true %}{% endautoescape %}", "{% for x in nested recursive %}{{ loop(x) if x is iterable else x }}{% endfor %}", "{% print n %}", "{% set ñ = 1 %}{{ ñ }}"]
CASES = ARITHMETIC + LOGIC + LOOKUP + LITERALS + FILTERS + METHODS + TESTS + STATEMENTS
