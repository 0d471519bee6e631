"""Which fits can stream their rows."""

from autosparse.autos.backbones import BACKBONES
from autosparse.errors import AutosparseError


def require_streamable(backbone: str, in_rounds: bool, rows: int | None, dagger: bool) -> None:
    """Raise if a fit cannot stream its rows from a folder.

    :param in_rounds: whether the scorer prunes in rounds, so that it learns from states.
    :param rows: how many rows were asked for.
    :param dagger: whether rows from networks that the scorer prunes are to be added.
    """
    if not in_rounds:
        raise AutosparseError(
            "--rows-in (rows_in) is for a scorer that prunes in rounds: give inputs such as context, or rounds"
        )
    if dagger:
        raise AutosparseError(
            "dagger adds rows to those in memory, and --rows-in (rows_in) has none there: leave one of the two out"
        )
    if rows is not None and BACKBONES[backbone].streams():
        raise AutosparseError(
            f"backbone {backbone!r} learns from every row of --rows-in (rows_in): leave one of rows and rows_in out"
        )
