"""Read from MLflow the sample of weights that was logged with an IRP run or a scorer."""

import tempfile
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from autosparse.errors import first_line
from autosparse.results.runs import Run


@dataclass(frozen=True)
class Sample:
    """A sample of the weights of a network: at most a few thousand of each layer."""

    layers: list[str]
    """Names, in network order."""
    layer: np.ndarray
    """(n,) int, positions in ``layers``."""
    position: np.ndarray
    """(n,) int, flat positions in the layer's weight."""
    columns: dict[str, np.ndarray]
    """(n,) float each: ``param``, ``grad``, ``survival``, and ``snip``, ``grasp``, if the network allows them, or
    ``predicted``, ``untrained``."""

    def __len__(self) -> int:
        return len(self.layer)

    @property
    def weight(self) -> np.ndarray:
        """(n,) number of weights that each sampled one stands for; the largest position gives a layer's size."""
        sizes = np.zeros(len(self.layers))
        np.maximum.at(sizes, self.layer, self.position + 1)
        return (sizes / np.bincount(self.layer, minlength=len(self.layers)).clip(1))[self.layer]

    @property
    def most_per_layer(self) -> int:
        """Number of weights in the layer that has the most."""
        return max(np.bincount(self.layer).tolist(), default=0)


def sample_of(client: MlflowClient, run: Run) -> tuple[Sample | None, str]:
    """The run's sample, or None and the reason, because a report is worth writing without it."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            table = pq.read_table(client.download_artifacts(run.run_id, "sample.parquet", folder))
        except (MlflowException, OSError, pa.ArrowException) as error:
            return None, first_line(error)
    layer = table["layer"].combine_chunks().dictionary_encode()
    columns = {name: table[name].to_numpy() for name in table.column_names if name not in ("layer", "position")}
    position = table["position"].to_numpy()
    return Sample(layer.dictionary.to_pylist(), layer.indices.to_numpy(), position, columns), ""
