"""Invented rows of every task's data set, whose text is awkward in the ways that real sets are.

Shared by make_tasks.py and whoever wants a tiny data set. EXAMPLES[task] of rows(task) are few-shot examples too, one
of them three times, so that a document may meet itself among its examples. Characters whose upper or lower case is
several characters are left out: docs/evaluation.md.
"""


def piqa():
    pairs = [
        ("How do I ready a guinea pig cage?", "Fill it with ripped paper.", "Fill it with ripped jeans."),
        ("dresser", "replace drawer with bobby pin ", "finish, woodgrain with  bobby pin "),
        (" tie a knot  ", "", "pull\nhard"),
        ("say \"it's\"", "It's \"so\", isn't it?", "back\\slash \\n and 'x'"),
        ("Größe – 日本語 😀\u00a0", "\u3000wide", "naïve\u00a0"),
        ("Use {{ braces }} and {% blocks %}", "{{goal}}", "{# none #}"),
        ("42", "7", "[1, 2]"),
        ("line\nbreak\ttab", " starts with a space", "\n"),
        ("Boil an egg", "Put it into cold water and wait.", "Put it into the sun and wait."),
        ("A\u2028B", "e\u0301clair", "éclair"),
    ]
    return [{"goal": goal, "sol1": a, "sol2": b, "label": i % 2} for i, (goal, a, b) in enumerate(pairs)]


def winogrande():
    sentences = [
        ("Sarah was a much better surgeon than Maria so _ got the easier cases.", "Sarah", "Maria"),
        ("_ gave Anna the book.", "Jane", "Ruth"),
        ("The vase fell on the shelf because the _was weak.", "vase", "shelf"),
        ("He put the_ into the bag, so the _ was full.", "ball", "box"),
        ("The cake of Zoë\u00a0was better than Ève's, for _\u00a0 had an oven .", "Zoë", "Ève"),
        ("Ben liked tea and Sam did not, so _   drank it.  ", "Ben ", " Sam"),
        ("\"Who?\" asked Tim of Kim; \"_,\" was the answer.", "Tim", "Kim"),
        ("The   cat chased the mouse until the _\nwas tired", "cat", "mouse"),
        ("It's John's or Jack's: _'s coat is red.", "John", "Jack"),
    ]
    return [{"sentence": s, "option1": a, "option2": b, "answer": str(i % 2 + 1)}
            for i, (s, a, b) in enumerate(sentences)]


def hellaswag():
    scenes = [
        ("Roof shingle removal", "A man is sitting on a roof.", "he",
         ["is using wrap.", "is ripping tiles off.", "holds a cube.", "starts pulling up roofing."]),
        ("Personal Care and Style", "[header] How to braid [title] Comb it. [step] Use a comb.", "",
         ["[substeps] Wet it. Dry it.", "[title] Part it. [step] In three.", " Then [b]stop[/b].", "A  [x]  B"]),
        ("Finance", "Open [a\nb] an account. [", "the MAN's Bank",
         ["[unclosed and so on", "closed] twice ]", "[] empty [ ]", "a   b    c"]),
        ("élan", "Qu'est-ce\u00a0que c'est?", "éCLAIR von ÖSTERREICH",
         ["日本語 [注] です。", "\u00a0spaces\u2003", "😀 [😀] 😀", "naïve"]),
        ("  Spaces ", "  two  spaces  ", "  lead", ["", " ", "tab\tand\nline", "[title] [title] end"]),
        ("Ǆ", "ǆ", "ǆungla Ǆ", ["ǅ", "Ω ΩΜΕΓΑ", "ЖУК жук", "A"]),
        ("Clean and jerk", "A lady walks to a barbell.", "the lady",
         ["swings.", "pulls forward.", "pulls a rope.", "stands and lifts."]),
        ("3", "4", "5", ["6", "7", "8", "9"]),
    ]
    return [{"ind": i, "activity_label": label, "ctx_a": a, "ctx_b": b, "ctx": f"{a} {b}", "endings": endings,
             "source_id": f"invented~{i}", "split": "val", "split_type": "indomain", "label": str(i % 4)}
            for i, (label, a, b, endings) in enumerate(scenes)]


