#!/usr/bin/env python3
"""The golden training run, tensor by tensor: twenty steps of ours against the PyTorch script.

Usage: training.py   (needs the program distill_test and the shared data)

Runs the training of tools/golden/make_training.py anew and distill_test, which leaves its own tensors
in training_run.safetensors in the build folder, and compares each gradient of step 1, each parameter
after step 20 and the set of flipped signs, none of it projected. Losses are compared by the test with
those that the script wrote to tests/golden/training, and so are the runs that must differ (identity
gradient) and that may differ more (f32; the test says what it does where rounding decides a sign).
"""
import pathlib
import sys

sys.path += [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parents[1] / "golden")]
import figures  # noqa: E402
import make_training  # noqa: E402
import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

BOUND, BOUND_F32, FLIPPED_PERCENT = 1e-8, 1e-4, 1
PARTS = ("latent", "g", "h")


def main():
    report = figures.Report("training")
    torch.set_num_threads(1)
    runs = figures.test_properties("distill_test", "TrainingGolden.*")
    ours = load_file(figures.BUILD / "training_run.safetensors")
    model = make_training.Model(figures.STORIES260K)
    start, gradients, end, _ = make_training.train(model, make_training.sample_tokens(model))
    expected = {f"gradient/{name}": value for name, value in gradients.items()}
    expected |= {f"end/{name}": value for name, value in end.items()}
    report.check("f64: tensors that only one run has", len(set(ours) ^ set(expected)), "= 0",
                 set(ours) == set(expected))
    latents = [name for name in end if name.endswith(".latent")]
    flips = {name: (end[name] < 0) != (start[name] < 0) for name in latents}
    different = sum(int((((ours[f"end/{name}"] < 0) != (start[name] < 0)) != flips[name]).sum())
                    for name in latents)
    flipped = sum(int(value.sum()) for value in flips.values())
    total = sum(value.numel() for value in flips.values())
    percent = 100 * flipped / total
    report.check(f"f64: signs flipped, {flipped} of {total}", f"{percent:.2f} %", f">= {FLIPPED_PERCENT} %",
                 percent >= FLIPPED_PERCENT)
    report.check("f64: signs that only one run flipped", different, "= 0", different == 0)
    losses = float(runs["Float64MatchesTheScript"]["losses"])
    report.check("f64: losses, largest relative error", f"{losses:.2e}", f"<= {BOUND:.0e}", losses <= BOUND)
    for kind in ("gradient", "end"):
        for part in PARTS:
            names = [name for name in expected if name.startswith(kind) and name.endswith("." + part)]
            worst = max(((ours[name] - expected[name]).norm() / expected[name].norm()).item() for name in names)
            report.check(f"f64: {kind} of {part}, largest relative norm", f"{worst:.2e}",
                         f"<= {BOUND:.0e}", worst <= BOUND)
    identity = runs["IdentityGradientIsNoticed"]
    for what in ("losses", "gradients", "parameters"):
        value = float(identity[what])
        report.check(f"identity gradient: {what}, largest relative error", f"{value:.2e}",
                     f"> {BOUND:.0e}: noticed", value > BOUND)
    report.note("identity gradient: signs that only one run flipped", identity["different_flips"])
    f32 = runs["Float32StaysClose"]
    losses = float(f32["losses"])
    report.check("f32: losses, largest relative error", f"{losses:.2e}", f"<= {BOUND_F32:.0e}",
                 losses <= BOUND_F32)
    report.note(f"f32: latents at zero moved to f64's side, by <= {f32['widest_tie']}", f32["ties"])
    for name, run in runs.items():
        report.check(f"test {name}", run["result"], "pass", run["result"] == "pass")
    return report.exit_status()


if __name__ == "__main__":
    sys.exit(main())
