"""The one family of errors that users see: each message names the thing, the reason and the cure."""

import logging
import re
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from functools import cache


class AutosparseError(ValueError):
    """Base of every error this package raises on purpose.

    A ValueError, so that pydantic reports it together with the key at which it arose.

    ``exit_code`` is the exit status of the command line: 2 if the request itself cannot be met
    (bad name, bad file, missing data), 1 if work was started and failed.
    """

    exit_code = 2


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name that was probably meant: one that starts with ``name``, else one that is spelt alike."""
    known = sorted(known)
    alike = [k for k in known if name and k.startswith(name)] or get_close_matches(name, known, n=1, cutoff=0.5)
    return alike[0] if alike else None


def safe_uri(text: str) -> str:
    """``text`` with every user, password and secret in its addresses, also in their queries, replaced by ``***``."""
    text = re.sub(r"://(?!/)\S*@", "://***@", text)  # up to the last @: a password may contain one, or a slash
    return re.sub(r"(?i)([?&][^=&\s]*(?:passw|pwd|secret|token|key)[^=&\s]*=)[^&\s'\"]+", r"\1***", text)


def first_line(error: BaseException) -> str:
    """The first line of what an error says; its kind if it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what caused it or was being handled when it came, and so on to the first."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@cache
def warn_once(module: str, line: str) -> None:
    """Log ``line`` as a warning of ``module`` once in a process, however often it is true."""
    logging.getLogger(module).warning("%s", line)


class UnknownName(AutosparseError):
    """A name that no registry knows; the message offers the nearest one."""

    def __init__(self, kind: str, name: str, known: Iterable[str]):
        self.known = known = sorted(known)
        nearest = nearest_name(name, known)
        hint = f"did you mean {nearest!r}?" if nearest else f"known: {', '.join(known) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}: {hint}")


class DataError(AutosparseError):
    """A data set, or a file of one, that is missing, truncated, or not what it should be."""


class Unreachable(AutosparseError):
    """A store that does not answer now, but may later."""


class CorruptFile(AutosparseError):
    """A file of ours whose content does not match its checksum, layout or provenance."""


class CannotWrite(AutosparseError):
    """A place that is full, read-only, or not ours: every other write to it would fail, too."""


class WorkFailed(AutosparseError):
    """Work that was started and failed."""

    exit_code = 1


class WorkersDied(WorkFailed):
    """Work whose workers died too often; the same command resumes it."""


class Interrupted(WorkFailed):
    """Work that the user stopped (Ctrl-C)."""

    exit_code = 130


class NonFiniteLoss(WorkFailed):
    """A loss that became NaN or infinite."""
