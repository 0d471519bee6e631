"""Experiment files: what is refused, and that the message names the file, the key and the reason."""

from pathlib import Path

import pytest
from builders import experiment_from

from autosparse.errors import AutosparseError
from autosparse.experiment.load import load_experiment

GOOD = """
name: small
irp:
  snip: {model: lenet-300-100, dataset: digits, iterations: 2, seeds: [7, 8]}
scorers:
  mine: {irp: snip}
grid:
  models: [lenet-300-100]
  datasets: [digits]
  methods: [dense, snip, {criterion: autos, scorer: mine, name: learned}]
  sparsities: [0.9, 0.95]
  seeds: [0, 1]
  recipe: {lr: 1e-3, epochs: 2}
"""


def test_a_good_file_is_read_with_numbers_as_people_write_them(tmp_path):
    experiment = experiment_from(tmp_path, GOOD)
    assert experiment.grid[0].recipe.lr == 1e-3
    assert experiment.irp["snip"].seeds == (7, 8)
    assert [method.label for method in experiment.grid[0].methods] == ["dense", "snip", "learned"]


@pytest.mark.parametrize(
    ("old", "new", "key", "reason"),
    [
        ("sparsities:", "sparsitys:", "grid[0].sparsitys", "did you mean 'sparsities'"),
        ("epochs: 2", "epoch: 2", "grid[0].recipe.epoch", "did you mean 'epochs'"),
        ("name: small", "name: small\nworkers: 3", "workers", "unknown key"),
        ("name: small", "name: small\npreset: {}", "preset", "did you mean 'presets'"),
        ("[0.9, 0.95]", "[0.9, 1.0]", "grid[0].sparsities[1]", "less than 1"),
        ("[0.9, 0.95]", "[-0.1]", "grid[0].sparsities[0]", "greater than or equal to 0"),
        ("[0.9, 0.95]", "[]", "grid[0].sparsities", "must not be empty"),
        ("[0.9, 0.95]", "[0.9, 0.9]", "grid[0].sparsities", "listed twice"),
        ("[0.9, 0.95]", "['0.9']", "grid[0].sparsities[0]", "valid number"),
        ("seeds: [0, 1]", "seeds: 3", "grid[0].seeds", "valid array"),
        ("seeds: [0, 1]", "seeds: [0.5]", "grid[0].seeds[0]", "valid integer"),
        ("seeds: [0, 1]", "seeds: []", "grid[0].seeds", "must not be empty"),
        ("  seeds: [0, 1]\n", "", "grid[0].seeds", "missing"),
        ("models: [lenet-300-100]", "models: [lenet-300]", "grid[0].models[0]", "did you mean 'lenet-300-100'"),
        ("datasets: [digits]", "datasets: [digit]", "grid[0].datasets[0]", "did you mean 'digits'"),
        ("dense, snip,", "dense, snpi,", "grid[0].methods[1].criterion", "did you mean 'snip'"),
        ("dense, snip,", "dense, autos,", "grid[0].methods[1]", "needs a `scorer:`"),
        (
            "dense, snip,",
            "{criterion: dense, ablation: shuffle},",
            "grid[0].methods[0]",
            "no masks or scores to ablate",
        ),
        ("dense, snip,", "{criterion: force, ablation: invert},", "grid[0].methods[0]", "prunes in rounds"),
        ("dense, snip,", "{criterion: rigl, ablation: shuffle},", "grid[0].methods[0]", "changes its masks while"),
        ("dense, snip,", "{criterion: 3sp, ablation: invert},", "grid[0].methods[0]", "whole channels"),
        ("dense, snip,", "{criterion: 3sp, ablation: shuffle},", "grid[0].methods[0]", "random-structured instead"),
        (
            "dense, snip,",
            "{criterion: 3sp-rescale, ablation: reinit},",
            "grid[0].methods[0]",
            "sets the weights itself",
        ),
        ("dense, snip,", "{criterion: snip, options: {seed: 1}},", "grid[0].methods[0]", "unknown option"),
        (
            "dense, snip,",
            "{criterion: grasp, options: {temperature: hot}},",
            "grid[0].methods[0]",
            "must be a number greater than 0, got 'hot'",
        ),
        ("iterations: 2", "iterations: 2, options: {foo: 1}", "irp.snip", "unknown option"),
        ("iterations: 2", "iterations: 2, criterion: random, options: {seed: 1}", "irp.snip", "unknown option"),
        ("lr: 1e-3", "lr: .inf", "", "finite"),
        ("name: small", "name: small\ndescription: &a [*a]", "", "circular"),
        ("iterations: 2", "iterations: 2, criterion: force", "irp.snip.criterion", "rounds or trainings of its own"),
        ("iterations: 2", "iterations: 2, criterion: 3sp", "irp.snip.criterion", "prunes channels"),
        ("dense, snip,", "snip, snip,", "grid[0]", "two methods are called 'snip'"),
        ("scorer: mine,", "scorer: yours,", "", "unknown scorer"),
        ("{irp: snip}", "{irp: grasp}", "", "unknown irp"),
        ("{irp: snip}", "{irp: snip, irp_seeds: [9]}", "", "no seed 9"),
        ("{irp: snip}", "{irp: snip, backbone: mpl}", "scorers.mine.backbone", "did you mean 'mlp'"),
        ("{irp: snip}", "{irp: snip, rows: 50}", "scorers.mine.rows", "greater than or equal to 1000"),
        ("{irp: snip}", "{irp: snip, inputs: [grads]}", "scorers.mine.inputs", "did you mean 'grad'"),
        ("{irp: snip}", "{irp: snip, refine: {generation: 3}}", "scorers.mine.refine", "did you mean 'generations'"),
        ("{irp: snip}", "{irp: snip, dagger: {passed: 3}}", "scorers.mine.dagger", "did you mean 'passes'"),
        ("{irp: snip}", "{irp: snip, backbone: conditional-mean, epochs: 3}", "scorers.mine", "leave out epochs"),
        ("lr: 1e-3", "lr: -1.0", "grid[0].recipe", "greater than 0"),
        ("lr: 1e-3", "lr: fast", "grid[0].recipe.lr", "valid number"),
        ("lr: 1e-3", "optimizer: adamm", "grid[0].recipe.optimizer", "'adam'"),
        ("iterations: 2", "iterations: 2, criterion: autos", "irp.snip.criterion", "needs a scorer"),
        ("iterations: 2", "iterations: 2, schedule: cubic", "irp.snip.schedule", "unknown schedule"),
        ("name: small", "name: ../up", "name", "pattern"),
        ("name: small", "name: small\nname: large", "", "given twice"),
        ("name: small", "name: [", "", "not YAML"),
        ("name: small", "1: small", "", "not text"),
    ],
)
def test_a_mistake_is_refused_with_file_key_and_reason(tmp_path, old, new, key, reason):
    assert old in GOOD
    with pytest.raises(AutosparseError) as caught:
        experiment_from(tmp_path, GOOD.replace(old, new, 1))
    message = str(caught.value)
    assert "small.yaml" in message
    assert key in message
    assert reason in message


