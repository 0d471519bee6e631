"""The surface's benchmark at a small size: that it runs and says what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

TINY = """
import json, torch
torch.set_num_threads(1)
from benchmarks import surface
from benchmarks.harness import Options

options = Options(quick=True, device=torch.device("cpu"), data_root=None)
draws = torch.Generator().manual_seed(0)
features = {name: torch.randn(30_000, generator=draws) for name in ("param", "grad")}
scorer = surface.fitted(features, "mlp", options.device)
scorer.network.costly = True
masks = surface.agreement(scorer, features, "tiny", options, surface.BUDGETS[:1])
results = [*masks, surface.look_up_rate(features, options, 300_000)]
print(json.dumps([result.as_json() for result in results]))
"""


@pytest.mark.slow
def test_masks_are_compared_at_every_sparsity_and_look_ups_are_timed():
    path = os.pathsep.join([str(SCRIPTS), str(SCRIPTS.parent), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", TINY], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    *masks, rate = json.loads(ran.stdout)
    assert len(masks) == 4
    assert all(0.9 < figure["value"] <= 1 for figure in masks)
    assert rate["value"] > 0
