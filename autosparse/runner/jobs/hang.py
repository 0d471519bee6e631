"""End workers that hang; Ray Tune then restarts their jobs elsewhere, as after any death of a worker."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from autosparse.runner import ray_private
from autosparse.runner.jobs.signs import Signs
from autosparse.runner.jobs.tune_quiet import Unsaved
from autosparse.runner.screen.stage_table import duration
from autosparse.runner.screen.tally import Event
from autosparse.runner.settings import PATIENCE_VARIABLE

LOOK_EVERY, ASK_EVERY = 1.0, 5.0
"""Seconds between two looks at the clock, and between two at the signs of life of trials that report nothing."""
AWAKE = 5.0
"""Most seconds that count between two looks: beyond them, the driver itself was held up."""
STARTS = 300.0
"""Least seconds that a worker has to start: it gives no sign of life yet, and a busy machine takes a minute."""
TOLD = 60.0
"""Seconds of silence after which the user is told."""


class Hangs(Unsaved, tune.Callback):
    """Watches over the trials of a stage, in the driver's own loop.

    A stopped process does not answer Ray's requests. ``ray.kill`` counts it as dead at once, and its node kills it some
    seconds later.
    """

    def __init__(self, signs: Signs, on_event: Callable[[Event], None]):
        self.signs, self.on_event = signs, on_event
        self.where: dict[str, str] = {}
        self.marks: dict[str, bytes | None] = {}
        self.told: dict[str, str] = {}
        """Names of the trials that the user was told are silent, by trial id."""
        self.starting: dict[str, float] = {}
        """Seconds for which actors have been starting, by actor id."""
        self.looked = self.asked = time.monotonic()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune for each report."""
        self.signs.hear(trial.trial_id, result)
        self.where[trial.trial_id] = f" (process {result.get('pid')} on {result.get('hostname')})"
        self._hush(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a trial has ended or was stopped."""
        self._hush(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune when a trial's worker has died and another will take the trial over."""
        self.where.pop(trial.trial_id, None)
        self._hush(trial.trial_id)

    on_trial_error = on_trial_complete
    """Called by Tune when it gives a trial up."""

    def _hush(self, trial_id: str) -> None:
        if name := self.told.pop(trial_id, ""):
            self.on_event({"trial_id": trial_id, "silent": 0.0, "job": name})

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Called by Tune ten times a second, and after each report."""
        now = time.monotonic()
        if now - self.looked < LOOK_EVERY:
            return
        held = {trial.trial_id: trial for trial in trials if _in_hand(trial)}
        self.signs.pass_time(held, min(now - self.looked, AWAKE))
        self.looked = now
        if now - self.asked >= ASK_EVERY:
            self.asked = now
            self._ask(held)
            self._look_at_those_that_start()
        for trial_id, trial in held.items():
            if seconds := self.signs.too_long(trial_id):
                self._end(trial, seconds)

    def _ask(self, held: dict[str, Any]) -> None:
        for trial_id, trial in held.items():
            before = self.signs.silent(trial_id)
            if before < ASK_EVERY:
                continue
            if self._has_moved(trial_id):
                self.signs.alive(trial_id)
                self._hush(trial_id)
            elif before >= TOLD:
                self.told[trial_id] = _folder(trial)
                self.on_event({"trial_id": trial_id, "silent": before, "job": self.told[trial_id]})

    def _look_at_those_that_start(self) -> None:
        """End processes that hang before Tune knows their actors, for example while they import the code."""
        try:
            found = ray_private.starting_actors()  # all of the driver's actors are Tune's
        except Exception:  # Ray does not answer, or is reached through its client
            found = {}
        self.starting = {actor: self.starting.get(actor, 0.0) + ASK_EVERY for actor in found}
        for actor, seconds in self.starting.items():
            if self.signs.patience and seconds > max(self.signs.patience, STARTS):
                ray_private.kill_starting_actor(actor)
                self.starting[actor] = 0.0
                what = f"process {found[actor]} has not begun its work for {duration(seconds)}"
                self._warn(f"{what}: it is ended, and another is started")

    def _has_moved(self, trial_id: str) -> bool:
        try:
            mark = ray_private.mark_at(trial_id)
        except Exception:  # Ray does not answer, which says nothing about the worker
            return True
        moved = mark != self.marks.get(trial_id)
        self.marks[trial_id] = mark
        return moved

    def _end(self, trial: Any, seconds: float) -> None:
        trial_id = trial.trial_id
        hung = "given no sign of life" if self.signs.silent(trial_id) >= seconds else "made no progress"
        where = self.where.get(trial_id, "")
        self.signs.end(trial_id)
        ray.kill(trial.temporary_state.ray_actor)
        what = f"{_folder(trial)}{where} has {hung} for {duration(seconds)}"
        self._warn(f"{what}: its worker is ended, and its work is tried again")

    def _warn(self, what: str) -> None:
        self.on_event({"warning": f"{what} (set {PATIENCE_VARIABLE} to wait longer)"})

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Called by Tune at the end."""
        with contextlib.suppress(Exception):  # if Ray has gone, so have the marks
            for trial in trials:
                ray_private.remove_mark(trial.trial_id)


def _in_hand(trial: Any) -> bool:
    """Whether a trial has a worker, or one is being made ready for it."""
    return trial.temporary_state.ray_actor is not None and trial.status in (trial.RUNNING, trial.PENDING)


def _folder(trial: Any) -> str:
    """The name of a trial's folder."""
    return str(trial.custom_dirname or trial.trial_id)
