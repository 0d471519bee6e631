"""Put into the wheel what lies outside the package: the experiment files, and the commit that it was built from."""

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

COMMIT = "autosparse/experiment/commit"
"""The module that finds the commit, and the text file that tells it; see there."""
SHIPPED = "autosparse/experiment/shipped"
"""Where :mod:`autosparse.experiment.files` looks for the files of ``experiments/``."""


class Carry(BuildHookInterface):
    """Adds files to a wheel; to a source distribution, which has ``experiments/`` as it is, only the commit."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the files to add; none to an editable installation, which reads them from the checkout."""
        if version == "editable":
            return
        added, root = build_data["force_include"], Path(self.root)
        if self.target_name == "wheel":
            folder = root / "experiments"
            added |= {str(file): f"{SHIPPED}/{file.relative_to(folder)}" for file in sorted(folder.rglob("*.yaml"))}
        commit = runpy.run_path(str(root / f"{COMMIT}.py"))["checked_out"]()
        if commit:
            self.scratch = tempfile.TemporaryDirectory()  # until the build ends
            text = Path(self.scratch.name) / "commit.txt"
            text.write_text(f"{commit}\n")
            added[str(text)] = f"{COMMIT}.txt"
