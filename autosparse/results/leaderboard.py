"""The leaderboard of an experiment in MLflow's pages: a Markdown table in the parent run's description."""

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mlflow.entities import RunTag

from autosparse.files import content_id
from autosparse.results.adjusted import adjusted_means
from autosparse.results.best import GROUPS, Averaged, rows_of
from autosparse.results.cell_table import finished_cells
from autosparse.results.groups import groups_of
from autosparse.results.scorer_accuracies import write_accuracies
from autosparse.tracking.client import tracking_errors
from autosparse.tracking.described import NOTE
from autosparse.tracking.known import FINISHED
from autosparse.tracking.log import Tracker

HEADING = "## Leaderboard"
"""What the leaderboard's part of the description begins with; it ends at the next such heading."""
MOST = 4900
"""Most characters of a description; older servers take 5000."""
OF = "leaderboard_of"
"""Tag of the parent run: a fingerprint of the runs that its leaderboard and the scorers' figures were made from."""
RULES = 2
"""A part of that fingerprint; raise it if other rows, ranks or names of figures are made from the same runs."""
METRIC = "test_accuracy"
TRAINING, RANKED_BY = "training", "ranked_by"
"""Keys of a row: what sets the training of its networks apart, and the mean by which it is ranked, see :func:`ranked`.
Only rows with the same training compete."""
Rows = Sequence[dict[str, Any]]
"""Rows as :func:`autosparse.results.best.best` returns them, which may have TRAINING and RANKED_BY."""


def write_leaderboard(tracker: Tracker) -> bool:
    """Bring the parent's leaderboard and the figures of the scorers' models up to date; return whether there was news.

    Text that somebody has written before the leaderboard, or after it under another heading, stays.
    """
    finished = {
        task_id: (known.made, known.label, known.run_id)
        for task_id, known in tracker.known.items()
        if known.status == FINISHED and known.kind in ("cell", "scorer")
    }
    made_from = content_id([RULES, sorted(finished.items())])
    with tracking_errors(tracker.client.tracking_uri):
        tags = tracker.client.get_run(tracker.parent.id).data.tags
        if not finished or tags.get(OF) == made_from:
            return False
        groups = groups_of(finished_cells(tracker.client, tracker.experiment))
        write_accuracies(tracker, groups)
        measured = [group for group in groups if group.values(METRIC)]
        note = tags.get(NOTE, tags.get("description", ""))
        if measured:
            rows = rows_of(measured, tracker.experiment, METRIC, group_by=GROUPS)
            note = with_leaderboard(note, ranked(rows), tracker.experiment)
        tracker.client.log_batch(tracker.parent.id, tags=[RunTag(NOTE, note), RunTag(OF, made_from)])
    return True


def ranked(found: Sequence[Averaged]) -> list[dict[str, Any]]:
    """The rows with TRAINING and RANKED_BY: their means as if all rivals had the same seeds."""
    rivals: dict[tuple[Any, ...], list[Averaged]] = {}
    for each in found:
        place = each.row["model"], each.row["dataset"], each.row["sparsity"], each.training
        rivals.setdefault(place, []).append(each)
    rows = []
    for together in rivals.values():
        values = [{seed: v for group in each.groups for seed, v in group.values(METRIC).items()} for each in together]
        for each, mean in zip(together, adjusted_means(values), strict=True):
            rows.append({**each.row, TRAINING: each.training, RANKED_BY: mean})
    return rows


def with_leaderboard(note: str, rows: Rows, experiment: str) -> str:
    """A description with the leaderboard in place of an earlier one, or at its end."""
    before, found, rest = f"\n{note}".partition(f"\n{HEADING}")
    after = re.search(r"\n#{1,2} .*", rest, re.DOTALL) if found else None
    parts = [before.strip(), "", after[0].strip() if after else ""]
    room = max(MOST - sum(map(len, parts)) - 4, 500)
    parts[1] = leaderboard(rows, experiment, room)
    return "\n\n".join(filter(None, parts))


def leaderboard(rows: Rows, experiment: str, room: int = MOST) -> str:
    """Test accuracy as Markdown: a table for each network and data set, methods as rows, sparsities as columns.

    Methods are in the order of their means at the highest sparsity; the best pruned one of each column is bold, and if
    networks were trained in several ways, the best one of each way. If methods lack seeds, as in a grid that is half
    done, they are ranked as if all had the same.

    :param room: most characters; what does not fit is left out, the worst methods first, and counted.
    """
    tables: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        tables.setdefault((row["model"], row["dataset"]), []).append(row)
    lines = {place: _lines(of_place) for place, of_place in sorted(tables.items())}
    most = max(len(body) - 2 for body in lines.values())
    for shown in range(most, 0, -1):
        text = "\n\n".join([_head(experiment), *(_table(place, body, shown) for place, body in lines.items())])
        if len(text) <= room:
            return text
    return f"{_head(experiment)}\n\nThe table is too large for this page."


def _head(experiment: str) -> str:
    return (
        f"{HEADING}\n\nTest accuracy in %: mean ± standard deviation over seeds (number of seeds in brackets). "
        f"`autosparse best --experiment {shlex.quote(experiment)} --winners` says which leads are significant."
    )


def _table(place: tuple[str, str], lines: Sequence[str], shown: int) -> str:
    left = len(lines) - 2 - shown
    more = [f"\nand {left} more"] if left > 0 else []
    return "\n".join([f"**{_text(place[0])} on {_text(place[1])}**\n", *lines[: 2 + shown], *more])


def _lines(rows: Rows) -> list[str]:
    """The lines of a table: its titles, the rule below them, and the methods."""
    sparsities = sorted({row["sparsity"] for row in rows})
    methods: dict[str, dict[float, dict[str, Any]]] = {}
    for row in rows:
        name = f"{row['method']} ({row['settings']})" if row["settings"] else row["method"]
        methods.setdefault(name, {})[row["sparsity"]] = row
    best: dict[tuple[float, str], float] = {}
    for row in rows:
        if (at := (row["sparsity"], row.get(TRAINING, "")))[0] > 0:
            best[at] = max(_rank(row), best.get(at, _rank(row)))
    top = sparsities[-1]
    order = sorted(methods, key=lambda name: (0 not in methods[name], -_rank(methods[name].get(top)), name))
    body = [_line([_text(name), *(_cell(methods[name].get(s), best) for s in sparsities)]) for name in order]
    titles = ["method", *(f"{100 * sparsity:.6g} %" if sparsity else "dense" for sparsity in sparsities)]
    return [_line(titles), _line(["---", *["---:"] * len(sparsities)]), *body]


def _rank(row: dict[str, Any] | None) -> float:
    return float("-inf") if row is None else row.get(RANKED_BY, row["mean"])


def _cell(row: dict[str, Any] | None, best: Mapping[tuple[float, str], float]) -> str:
    """A mean with its spread and number of seeds.

    :param best: the best mean of each column and training, which is bold.
    """
    if row is None:
        return ""
    mean = f"{row['mean']:.2f}" + ("" if row["std"] is None else f" ± {row['std']:.2f}")
    is_best = _rank(row) == best.get((row["sparsity"], row.get(TRAINING, "")))
    return f"**{mean}** ({row['n']})" if is_best else f"{mean} ({row['n']})"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _text(name: str) -> str:
    """A name with what Markdown would take for markup escaped."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", name)
