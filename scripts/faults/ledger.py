"""Count repeated runs and points in MLflow's database after all faults, without its server."""

import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any


class Ledger:
    """The SQLite file of an MLflow server."""

    def __init__(self, database: Path):
        self.database = database

    def doubled_runs(self) -> Counter[str]:
        """Tasks with more than one run in MLflow, and how many more."""
        rows = self._ask(
            "select t.value, count(*) from tags t join runs r on r.run_uuid = t.run_uuid "
            "where t.key = 'task_id' and r.lifecycle_stage = 'active' group by t.value having count(*) > 1"
        )
        return Counter({task: count - 1 for task, count in rows})

    def doubled_points(self) -> int:
        """Number of repeated points in the histories of metrics."""
        rows = self._ask(
            "select count(*) from metrics m join runs r on r.run_uuid = m.run_uuid where r.lifecycle_stage = 'active' "
            "group by m.run_uuid, m.key, m.step having count(*) > 1"
        )
        return len(rows)

    def finished_runs(self) -> Counter[str]:
        """Finished runs in MLflow, by kind."""
        rows = self._ask(
            "select t.value, count(*) from tags t join runs r on r.run_uuid = t.run_uuid where t.key = 'kind' "
            "and r.lifecycle_stage = 'active' and r.status = 'FINISHED' group by t.value"
        )
        return Counter(dict(rows))

    def _ask(self, query: str) -> list[Any]:
        """Read the file itself: the server may be away, and opening the file rolls back what a kill interrupted."""
        with sqlite3.connect(f"file:{self.database}?mode=rw", uri=True, timeout=60) as database:
            return database.execute(query).fetchall()
