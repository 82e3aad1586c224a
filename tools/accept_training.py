#!/usr/bin/env python3
"""Compares every tensor of the golden training run with the PyTorch script, none of it projected.

Usage: tools/accept_training.py STORIES260K_BIN BUILD_DIR

Needs what tools/golden/make_training.py needs. Runs that script's training and BUILD_DIR's
distill_test, which leaves its own tensors in BUILD_DIR/training_run.safetensors, and fails unless
each gradient of step 1 and each parameter after step 20 agrees within 1e-8 of its norm and exactly
the same signs flipped.
"""
import pathlib
import subprocess
import sys

import torch
from safetensors.torch import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "golden"))
import make_training  # noqa: E402

TOLERANCE = 1e-8


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    torch.set_num_threads(1)
    build = pathlib.Path(sys.argv[2])
    subprocess.run([build / "bin/distill_test", "--gtest_filter=*Float64MatchesTheScript"],
                   check=True, stdout=subprocess.DEVNULL)
    ours = load_file(build / "training_run.safetensors")
    model = make_training.Model(sys.argv[1])
    start, gradients, end, _ = make_training.train(model, make_training.sample_tokens(model))
    expected = {f"gradient/{name}": value for name, value in gradients.items()}
    expected |= {f"end/{name}": value for name, value in end.items()}
    if set(ours) != set(expected):
        sys.exit(f"tensors differ: {sorted(set(ours) ^ set(expected))}")
    worst = max((((ours[name] - value).norm() / value.norm()).item(), name)
                for name, value in expected.items())
    latents = [name for name in end if name.endswith(".latent")]
    flips = {name: (end[name] < 0) != (start[name] < 0) for name in latents}
    different = sum(int((((ours[f"end/{name}"] < 0) != (start[name] < 0)) != flips[name]).sum())
                    for name in latents)
    flipped = sum(int(value.sum()) for value in flips.values())
    total = sum(value.numel() for value in flips.values())
    print(f"{len(expected)} tensors, largest relative difference {worst[0]:.3g} ({worst[1]})")
    print(f"{flipped} of {total} signs flipped ({100 * flipped / total:.2f} %), "
          f"{different} differ from the script's")
    return 0 if worst[0] <= TOLERANCE and different == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
