"""A driver's lease of a prefix in an object store, which has no locks: an object that the driver keeps changing."""

import json
import os
import platform
import secrets
import time
from typing import Any

from autosparse.errors import AutosparseError
from autosparse.storage.conditional import ConditionalWrites, NotConditional
from autosparse.storage.place import Place

LEASE = "driver.json"
BEAT = 10.0
"""Seconds between a driver's signs of life."""
SILENCE = 3 * BEAT
"""Seconds without one after which a driver is taken for dead."""
SETTLED = 1.0
"""Seconds after which the later of two drivers that start together has overwritten the other's lease."""


class Lease:
    """One driver's hold of a place. The others watch it for changes, so no clocks are compared.

    In S3, if boto3 is installed, the driver takes and renews its lease by conditional writes. If several drivers start
    at once, exactly one gets it. A driver that was taken for dead notices at its next write.

    In other stores, and if a store refuses or ignores the conditions, a driver writes, waits until a second one that
    started with it has written, too, and looks whose lease is there. If they start within a second of each other and
    one of them stalls, both could win. Records are named by their content, so they would do work twice, but lose
    nothing. The leases are the same, so drivers of either sort, and of earlier versions, respect each other's.
    """

    def __init__(self, place: Place, option: str = "--storage"):
        """:param option: how the user chooses the place, for errors."""
        self.place, self.option, self.token = place, option, secrets.token_hex(8)
        self.writes = ConditionalWrites.to(place)
        self.tag: str | None = None
        """The ETag of the lease that the next conditional write replaces; None if no lease is there."""

    def take(self) -> None:
        """Take the lease.

        If another driver holds it, wait for it to fall silent; raise if it gives a sign of life.
        """
        self._wait_for_silence()
        if self.writes and self._taken_on_condition(self.writes):
            return
        self.writes = None
        self.place.write(LEASE, self._content())
        time.sleep(SETTLED)
        if not self._is_mine(held := self._look()):
            raise self._refused(held)

    def keep(self) -> bool:
        """Give a sign of life; return False if this driver was silent for too long and has a successor."""
        if self.writes:
            try:
                return self._keep_on_condition(self.writes)
            except NotConditional:
                self.writes = None
        if self._is_lost():
            return False
        self.place.write(LEASE, self._content())
        return True

    def end(self) -> None:
        """Remove the lease if it is still this driver's."""
        if self._is_mine(self._look()):
            self.place.remove(LEASE)

    def _wait_for_silence(self) -> None:
        """Return when nobody holds the place; raise if its holder gives a sign of life."""
        first, silent = self._look(), 0.0
        while first and silent < SILENCE:
            began = time.monotonic()
            time.sleep(BEAT / 10)
            now = self._look()
            if not now:
                return
            if now != first:
                raise self._refused(now)
            # if a look takes long, the store is away, and the holder cannot give a sign of life either
            silent += min(time.monotonic() - began, BEAT / 2)

    def _taken_on_condition(self, writes: ConditionalWrites) -> bool:
        """Whether a conditional write has taken the lease; raise if another driver was faster."""
        try:
            self.tag = writes.write(LEASE, self._content(), self.tag)
            if self.tag is None:
                raise self._refused(self._look())
            return writes.honoured(LEASE, self._content())
        except NotConditional:
            return False

    def _keep_on_condition(self, writes: ConditionalWrites) -> bool:
        if written := writes.write(LEASE, self._content(), self.tag):
            self.tag = written
            return True
        if self._is_lost():
            return False
        self.tag = writes.write(LEASE, self._content(), self.tag)  # somebody has removed it
        return self.tag is not None

    def _look(self) -> dict[str, Any]:
        """Read the lease, and note its ETag; return {} if no lease is there."""
        try:
            found = json.loads(self._read())
        except (FileNotFoundError, json.JSONDecodeError, UnicodeDecodeError):
            return {}
        return found if isinstance(found, dict) else {}

    def _read(self) -> bytes:
        if self.writes:
            try:
                content, self.tag = self.writes.read(LEASE)
                return content
            except NotConditional:
                self.writes = None
        return self.place.read(LEASE)

    def _content(self) -> bytes:
        content = {"token": self.token, "host": platform.node(), "pid": os.getpid(), "beat": secrets.token_hex(4)}
        return json.dumps(content).encode()

    def _is_mine(self, held: dict[str, Any]) -> bool:
        return bool(held.get("token") == self.token)

    def _is_lost(self) -> bool:
        """Whether another driver has the lease; if it was only removed, nobody has."""
        return bool(held := self._look()) and not self._is_mine(held)

    def _refused(self, held: dict[str, Any]) -> AutosparseError:
        return refused(self.place, self.option, f" (process {held.get('pid')} on {held.get('host')})")


def refused(place: object, option: str, holder: str = "") -> AutosparseError:
    """The error of a driver that wants a place which another one holds."""
    return AutosparseError(f"another autosparse{holder} is running on {place}: wait for it, or choose another {option}")
