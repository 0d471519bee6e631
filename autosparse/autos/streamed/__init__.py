"""Rows of states that do not fit in memory: Parquet files on disk, and fits that stream them."""

from autosparse.autos.streamed.write import write_rows

__all__ = ["write_rows"]
