#!/usr/bin/env python3
"""Speed of the 1-bit products beside ggml's, a plain read of the same bytes and the most int8 products.

Usage: products.py   (builds the preset bench and llama.cpp; Environment: ROUNDS, 7; some 15 minutes)

All figures come from bench_kernels (bench/kernels.cc), which measures every side in turns in one run:
- one token, from matrices of 1 GiB in turn, which no cache holds: beside the read and ggml's Q1_0, its
  smallest type; then the same by AVX2 alone, beside a ggml built for AVX2 (without a bound for f32);
- one token of 4096 x 4096 in microseconds, in the rounds in which a read was as fast as on the machine that
  the bound is for: the memory of a shared machine changes from one second to the next;
- one thread and two, which for one token may gain no more than the read does;
- 512 tokens: beside Q1_0, and as a share of what the cores do of int8 products in registers;
- from 1 to 512 tokens, the least time of a token from one number to the next larger: it may not rise, as
  it would where a product for few tokens gives way to one for many at the wrong place. The matrices are
  of 64 MiB there: a wait for memory would hide a part of such a step.

Activations are rounded and tables built inside the time; results are compared with the scalar kernels'.
"""
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys

sys.path.append(str(pathlib.Path(__file__).parent))
import figures  # noqa: E402
import peers  # noqa: E402

SHAPES = ((4096, 4096), (11008, 4096), (4096, 11008))
MANY = 512
CURVE = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
CURVE_MIB = 64
CURVE_ROUNDS = 3  # times the others': the worst of many steps shows the noise of all
OF_READ = 0.74  # of the speed of a plain read: the share of the roofline that the project aims at
FASTER = 2.0  # than ggml's Q1_0
# Of the most int8 products, of many tokens: tables pass it on a CPU that starts one vpdpbusd of 64 bytes a
# cycle (Zen 4), and do not where it starts two (Sapphire Rapids).
OF_PEAK = 0.6
SCALING, OF_READS_SCALING = 1.8, 0.95  # of two threads; the second where memory allows no more
MICROSECONDS = {1: 100, 2: 50}  # by threads, of one token of 4096 x 4096
READS = {1: 28e9, 2: 50e9}  # bytes/s of that bound's machine
LONG_ROUNDS, ENOUGH = 10, 5  # times the others' rounds; rounds as fast as that
RISE = 0.10  # of a token's time from one number of tokens to the next
READ, PEAK, INT8, F32, Q1_0 = "reading alone", "int8 peak", "onebit int8", "onebit f32", "ggml Q1_0"


class Products:
    """One run of bench_kernels: seconds of a product."""

    def __init__(self, shape, tokens, *flags, libraries=None, rounds=1):
        command = [peers.BIN / "bench_kernels", "--rows", shape[0], "--cols", shape[1], "--tokens",
                   ",".join(map(str, tokens)), "--threads", ",".join(map(str, peers.THREADS)), "--rounds",
                   rounds * peers.rounds(7), "--json", *flags]
        environment = os.environ | ({"LD_LIBRARY_PATH": str(libraries)} if libraries else {})
        done = subprocess.run(list(map(str, command)), env=environment, stdout=subprocess.PIPE, check=True)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.seconds = {(line["product"], line["threads"], line["tokens"]): line["seconds"] for line in lines}
        self.medians = {key: statistics.median(seconds) for key, seconds in self.seconds.items()}

    def __call__(self, product, threads, tokens=1):
        return self.medians[product, threads, tokens]

    def least(self, product, threads, tokens):
        return min(self.seconds[product, threads, tokens])

    def speedup(self, product, other, threads, tokens=1):
        return self(other, threads, tokens) / self(product, threads, tokens)

    def measured(self, product):
        return any(name == product for name, _, _ in self.medians)


def at_least(report, figure, value, bound, unit="x"):
    """A multiple, or with the unit % a share."""
    factor, digits = (100, 0) if unit == "%" else (1, 2)
    text = f"{factor * value:.{digits}f} {unit}"
    report.check(figure, text, f">= {factor * bound:.{digits}f} {unit}", value >= bound)


def short(product):
    return product.removeprefix("onebit ")


