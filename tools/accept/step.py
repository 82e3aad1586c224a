#!/usr/bin/env python3
"""Speed and memory of a distillation step against eager PyTorch, side by side.

Usage: step.py [cuda]

SmolLM2-135M, 4 sequences of 256 tokens, the reference's recipe (KL, hidden states, AdamW, clipping) in bf16
over f32 masters, embedding, norms and head frozen. Eager is transformers' Llama whose linear layers
are the paper's, under autocast, in a process of its own. Both take WARMUP steps and then STEPS that
count; the figure is the median step's tokens/s. Peak memory is that of the whole process.
f32, which is faster where a CPU has no tiles for bf16, is measured too, without a bound. Then the memory of
segments of 2048 tokens: one at a time, and the recipe's four with --gradient-checkpointing.

`cuda`: both on the GPU, by a build with CUDA (BUILD=build/cuda), more steps and a second batch of
8 x 1024 tokens; speed alone.
"""
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import time

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "golden")]
import figures  # noqa: E402

BATCH, LENGTH, WARMUP, STEPS = 4, 256, 2, 5
SPEED, MEMORY = 1.0, 0.8  # at least, at most, as a multiple of eager
LONG, ROOM = 2048, 8  # tokens, GiB


def eager(dtype, device, batch, length, steps):
    """Runs in a process of its own; prints the seconds of each step."""
    import torch
    import torch.nn.functional as F
    import smollm2_reference

    class Sign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, w):
            ctx.save_for_backward(w)
            return torch.sign(w)

        @staticmethod
        def backward(ctx, grad):
            (w,) = ctx.saved_tensors
            return grad * (1.001 - torch.tanh(w) ** 2)

    class BitLinear(torch.nn.Module):
        def __init__(self, linear):
            super().__init__()
            out, width = linear.weight.shape
            self.weight = torch.nn.Parameter(0.01 * torch.sign(linear.weight.detach()))
            self.g = torch.nn.Parameter(torch.full((width,), 0.15))
            self.h = torch.nn.Parameter(torch.full((out,), 0.15))

        def forward(self, x):
            y = F.linear(x * self.g, Sign.apply(self.weight)) * self.h
            return F.layer_norm(y, y.shape[-1:])

    def replace(module):
        for name, child in module.named_children():
            if isinstance(child, torch.nn.Linear) and name != "lm_head":
                setattr(module, name, BitLinear(child))
            else:
                replace(child)

    teacher, student = (smollm2_reference.load_model(figures.SMOLLM2).requires_grad_(False) for _ in range(2))
    for model in (teacher, student):
        model.set_attn_implementation("sdpa")
    replace(student.model)
    if dtype == "bf16":
        teacher = teacher.to(torch.bfloat16)
    teacher, student = teacher.to(device), student.to(device)
    trained = [p for p in student.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01)
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        begin = time.monotonic()
        ids = torch.randint(0, teacher.config.vocab_size, (batch, length), generator=generator).to(device)
        with torch.no_grad():
            target = teacher(input_ids=ids, output_hidden_states=True)
        with torch.autocast(device, torch.bfloat16, enabled=dtype == "bf16"):
            output = student(input_ids=ids, output_hidden_states=True)
            loss = 0.01 * F.kl_div(F.log_softmax(output.logits, 2), F.softmax(target.logits, 2),
                                   reduction="batchmean")
            for a, b in list(zip(output.hidden_states, target.hidden_states))[:-1]:
                a, b = (F.normalize(t.flatten(0, 1), p=2, dim=1) for t in (a, b))
                loss = loss + torch.mean(torch.norm(a - b, p=2, dim=1) ** 2)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()  # a GPU has finished when this is read
        print(time.monotonic() - begin, flush=True)


def run(command):
    """Output and peak memory in bytes of a process."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True)
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"step: {command[0]} ended with status {status}")
    return output, usage.ru_maxrss * 1024


def theirs(dtype, device="cpu", batch=BATCH, length=LENGTH, steps=WARMUP + STEPS):
    """Median tokens/s of the eager script after the warm-up, and peak memory."""
    output, peak = run([sys.executable, __file__, "--eager", dtype, device, batch, length, steps])
    seconds = [float(line) for line in output.split()]
    return batch * length / statistics.median(seconds[WARMUP:]), peak


def ours(dtype, batch=BATCH, length=LENGTH, steps=WARMUP + STEPS, *flags):
    """The same of `onebit distill`."""
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        rng = random.Random(0)
        rows = [{"tokens": [rng.randrange(49152) for _ in range(length)]} for _ in range(batch * 2)]
        (folder / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        _, peak = run([figures.ONEBIT, "distill", figures.SMOLLM2, "-o", folder / "run", "--recipe", "paper",
                       "--warmup", 0, "--data", folder / "data.jsonl", "--held-out", 0, "--batch", batch,
                       "--length", length, "--steps", steps, "--dtype", dtype, *flags])
        rows = [json.loads(line) for line in (folder / "run/metrics.jsonl").read_text().splitlines()]
    speeds = [row["tokens_per_second"] for row in rows if "loss" in row]
    return statistics.median(speeds[WARMUP:] or speeds), peak


def on_gpu(report):
    steps = WARMUP + 20
    for batch, length in ((BATCH, LENGTH), (8, 1024)):
        what = f"bf16, {batch} x {length}: "
        reference, _ = theirs("bf16", "cuda", batch, length, steps)
        speed, _ = ours("bf16", batch, length, steps, "--device", "cuda")
        report.note(what + "eager PyTorch", f"{reference:.0f} tok/s")
        report.note(what + "onebit distill", f"{speed:.0f} tok/s")
        report.check(what + "multiple of eager's", f"{speed / reference:.3f}", f">= {SPEED}",
                     speed / reference >= SPEED)


def main():
    if sys.argv[1:2] == ["--eager"]:
        return eager(*sys.argv[2:4], *map(int, sys.argv[4:]))
    report = figures.Report("step")
    figures.forget_settings()
    # Large tensors from memory that is kept, as our program has it: eager gains a half from it here.
    # This folder has modules that bear the names of packages.
    os.environ |= {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "1000000000000",
                   "PYTHONSAFEPATH": "1"}
    if sys.argv[1:] == ["cuda"]:
        on_gpu(report)
        return report.exit_status()
    for dtype in ("bf16", "f32"):
        reference, their_peak = theirs(dtype)
        speed, peak = ours(dtype)
        report.note(f"{dtype}: eager PyTorch", f"{reference:.0f} tok/s", f"peak {their_peak / 2**30:.2f} GiB")
        report.note(f"{dtype}: onebit distill", f"{speed:.0f} tok/s", f"peak {peak / 2**30:.2f} GiB")
        verdicts = (("tokens/s, multiple of eager's", speed / reference, f">= {SPEED}",
                     speed / reference >= SPEED),
                    ("peak memory, multiple of eager's", peak / their_peak, f"<= {MEMORY}",
                     peak / their_peak <= MEMORY))
        for name, value, bound, held in verdicts:
            if dtype == "bf16":
                report.check(f"{dtype}: {name}", f"{value:.3f}", bound, held)
            else:
                report.note(f"{dtype}: {name}", f"{value:.3f}")
    for dtype, batch, *flags in (("bf16", 1), ("f32", 1), ("bf16", 4, "--gradient-checkpointing")):
        _, peak = ours(dtype, batch, LONG, 1, *flags)
        report.check(" ".join([f"{batch} x {LONG} tokens in {dtype}", *flags, "peak, GiB"]), f"{peak / 2**30:.2f}",
                     f"<= {ROOM}", peak / 2**30 <= ROOM)
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())
