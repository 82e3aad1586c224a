#!/usr/bin/env python3
"""Checks with nm that the library neither prints, ends the process, nor reads the environment.

  check_symbols.py [--nm NM] LIBRARY.a ...     exit status 1 and one line a finding
  check_symbols.py --self-test CXX [--nm NM]   compiles small samples and checks the checks

What a library does to its process shows in the undefined symbols of its object files:
- printing: the stdout and stderr objects, std::cout and its like, the functions that print without
  naming a stream, and <iostream>'s static initialiser (an include that nothing in a library needs).
  fwrite and fprintf to a file of one's own are no finding: printing with them needs `stdout`.
- ending the process: exit, abort, assert and their like. std::terminate is not among them: the
  compiler refers to it by itself, in ~thread() and where a noexcept function may throw. A call in our
  own source is found by name (check_style.py).
- the environment: getenv and its like. (localtime reads TZ by itself, as every program does.)

ALLOWED lists what may stay, each with its reason.
"""
import argparse
import fnmatch
import pathlib
import re
import subprocess
import sys
import tempfile

FORBIDDEN = {
    "prints": r"stdout|stderr|std::(w?cout|w?cerr|w?clog)|std::ios_base::Init::.*|puts|putchar|"
              r"v?printf|__v?printf_chk|perror|psignal|v?dprintf|__v?dprintf_chk|write|writev|v?syslog|"
              r"fmt::v\d+::(vprint|detail::vprint\w*)\(.*",
    "ends the process": r"exit|_exit|_Exit|quick_exit|abort|std::(exit|abort|quick_exit)|raise|kill|"
                        r"__assert_fail|std::__glibcxx_assert_fail.*|pthread_exit|pthread_kill",
    "reads the environment": r"(secure_)?getenv|__secure_getenv|setenv|unsetenv|putenv|clearenv|"
                             r"environ|__environ",
}

# library, object file, symbol, reason
ALLOWED = [
    ("base", "atomic_file.cc.o", "write", "writes its own output file"),
    ("nn", "*", "std::ios_base::Init::*", "libtorch's headers include <iostream>"),
    ("quant", "*", "std::ios_base::Init::*", "libtorch's headers include <iostream>"),
    ("distill", "*", "std::ios_base::Init::*", "libtorch's headers include <iostream>"),
]


def undefined_symbols(nm: str, library: pathlib.Path):
    """Yields (object file, demangled symbol)."""
    listing = subprocess.run([nm, "-C", "-u", str(library)], check=True, capture_output=True,
                             text=True).stdout
    member = "?"
    for line in listing.splitlines():
        if line.endswith(":"):
            member = line[:-1]
        elif match := re.match(r"\s+[Uwv] (.*)", line):
            yield member, re.sub(r"@.*", "", match.group(1))


def findings(nm: str, library: pathlib.Path):
    name = library.stem.removeprefix("libonebit_")
    seen = 0
    for member, symbol in undefined_symbols(nm, library):
        seen += 1
        for what, pattern in FORBIDDEN.items():
            if not re.fullmatch(pattern, symbol):
                continue
            if not any(fnmatch.fnmatch(name, lib) and fnmatch.fnmatch(member, obj) and
                       fnmatch.fnmatchcase(symbol, sym) for lib, obj, sym, _ in ALLOWED):
                yield f"{library.name}: {member} {what}: {symbol}"
    if seen == 0:
        yield f"{library.name}: no undefined symbol at all: is this a library of ours?"


SAMPLES = {  # source -> is it a finding?
    "#include <string>\nstd::string f(const std::string& s) { return s + s; }": False,
    "#include <cstdio>\nvoid f(char* b) { std::snprintf(b, 9, \"%d\", 1); }": False,
    "#include <cstdio>\nvoid f(std::FILE* file) { std::fprintf(file, \"x\"); }": False,
    "#include <thread>\n#include <vector>\nvoid f(std::vector<std::thread>& t) { t.clear(); }": False,
    "#include <cstdio>\nvoid f(int n) { std::printf(\"%d\", n); }": True,
    "#include <cstdio>\nvoid f() { std::printf(\"becomes puts\\n\"); }": True,
    "#include <cstdio>\nvoid f() { std::fputs(\"x\", stderr); }": True,
    "#include <iostream>\nvoid f() { std::cout << 1; }": True,
    "#include <iostream>\nint unused;": True,
    "#include <unistd.h>\nlong f() { return write(2, \"x\", 1); }": True,
    "#include <cstdlib>\nvoid f() { std::abort(); }": True,
    "#include <cstdlib>\nvoid f() { std::exit(3); }": True,
    "#undef NDEBUG\n#include <cassert>\nvoid f(int n) { assert(n > 0); }": True,
    "#include <cstdlib>\nconst char* f() { return std::getenv(\"HOME\"); }": True,
}


def self_test(nm: str, compiler: str) -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        for number, (source, bad) in enumerate(SAMPLES.items()):
            base = pathlib.Path(folder) / f"sample{number}"
            base.with_suffix(".cc").write_text(source + "\n")
            subprocess.run([compiler, "-std=c++20", "-O2", "-c", base.with_suffix(".cc"), "-o",
                            base.with_suffix(".o")], check=True)
            library = pathlib.Path(folder) / f"libonebit_sample{number}.a"
            subprocess.run(["ar", "rcs", library, base.with_suffix(".o")], check=True)
            found = list(findings(nm, library))
            if bool(found) != bad:
                wrong += 1
                print(f"expected {'a' if bad else 'no'} finding, got {found}, for:\n{source}")
    print(f"{len(SAMPLES)} samples, {wrong} judged wrongly")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--self-test", metavar="CXX")
    parser.add_argument("libraries", nargs="*", type=pathlib.Path)
    args = parser.parse_args()
    if args.self_test:
        return self_test(args.nm, args.self_test)
    found = [line for library in args.libraries for line in findings(args.nm, library)]
    for line in found:
        print(line)
    print(f"{len(args.libraries)} libraries checked, {len(found)} findings")
    return 1 if found or not args.libraries else 0


if __name__ == "__main__":
    sys.exit(main())
