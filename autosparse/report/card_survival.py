"""The data card of survival datasets."""

from pathlib import Path
from typing import Any

from autosparse.irp import find_datasets
from autosparse.irp.parquet import SHARDS, read_metadata
from autosparse.report.card import LIBRARY, assemble, table, told

SIZES = {1e3: "n<1K", 1e4: "1K<n<10K", 1e5: "10K<n<100K", 1e6: "100K<n<1M", 1e7: "1M<n<10M", 1e8: "10M<n<100M"}
COLUMNS = {
    "layer": "name of the weight tensor (dictionary of strings)",
    "position": "flat index in it (int64)",
    "param": "value at initialisation (float32)",
    "grad": "gradient of the loss there (float32)",
    "survived": "iterations of pruning that the weight survived (int32)",
}
LOADING = """```python
import autosparse as asp

survival = asp.load_survival("{first}")    # in a local copy
scorer = asp.fit_scorer(survival)
```"""


def survival_card(folder: Path, name: str) -> str:
    """The data card of the survival datasets in ``folder``, from their metadata alone.

    :raises AutosparseError: if ``folder`` has no survival dataset, or a shard is not ours.
    """
    datasets = find_datasets(folder)
    described = [read_metadata(sorted(path.glob(SHARDS[0]))[0]) for path in datasets]
    rows = sum(content["rows"] for content in described)
    places = [path.relative_to(folder).as_posix() for path in datasets]
    patterns = [SHARDS[0] if place == "." else f"{place}/{SHARDS[0]}" for place in places]
    header: dict[str, Any] = {
        "tags": [LIBRARY, "pruning", "pruning-at-initialization", "sparsity"],
        "task_categories": ["tabular-regression"],
        "size_categories": [next((words for size, words in SIZES.items() if rows < size), "n>100M")],
        "configs": [{"config_name": "default", "data_files": patterns}],
    }
    columns = ("model", "dataset", "criterion", "iterations", "final_density", "seed", "gradient_mode")
    runs = [[place, c["rows"], *told(c["provenance"], columns)] for place, c in zip(places, described, strict=True)]
    body = [
        f"# {name}",
        "Survival data of autosparse: for each weight of a network, its value and gradient at initialisation, and how "
        "many iterations of iterative rewind pruning it survived (Algorithm 2 of AutoSparse, "
        "[Liu et al. 2024](https://arxiv.org/abs/2408.14757)).",
        LOADING.format(first=name if places[0] == "." else f"{name}/{places[0]}"),
        table(("column", "holds"), COLUMNS.items()),
        table(("folder", "rows", *columns), runs),
    ]
    return assemble(header, "\n\n".join(body))
