"""Cells that are killed in their training, and what is left of them."""

from dataclasses import replace

import pytest
from builders import Killed, a_cell

from autosparse.runner.work.cells import run_cells
from autosparse.training import Execution, Recipe

EPOCHS, KILLED_AFTER = 4, 2
RECIPE = Recipe(epochs=EPOCHS, lr=2e-3, batch_size=48, milestones=(1, 3), weight_decay=1e-2)
MOMENTUM = replace(RECIPE, optimizer="momentum", lr=0.02, augmentation="crop-flip")
TIMES = {"seconds", "seconds_score", "seconds_train", "trained_together", "resumed_from"}
COMPACT = Execution(compact="on")


def cell_to_kill(criterion="random", sparsity=0.8, seed=0, recipe=RECIPE, **changes):
    return a_cell(criterion, sparsity, seed, recipe=recipe, **changes)


RESIDUAL = "tests.runner.killed_nets:block"
EVERY_THREE = {"every": 3, "until": 0.9}
CELLS = {
    "dense": cell_to_kill("dense", 0.0),
    "BatchNorm": cell_to_kill("magnitude", 0.5, model=RESIDUAL, recipe=MOMENTUM),
    "compact": cell_to_kill("snip", 0.98),
    "sparse layer": cell_to_kill("random-erk", 0.95, model="tests.runner.killed_nets:wide"),
    "rigl": cell_to_kill("rigl", 0.9, options=EVERY_THREE),
    "gmp": cell_to_kill("gmp", 0.9, options=EVERY_THREE),
    "set": cell_to_kill("set", 0.9, options=EVERY_THREE),
    "rewound": cell_to_kill("ltr", 0.8, options={"rounds": 1, "rewind": 0.4}),
    "fine-tuned": cell_to_kill("magnitude-after-training", 0.8, options={"epochs": 3}),
    "sets weights": cell_to_kill("3sp-reinit", 0.8),
    "reinit": cell_to_kill("snip", 0.8, ablation="reinit"),
    "shuffle": cell_to_kill("snip", 0.8, ablation="shuffle"),
}


def results(some, store, data, every=0.0, together=1, execution=COMPACT, **options):
    """Two lists in the order of the cells: results without what a run's surroundings decide, and only that."""
    packs = run_cells(some, store, data, "cpu", together, execution, checkpoint_every=every, **options)
    done = {cell.id: result for pack in packs for cell, result in pack}
    for result in done.values():
        if isinstance(result, Exception):
            raise result
    found = [done[cell.id] for cell in some]
    return (
        [{name: value for name, value in result.items() if name not in TIMES} for result in found],
        [{name: result[name] for name in TIMES & result.keys()} for result in found],
    )


def cut_off(some, store, data, share=KILLED_AFTER / EPOCHS, **options):
    """Have the work end, as if by a kill, as soon as this share of a training is done and kept."""

    def kill(running, done):
        if done is not None and done >= share:
            raise Killed

    with pytest.raises(Killed):
        results(some, store, data, on_progress=kill, **options)
