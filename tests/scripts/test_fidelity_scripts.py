"""The scripts behind ``experiments/FIDELITY.md``, at small sizes: that they run and measure what they say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def last_bits(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import last_bits

    return last_bits


@pytest.mark.parametrize("more", [[], pytest.param(["--masks-only"], marks=pytest.mark.slow)])
def test_both_modes_are_compared_by_accuracy_correlation_and_masks(more):
    size = (
        "--model lenet-300-100 --train-images 64 --test-images 32 --epochs 1 --iterations 2 --sparsities 0.9 --seeds 0"
    )
    ran = subprocess.run(
        [sys.executable, SCRIPTS / "compare_modes.py", *size.split(), *more], capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    row, *table = ran.stdout.splitlines()
    found = json.loads(row)
    assert found["pearson"] == pytest.approx(1)  # this network is the same in both modes
    compared = ["snip", "grasp"] if more else ["snip", "grasp", "autos"]
    assert {name: found[name] for name in found if "IoU" in name} == {f"{name} 0.9 IoU": 1 for name in compared}
    trained = [] if more else [f"{name} 0.9 {mode}" for name in compared for mode in ("train", "eval")]
    assert sorted(name for name in found if name.endswith((" train", " eval"))) == sorted(trained)
    assert more or found["snip 0.9 train"] == found["snip 0.9 eval"]
    assert len([line for line in table if line.startswith("| ")]) == 1 + len(compared)


def test_one_other_weight_is_one_other_weight_and_only_once(last_bits):
    scores = {"a": torch.tensor([4.0, 1.0, 3.0]), "b": torch.tensor([[2.0, 5.0]])}
    plain = last_bits.Masks.from_scores(scores, 0.4)
    with last_bits.one_other_weight():
        first, second = (last_bits.Masks.from_scores(scores, 0.4) for _ in range(2))
    assert (first["a"].tolist(), first["b"].tolist()) == ([True, False, False], [[True, True]])
    assert second == plain == last_bits.Masks.from_scores(scores, 0.4)