def test_a_scorer_takes_a_backbone_and_one_input(tmp_path):
    text = GOOD.replace("{irp: snip}", "{irp: snip, backbone: conditional-mean, inputs: [grad]}")
    scorer = experiment_from(tmp_path, text).scorers["mine"]
    assert (scorer.backbone, scorer.inputs) == ("conditional-mean", ("grad",))


def test_every_mistake_is_told_at_once_a_line_each(tmp_path):
    with pytest.raises(AutosparseError) as caught:
        experiment_from(tmp_path, GOOD.replace("epochs: 2", "epochs: 0.5").replace("[0.9, 0.95]", "[2]"))
    assert len(str(caught.value).splitlines()) == 2


def test_tags_that_build_python_objects_are_refused(tmp_path):
    with pytest.raises(AutosparseError, match="not YAML"):
        experiment_from(tmp_path, GOOD.replace("small", "!!python/object/apply:os.getcwd []", 1))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_a_file_that_is_no_mapping_is_refused(tmp_path, text):
    with pytest.raises(AutosparseError, match="is a mapping"):
        experiment_from(tmp_path, text)


def test_an_absent_file_says_where_to_look(tmp_path):
    with pytest.raises(AutosparseError, match="list experiments"):
        load_experiment(tmp_path / "none.yaml")


def test_a_merged_key_may_be_overridden(tmp_path):
    text = GOOD.replace("recipe: {lr: 1e-3, epochs: 2}", "recipe:\n    <<: *base\n    epochs: 9").replace(
        "iterations: 2", "recipe: &base {lr: 0.5, epochs: 3}"
    )
    recipe = experiment_from(tmp_path, text).grid[0].recipe
    assert (recipe.lr, recipe.epochs) == (0.5, 9)


SHIPPED = sorted(Path(__file__).parents[2].glob("experiments/**/*.yaml"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_experiment_loads(path):
    assert load_experiment(path).paper.name.endswith(path.stem)
