"""Keeping Tune's own reporter off the terminal: results go to stdout, talk to stderr, and both are ours."""

import contextlib
import io
import logging
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """No line of Tune's on stdout or in its log within the block."""
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(level)
        sys.stdout.flush()
