"""Workers that hang are ended, and Ray Tune begins their jobs again elsewhere, as after any death of a worker."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import ray
from ray import tune

from autosparse.runner import ray_private
from autosparse.runner.jobs import pulse
from autosparse.runner.jobs.signs import VARIABLE, Signs
from autosparse.runner.screen.stage_table import duration
from autosparse.runner.screen.tally import Event

LOOK_EVERY, ASK_EVERY = 1.0, 5.0
"""Seconds between two looks at the time, and between two at the signs of life of who reports nothing."""
AWAKE = 5.0
"""Seconds between two looks beyond which the driver itself was held up: those do not count."""
STARTS = 300.0
"""Seconds that a worker has at least to start: it gives no sign of life yet, and a busy machine takes a minute."""
TOLD = 60.0
"""Seconds of silence that are worth a word."""


class Hangs(tune.Callback):
    """Watches over the trials of a stage, in the driver's own loop.

    A stopped process answers no request of Ray's; ``ray.kill`` has it killed by its node after some seconds, and takes
    it for dead at once.
    """

    def __init__(self, signs: Signs, on_event: Callable[[Event], None]):
        self.signs, self.on_event = signs, on_event
        self.where: dict[str, str] = {}
        self.marks: dict[str, bytes | None] = {}
        self.told: dict[str, str] = {}
        """Names of those that are said to be silent."""
        self.starting: dict[str, float] = {}
        """Seconds for which actors have had a process and were not ready."""
        self.looked = self.asked = time.monotonic()

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune saves its callbacks for a restore, which we never do

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Called by Tune for each report."""
        self.signs.hear(trial.trial_id, result)
        self.where[trial.trial_id] = f" (process {result.get('pid')} on {result.get('hostname')})"
        self._hush(trial.trial_id)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune where it has ended or was stopped."""
        self._hush(trial.trial_id)

    def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune where its worker has died, and another will take it up."""
        self.where.pop(trial.trial_id, None)
        self._hush(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Called by Tune where it is given up."""
        self._hush(trial.trial_id)

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
                self.told[trial_id] = _called(trial)
                self.on_event({"trial_id": trial_id, "silent": before, "job": self.told[trial_id]})

    def _look_at_those_that_start(self) -> None:
        """A process may hang before Tune knows its actor: as it takes in the code, say."""
        found = _starting()
        self.starting = {actor: self.starting.get(actor, 0.0) + ASK_EVERY for actor in found}
        for actor, seconds in self.starting.items():
            if self.signs.patience and seconds > max(self.signs.patience, STARTS):
                ray_private.kill_starting_actor(actor)
                self.starting[actor] = 0.0
                told = f"process {found[actor]} has not begun its work for {duration(seconds)}"
                self._warn(f"{told}: it is ended, and another is started")

    def _has_moved(self, trial_id: str) -> bool:
        try:
            mark = pulse.seen(trial_id)
        except Exception:  # Ray does not answer, which says nothing of the worker
            return True
        moved = mark != self.marks.get(trial_id)
        self.marks[trial_id] = mark
        return moved

    def _end(self, trial: Any, seconds: float) -> None:
        trial_id = trial.trial_id
        hung = "given no sign of life" if self.signs.silent(trial_id) >= seconds else "got nowhere"
        where = self.where.get(trial_id, "")
        self.signs.end(trial_id)
        ray.kill(trial.temporary_state.ray_actor)
        told = f"{_called(trial)}{where} has {hung} for {duration(seconds)}"
        self._warn(f"{told}: its worker is ended, and its work is tried again")

    def _warn(self, told: str) -> None:
        self.on_event({"warning": f"{told} ({VARIABLE} says how long to wait)"})

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Called by Tune at the end."""
        with contextlib.suppress(Exception):  # Ray has gone with all that it kept
            for trial in trials:
                pulse.forget(trial.trial_id)


def _starting() -> dict[str, int]:
    """Actors that have a process and are not ready yet, and its id; the driver has no others than Tune's."""
    try:
        return ray_private.starting_actors()
    except Exception:  # Ray does not answer, or is reached through its client
        return {}


def _in_hand(trial: Any) -> bool:
    """Whether a worker has it, also one that is being made ready for it."""
    return trial.temporary_state.ray_actor is not None and trial.status in (trial.RUNNING, trial.PENDING)


def _called(trial: Any) -> str:
    """The name of its folder."""
    return str(trial.custom_dirname or trial.trial_id)
