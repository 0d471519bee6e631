"""A few random faults over a few cells, and ten over sixty: what `make chaos` does at length."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from local_network import why_no_network

ROOT = Path(__file__).parents[2]
LONG = pytest.mark.cluster


@pytest.mark.parametrize(
    ("faults", "cells", "where"),
    [
        (2, 10, []),
        pytest.param(10, 60, [], marks=LONG),
        pytest.param(6, 20, ["--only", "gather,segment"], marks=LONG),
        pytest.param(6, 20, ["--s3"], marks=LONG),
        pytest.param(6, 20, ["--hosts"], marks=LONG),
    ],
)
@pytest.mark.timeout(900)
def test_random_faults_lose_nothing_double_nothing_and_change_no_result(tmp_path, faults, cells, where):
    if "--hosts" in where and (reason := why_no_network()):
        pytest.skip(reason)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(ROOT / "scripts" / "chaos.py"), "--quick", "--out", str(tmp_path / "chaos.json")]
    code, out, err = ended(
        [*command, "--faults", str(faults), "--cells", str(cells), *where],
        env={**os.environ, "PYTHONPATH": path},
        cwd=tmp_path,
    )
    assert code == 0, out + err
    result = json.loads((tmp_path / "chaos.json").read_text())
    assert result["finished runs"] == {"cell": cells, "irp": 1, "experiment": 1}
    assert sum(damage["injected"] for damage in result["faults"].values()) == faults
    assert f"| **all** | **{faults}** | **0** | **0** | **0** |" in out


def ended(command: list[str], **options: Any) -> tuple[int, str, str]:
    """Run a script to its end. If the test is stopped, the script ends its servers; a kill would leave them running."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, start_new_session=True, **pipes, **options) as script:
        try:
            out, err = script.communicate()
        except BaseException:
            script.send_signal(signal.SIGINT)
            script.communicate(timeout=60)
            raise
    return script.returncode, out, err
