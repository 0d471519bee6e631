"""The report's page of an experiment that may still run: what a browser is given now."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from mlflow import MlflowClient

from autosparse.experiment.stages import STAGES
from autosparse.report.formats import about
from autosparse.report.page import environment, render
from autosparse.results.progress import Progress, progress_of

HTML, DATA = "text/html; charset=utf-8", "application/json"
PICTURES = {"svg": "image/svg+xml", "png": "image/png"}
TITLES = {stage.plural: stage.title for stage in STAGES}


@dataclass(frozen=True)
class File:
    """What is served under one address."""

    kind: str
    """Its content type."""
    content: bytes

    @property
    def tag(self) -> str:
        """The ETag, with its quotes."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


@dataclass
class LivePage:
    """The page, drawn anew if MLflow has news.

    :param every: seconds between two looks of the browser.
    """

    client: MlflowClient
    experiment: str
    every: float
    files: dict[str, File] = field(default_factory=dict)
    """What is served now, by address: ``/``, ``/version`` and ``/figures/NAME``. Replaced whole, so that any thread
    may read it at any time."""
    _progress: Progress = field(init=False)
    _version: str = ""
    _drawn: dict[str, File] = field(default_factory=dict)
    _seen: list[Any] = field(default_factory=list)

    def look(self, draw: bool = True) -> None:
        """Ask MLflow how far the experiment is, and draw the page if that is news.

        :param draw: whether to draw; if not, the page stays as it is, and its browsers learn only how far things are.
        :raises AutosparseError: if MLflow does not answer, or has no such experiment.
        """
        self._progress = progress = progress_of(self.client, self.experiment)
        news = [progress.status, *((stage.total, stage.done, stage.failed) for stage in progress.stages)]
        if draw and news != self._seen:
            version = uuid4().hex
            report = render(self.client, self.experiment, self._live(version))
            pictures = {
                f"/{name}": File(PICTURES[name.rpartition(".")[2]], data) for name, data in report.figures.files.items()
            }
            self._version, self._seen = version, news
            self._drawn = {"/": File(HTML, report.page.encode()), **pictures}
        self.tell()

    def tell(self, problem: str = "") -> None:
        """Tell the browsers how far the experiment was at the last look.

        :param problem: why there is no newer look; empty if there is.
        """
        live = self._live(self._version, problem)
        shown = environment().get_template("progress.html.j2").render(live=live)
        told = json.dumps({"version": self._version, "progress": shown})
        self.files = {**self._drawn, "/version": File(DATA, told.encode())}

    def _live(self, version: str, problem: str = "") -> dict[str, Any]:
        """What the templates show of it."""
        progress = self._progress
        return {
            "version": version,
            "every": round(self.every * 1000),
            "status": progress.said,
            "stages": [(TITLES[stage.name], stage) for stage in progress.stages if stage.total],
            "about": about,
            "problem": problem,
        }
