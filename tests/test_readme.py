"""The README's Python runs as it stands, and its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_python_example_runs(tmp_path):
    code = "\n".join(re.findall(r"```python\n(.*?)```", README, flags=re.S))
    assert "asp.score" in code
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert (tmp_path / "masks.safetensors").is_file()


def test_every_command_of_the_table_exists():
    from typer.main import get_command

    from autosparse.cli import app

    named = set(
        re.findall(r"^\| `(\w+)[^`]*` \|", README.split("| `autosparse` | does |")[1].split("Listings")[0], flags=re.M)
    )
    assert named == set(get_command(app).commands)