def note_microseconds(report, name, products, threads, tokens=1):
    for (product, its_threads, its_tokens), seconds in products.medians.items():
        if (its_threads, its_tokens) == (threads, tokens) and product != PEAK:
            report.note(f"{name}: {short(product)}", f"{1e6 * seconds:.1f} us")


def check_faster(report, name, products, threads, tokens=1, of=(INT8, F32)):
    for product in of:
        at_least(report, f"{name}: {short(product)} over Q1_0",
                 products.speedup(product, Q1_0, threads, tokens), FASTER)


def one_token(report, shape, what="", **how):
    flags = ["--isa", "avx2"] if what else []
    products = Products(shape, [1], *flags, **how)
    size = f"{what}{shape[0]} x {shape[1]}"
    for threads in peers.THREADS:
        name = f"{size}, {peers.threads_text(threads)}"
        note_microseconds(report, name, products, threads)
        if not what:
            at_least(report, f"{name}: int8, of a read's speed", products.speedup(INT8, READ, threads),
                     OF_READ, "%")
        check_faster(report, name, products, threads, of=(INT8,) if what else (INT8, F32))
    if not what:
        check_scaling(report, size, products)


def check_scaling(report, size, products):
    few, more = peers.THREADS
    read, ours = (products(product, few) / products(product, more) for product in (READ, INT8))
    report.note(f"{size}: a read gains by the second thread", f"{read:.2f} x")
    at_least(report, f"{size}: int8 gains by it", ours, min(SCALING, OF_READS_SCALING * read))


def microseconds(report, shape):
    products = Products(shape, [1], "--alone", rounds=LONG_ROUNDS)
    for threads, bound in MICROSECONDS.items():
        slowest = shape[0] * shape[1] / 8 / READS[threads]
        read, ours = (products.seconds[product, threads, 1] for product in (READ, INT8))
        fast = [seconds for its_read, seconds in zip(read, ours) if its_read <= slowest]
        name = (f"{shape[0]} x {shape[1]}, {peers.threads_text(threads)}: int8 beside a read at >= "
                f"{READS[threads] / 1e9:.0f} GB/s")
        if len(fast) < ENOUGH:
            report.note(name, f"{len(fast)} of {len(read)} rounds")
            continue
        value = 1e6 * statistics.median(fast)
        report.check(name, f"{value:.1f} us", f"<= {bound} us", value <= bound)
        report.note(f"{name}: of {len(read)} rounds", len(fast))


def many_tokens(report, shape):
    products = Products(shape, [MANY])
    for threads in peers.THREADS:
        name = f"{shape[0]} x {shape[1]}, {MANY} tokens, {peers.threads_text(threads)}"
        note_microseconds(report, name, products, threads, MANY)
        check_faster(report, name, products, threads, MANY)
        if products.measured(PEAK):
            at_least(report, f"{name}: int8, of peak", products.speedup(INT8, PEAK, threads, MANY),
                     OF_PEAK, "%")


def curve(report, shape):
    products = Products(shape, CURVE, "--alone", "--megabytes", CURVE_MIB, rounds=CURVE_ROUNDS)
    for product, threads in itertools.product((INT8, F32), peers.THREADS):
        name = f"{short(product)}, {peers.threads_text(threads)}"
        per_token = {n: products.least(product, threads, n) / n for n in CURVE}
        for n in CURVE:
            report.note(f"{name}: a token of {n}", f"{1e6 * per_token[n]:.1f} us")
        rise, n, following = max((per_token[b] / per_token[a] - 1, a, b) for a, b in itertools.pairwise(CURVE))
        report.check(f"{name}: worst step, {n} to {following} tokens", f"{100 * rise:+.1f} %",
                     f"<= {100 * RISE:+.0f} %", rise <= RISE)


def main():
    report = figures.Report("products")
    figures.forget_settings()
    avx2 = peers.build("avx2")
    peers.note_load(report)
    for shape in SHAPES:
        one_token(report, shape)
    microseconds(report, SHAPES[0])
    for shape in SHAPES:
        one_token(report, shape, "AVX2, ", libraries=avx2.parent)
    for shape in SHAPES:
        many_tokens(report, shape)
    curve(report, SHAPES[0])
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())