def boolq():
    questions = [
        ("is house tax and property tax the same", "Property tax or 'house tax' is a local tax."),
        ("does ``this'' have quotes", "Ethanol fuel -- All biomass (or ``most'') is \"grown\"."),
        (" is there a space ", "Two  spaces, a line\nand a second one.\n"),
        ("can größe be 日本語", "Größe\u00a0– 日本語 😀."),
        ("42", "42"),
        ("are {{ braces }} kept", "{% raw %} {{ passage }}"),
    ]
    return [{"question": q, "passage": p, "answer": i % 2 == 0, "label": int(i % 2 == 0)}
            for i, (q, p) in enumerate(questions)]


def science():
    """ARC's form; answers are labels."""
    questions = [
        ("Which technology was developed most recently?", "ABCD",
         ["cellular telephone", "television", "refrigerator", "airplane"], "A"),
        ("Which is a unit of force?", "1234", ["N", "kg", "m", "s"], "3"),
        ("Is it \"hot\" at 0°C?  ", "ABC", ["it's \"hot\"", "no,\\n it isn't", " maybe "], "C"),
        ("Choose.\nOne line more", "ABCDE", ["1", "2", "3", "4", "5"], "E"),
        ("Größe\u00a0in µm", "AB", ["日本語", "😀\u2003"], "B"),
        ("What melts ice?", "ABCD", ["salt", "sand", "snow", "sound"], "A"),
        ("42", "ABCD", ["", " ", "{{ x }}", "[x]"], "D"),
    ]
    return [{"id": f"invented_{i}", "question": q, "choices": {"text": texts, "label": list(labels)}, "answerKey": key}
            for i, (q, labels, texts, key) in enumerate(questions)]


def openbookqa():
    return [{"id": row["id"], "question_stem": row["question"], "choices": row["choices"],
             "answerKey": " " * (i % 2) + row["answerKey"]} for i, row in enumerate(science())]


def lambada():
    return [{"text": text} for text in (
        "He came to the door and knocked, but nobody opened the door",
        "Two  spaces and a line\nthen the end", "It was 42", "She asked him \"why?\" and he said nothing.",
        "Größe – 日本語 😀", "word", "It ends with a space ", "A tab\tis no space", "{{ text }} is kept")]


def mmlu():
    """Questions of one subject and of another, which must stay out."""
    questions = [
        ("  Find all c in Z_3.\n", ["0", "1", "2", "3"]),
        ("Statement 1 | If aH is an element.\n\nStatement 2 | No.", ["True, True", "False", " True ", "False\n"]),
        ("What is {{ x }}?", ["it's \"x\"", "\\x", "{{ x }}", "[x]"]),
        ("Größe\u00a0", ["日本語", "µ", "😀", "é"]),
        ("What is\u3000", ["A", "B", "C", "D"]),
        ("42", ["1", "2", "3", "4"]),
        ("\u2003Wide spaces around\u2003", ["", " ", "  ", "   "]),
    ]
    rows = [{"question": q, "subject": "us_foreign_policy", "choices": choices, "answer": i % 4}
            for i, (q, choices) in enumerate(questions)]
    rows.insert(2, {"question": "Not mine", "subject": "anatomy", "choices": ["a", "b", "c", "d"], "answer": 0})
    return rows


ROWS = {"piqa": piqa, "winogrande": winogrande, "hellaswag": hellaswag, "boolq": boolq, "arc_easy": science,
        "openbookqa": openbookqa, "lambada_openai": lambada, "mmlu_us_foreign_policy": mmlu}


def rows(task):
    return ROWS[task]()


def examples(task):
    """What few-shot examples are drawn from: LAMBADA has but one set, MMLU one of its own."""
    there = rows(task)
    if task == "lambada_openai":
        return there
    if task.startswith("mmlu"):
        return there[1:]
    return [*there[:5], there[1], there[1]]
