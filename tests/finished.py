"""A small experiment, done in this process and written to MLflow."""

from builders import ENVIRONMENT, plan_from

from autosparse.data import load_dataset
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.runner.work.cells import run_cell
from autosparse.runner.work.do import do
from autosparse.tracking.client import connect
from autosparse.tracking.log import Tracker


def finished(content, folder, uri):
    """Do all tasks of an experiment on the digits; return the client, the store and the plan.

    :param folder: for the storage.
    :param uri: of an empty MLflow store.
    """
    store, plan, digits = Store(folder / "results"), plan_from(**content), load_dataset("digits")
    store.prepare()
    for planned in plan:
        task = planned.task
        if isinstance(task, Cell):
            result = run_cell(task, store, digits, "cpu")
        else:
            result = do(task, store, digits, "cpu", lambda numbers: None)
        store.finish(task, result, ENVIRONMENT)
    client = connect(uri)
    Tracker(client, plan.name, store).sync(plan)
    return client, store, plan
