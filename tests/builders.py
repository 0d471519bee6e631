"""Makes what many tests begin with."""

from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.tasks import Cell


def plan_from(**content) -> Plan:
    """The plan of an experiment file with this content; ``name`` may be left out."""
    return make_plan(parse_experiment({"name": "x", **content}, "x.yaml"))


def a_cell(**fields) -> Cell:
    """A cell of LeNet-300-100 on digits, pruned to 90 % by SNIP, seed 0; ``fields`` say what is different."""
    usual = {"model": "lenet-300-100", "dataset": "digits", "criterion": "snip", "sparsity": 0.9, "seed": 0}
    return Cell(**{**usual, **fields})
