"""Find the MLflow experiment that a user means, by its name or by its experiment file."""

from mlflow import MlflowClient

from autosparse.errors import AutosparseError
from autosparse.experiment.files import experiment_names
from autosparse.tracking.client import connect, tracking_errors


def client_and_name(experiment: str, tracking_uri: str | None = None) -> tuple[MlflowClient, str]:
    """A client of the MLflow store, which must exist, and the name that an experiment has there.

    :param experiment: the name itself, or the experiment's file.
    """
    client = connect(tracking_uri, must_exist=True)
    return client, experiment_called(client, experiment)


def experiment_called(client: MlflowClient, given: str) -> str:
    """The name of an experiment in MLflow.

    :param given: the name itself, or the file as ``autosparse run`` takes it. Anything else is returned as it is, and
        refused by whoever looks for it.

    :raises AutosparseError: if the file has run at several presets, or at none.
    """
    with tracking_errors(client.tracking_uri):
        if client.get_experiment_by_name(given) is not None:
            return given
        try:
            names = experiment_names(given)
        except AutosparseError:
            return given
        found = [name for name in names if client.get_experiment_by_name(name) is not None]
    if len(found) == 1:
        return found[0]
    if found:
        raise AutosparseError(f"{given} has run at several presets: give one of {', '.join(found)}")
    raise AutosparseError(
        f"no experiment of {given} in MLflow ({', '.join(names)}): `autosparse run {given}` makes one"
    )
