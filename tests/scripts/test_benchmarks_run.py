"""The benchmarks of convolutions, fitting and scoring, at small sizes: that they run and say what they promise."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("benchmarks")  # they share one measurement
SCRIPTS = Path(__file__).parents[2] / "scripts"

TINY = """
import json, sys, torch
from dataclasses import replace
torch.set_num_threads(1)
from autosparse.training import Execution
from benchmarks import convolutions, fitting, images, scoring
from benchmarks.harness import HEAD, Options, row

cpu = torch.device("cpu")
options = Options(quick=True, device=cpu, data_root=None)
data = images.noise(48, 1)
recipe = replace(convolutions.RECIPE, epochs=1, batch_size=16)
results = [
    convolutions.ceiling("float32", cpu, side=64),
    *(
        convolutions.speed("resnet20", data, 16, Execution(p), cpu, {"float32": 1.0, "bfloat16": 1.0}, 1)
        for p in ("float32", "bfloat16")
    ),
    convolutions.accuracies("resnet20", data, recipe, seeds=1),
    fitting.epochs(fitting.survival(3000), cpu, 1),
    fitting.samples(fitting.survival(5000), 1000, cpu, 1),
    *scoring.measure(options),
]
for line in (HEAD, *map(row, results)):
    print(line, file=sys.stderr)
print(json.dumps([result.as_json() for result in results]))
"""


@pytest.fixture(scope="module")
def measured():
    """The results, measured in a separate process, because data loaders fork their workers from it."""
    path = os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", TINY], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


def test_each_side_has_a_rate(measured):
    for result in measured:
        if "rates" in result:
            assert min(result["rates"] + result["baseline_rates"]) > 0


def test_convolutions_say_how_much_of_the_arithmetic_they_reach(measured):
    """ResNet-20 on 32x32 pixels: 41 million multiply-adds a forward pass (He et al. 2016), three passes a step."""
    notes = measured[1]["notes"]
    assert notes["FLOPs per image"] == pytest.approx(2 * 3 * 41e6, rel=0.02)
    expected = measured[1]["rates"][0] * notes["FLOPs per image"] / 1e12
    assert notes["achieved TFLOP/s"]["ours"] == pytest.approx(expected)


def test_accuracies_are_of_both(measured):
    notes = measured[3]["notes"]
    assert measured[3]["value"] == pytest.approx(notes["ours"][0] - notes["theirs"][0])


def test_a_smaller_fit_is_judged_on_the_rows_held_out_of_all(measured):
    assert set(measured[5]["notes"]["held-out R2"]) == {"all", "sample"}


def test_scorers_that_prune_in_rounds_are_timed_beside_other_ways_in_rounds(measured):
    ways = [result["name"].rpartition(" by ")[2] for result in measured[6:]]
    assert ways == ["context", "prospect", "early", "force", "synflow"]
    assert all(result["value"] > 0 for result in measured[6:])
    assert [result["met"] is None for result in measured[6:]] == [False, False, True, True, True]
