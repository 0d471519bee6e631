"""Presets and --set: what a path leads to, and what is refused."""

import pytest

from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.load import parse_loaded
from autosparse.experiment.plan import make_plan
from autosparse.experiment.presets import changes_of, choose, parse_change, set_value

FILE = {
    "name": "x",
    "irp": {"a": {"epochs": 1}, "b": {"epochs": 1}},
    "grid": [{"name": "one", "seeds": [0]}, {"name": "two", "seeds": [0]}, {"name": "three", "seeds": [0]}],
    "presets": {
        "small": {"drop": ["grid.one", "grid.2", "irp.a"], "set": {"grid.*.seeds": [1, 2], "irp.*.epochs": 3}},
        "gpu": {"set": {"grid.two.seeds": [5], "irp.b.new": True}},
    },
}


def test_the_file_is_the_papers_and_small_is_what_nobody_chose():
    assert choose(FILE, "paper")[0] == {**{k: v for k, v in FILE.items() if k != "presets"}, "name": "x-paper"}
    content, name = choose(FILE, None)
    assert name == "small"
    assert content == {"name": "x-small", "irp": {"b": {"epochs": 3}}, "grid": [{"name": "two", "seeds": [1, 2]}]}
    assert choose({**FILE, "presets": {"gpu": {}}}, None)[1] == "paper"
    assert choose({"name": "x"}, None) == ({"name": "x"}, None)


def test_names_numbers_and_new_last_keys_lead_somewhere():
    content, _ = choose(FILE, "gpu")
    assert [grid["seeds"] for grid in content["grid"]] == [[0], [5], [0]]
    assert content["irp"] == {"a": {"epochs": 1}, "b": {"epochs": 1, "new": True}}
    assert FILE["irp"] == {"a": {"epochs": 1}, "b": {"epochs": 1}}, "the file's own content is left alone"


def test_an_item_that_two_paths_lead_to_is_dropped_once():
    file = {**FILE, "presets": {"small": {"drop": ["grid.one", "grid.0", "irp.a", "irp.*"]}}}
    content, _ = choose(file, None)
    assert [grid["name"] for grid in content["grid"]] == ["two", "three"]
    assert content["irp"] == {}


def test_a_criterion_that_two_methods_have_is_refused_as_the_name_of_one():
    methods = [{"criterion": "snip"}, {"criterion": "snip", "ablation": "shuffle"}, {"criterion": "grasp"}]
    content = {"grid": [{"methods": methods}]}
    with pytest.raises(AutosparseError, match=r"several items are called 'snip': give a number, 0 or 1, or name them"):
        set_value(content, "grid.0.methods.snip.options", {})
    set_value(content, "grid.0.methods.grasp.ablation", "invert")
    assert methods[2]["ablation"] == "invert"


def test_what_a_base_sets_in_a_section_that_the_preset_drops_is_no_change():
    file = {"name": "x", "irp": {"a": {"epochs": 1}}, "grid": [{}], "presets": {"small": {"base": "digits"}}}
    assert "grid.*.seeds = [0]" in changes_of(file, "small")
    file["presets"]["small"]["drop"] = ["grid"]
    assert {change.partition(".")[0] for change in changes_of(file, "small")} == {"without grid", "irp"}


def test_values_that_are_set_in_several_places_are_not_one_object():
    content = {"grid": [{}, {}]}
    set_value(content, "grid.*.seeds", [0])
    content["grid"][0]["seeds"].append(1)
    assert content["grid"][1]["seeds"] == [0]


@pytest.mark.parametrize(
    ("preset", "reason"),
    [
        ("smal", "unknown preset 'smal': did you mean 'small'"),
        ("bad-path", r"unknown key in 'irp.c.epochs': 'c'"),
        ("bad-item", r"unknown item in 'grid.four.seeds': 'four'"),
        ("too-deep", r"'name.first': 'first' cannot be found in 'x'"),
        ("bad-key", r"unknown key of preset 'bad-key' 'sets': did you mean 'set'"),
    ],
)
def test_what_leads_nowhere_is_refused(preset, reason):
    presets = {
        **FILE["presets"],
        "bad-path": {"set": {"irp.c.epochs": 1}},
        "bad-item": {"set": {"grid.four.seeds": 1}},
        "too-deep": {"set": {"name.first": 1}},
        "bad-key": {"sets": {}},
    }
    with pytest.raises(AutosparseError, match=reason):
        choose({**FILE, "presets": presets}, preset)


def test_a_preset_of_a_file_that_has_none_and_one_called_paper_are_refused():
    with pytest.raises(AutosparseError, match="--preset gpu: this file has no presets"):
        choose({"name": "x"}, "gpu")
    with pytest.raises(AutosparseError, match=r"presets\.paper"):
        choose({"name": "x", "presets": {"paper": {}}}, None)


def test_set_takes_yaml():
    assert parse_change("grid.*.seeds=[0, 1]") == ("grid.*.seeds", [0, 1])
    assert parse_change("a.lr=1e-3") == ("a.lr", 0.001)
    assert parse_change("a.b=x=y") == ("a.b", "x=y")
    for wrong in ("epochs", "=3"):
        with pytest.raises(AutosparseError, match="give KEY=VALUE"):
            parse_change(wrong)
    with pytest.raises(AutosparseError, match="--set a is not YAML"):
        parse_change("a=[1")


CONTENT = {
    "name": "x",
    "irp": {"snip": {"model": "lenet-300-100", "dataset": "mnist", "recipe": {"epochs": 100}}},
    "scorers": {"a": {"irp": "snip"}},
    "grid": {
        "name": "g",
        "models": ["resnet18"],
        "datasets": ["cifar10"],
        "methods": ["dense", "snip", {"criterion": "autos", "scorer": "a"}],
        "sparsities": [0.9, 0.99],
        "seeds": [0, 1],
        "recipe": {"epochs": 160},
        "published": {
            "source": "T",
            "sparsities": [0.9, 0.99],
            "accuracy": {"snip": [93.1, [88, 0.5]], "autos": [92, None], "dense": [94]},
        },
    },
    "presets": {
        "small": {"set": {"grid.g.recipe.epochs": 2, "irp.*.recipe.epochs": 1, "grid.g.datasets": ["digits"]}},
        "less": {"drop": ["grid.g.methods.snip"]},
        "several": {"drop": ["grid.g.published"]},
    },
}


def compared(preset, changes=()):
    loaded = parse_loaded(CONTENT, "x.yaml", preset, changes)
    plan = make_plan(loaded.experiment, loaded.paper)
    return plan, {(c.method, c.sparsity): c for c in plan.comparisons}


def test_published_accuracies_know_their_cells():
    plan, found = compared("paper")
    assert set(found) == {("snip", 0.9), ("snip", 0.99), ("autos", 0.9), ("dense", 0.0)}
    for (method, sparsity), comparison in found.items():
        cells = [p.task for p in plan.cells if p.label == method and p.task.sparsity == sparsity]
        assert comparison.cells == tuple(cell.id for cell in cells)
        assert len(cells) == 2
        assert comparison.differences == ()
    assert (found["snip", 0.99].published, found["snip", 0.99].spread) == (88, 0.5)
    assert (found["snip", 0.9].published, found["snip", 0.9].spread) == (93.1, None)


@pytest.mark.parametrize("axis", ["models=['resnet18', 'resnet20']", "datasets=['cifar10', 'digits']"])
def test_a_mean_over_several_networks_stands_beside_no_published_figure(axis):
    plan, found = compared("several", [f"grid.g.{axis}"])
    assert plan.cells
    assert found == {}


def test_what_is_not_as_published_is_told():
    plan, found = compared("small", ["grid.*.sparsities=[0.9]"])
    assert plan.name == "x-small"
    told = parse_loaded(CONTENT, "x.yaml", "small", ["grid.*.seeds=[7]"]).changes
    assert told[0] == "grid.g.recipe.epochs = 2"
    assert told[-1] == "grid.*.seeds = [7]"
    assert parse_loaded(CONTENT, "x.yaml", "less").changes == ("without grid.g.methods.snip",)
    assert parse_loaded(CONTENT, "x.yaml", "paper").changes == ()
    told = parse_loaded(CONTENT, "x.yaml", "less", ["grid.*.recipe.epochs=7", "grid.g.recipe.epochs=8"]).changes
    assert [line for line in told if "epochs" in line] == ["grid.*.recipe.epochs = 7", "grid.g.recipe.epochs = 8"]
    told = parse_loaded(CONTENT, "x.yaml", "paper", ["grid.g.seeds=[1]", "grid.*.seeds=[2]"]).changes
    assert told == ("grid.*.seeds = [2]",)
    own = ("datasets: digits (published: cifar10)", "recipe.epochs: 2 (published: 160)")
    assert found["snip", 0.9].differences == own
    assert found["autos", 0.9].differences == (*own, "irp.recipe.epochs: 1 (published: 100)")
    assert (found["snip", 0.9].model, found["snip", 0.9].dataset) == ("resnet18", "cifar10")
    assert found["snip", 0.99].cells == ()


def test_the_sweep_behind_a_scorer_and_the_number_of_its_runs_are_told_too():
    sweeps = {"s": {"irp": "snip", "points": [{"lr": 0.1}, {"lr": 0.2}]}}
    preset = {"set": {"sweeps.s.epochs": 2, "sweeps.s.irp_seeds": [0, 1], "irp.*.seeds": [0, 1], "irp.*.iterations": 3}}
    content = {**CONTENT, "sweeps": sweeps, "scorers": {"a": {"sweep": "s"}}, "presets": {"small": preset}}
    loaded = parse_loaded(content, "x.yaml", "small")
    told = {c.method: c.differences for c in make_plan(loaded.experiment, loaded.paper).comparisons}
    assert told["snip"] == ()
    [epochs, runs, iterations] = told["autos"]
    assert epochs.startswith("sweep.epochs: 2 (published: ")
    assert runs == "scorer.irp: 2 runs (published: 1)"
    assert iterations.startswith("irp.iterations: 3 (published: ")


def test_a_preset_may_leave_a_published_method_out_but_the_file_may_not():
    _, found = compared("less")
    assert found["snip", 0.9].cells == ()
    wrong = {**CONTENT, "grid": {**CONTENT["grid"], "methods": ["dense", "snip"]}, "scorers": {}}
    with pytest.raises(AutosparseError, match=r"x.yaml: unknown method \(of T\) 'autos'"):
        parse_loaded(wrong, "x.yaml")


def test_a_grid_without_a_name_is_not_compared_with_what_a_preset_has_moved_into_its_place():
    def grid(model, accuracy):
        published = {"source": "T", "sparsities": [0.9], "accuracy": {"snip": [accuracy]}}
        usual = {"datasets": ["mnist"], "methods": ["snip"], "sparsities": [0.9], "seeds": [0], "recipe": {"epochs": 9}}
        return {"models": [model], **usual, "published": published}

    content = {"name": "x", "grid": [grid("lenet-300-100", 11), grid("lenet-5", 22)]}
    content["presets"] = {"all": {"set": {"grid.*.recipe.epochs": 1}}, "one": {"drop": ["grid.0"]}}
    content["presets"]["same"] = {"drop": ["grid.*.published"], "set": {"grid.*.models": ["lenet-5"]}}
    found = {}
    for preset in ("all", "one", "same"):
        loaded = parse_loaded(content, "x.yaml", preset)
        plan = make_plan(loaded.experiment, loaded.paper)
        found[preset] = [(comparison.model, comparison.published) for comparison in plan.comparisons]
    both = [("lenet-300-100", 11), ("lenet-5", 22)]
    assert found == {"all": both, "one": [], "same": both}, "also if a preset makes two grids the same"


@pytest.mark.parametrize(
    ("published", "reason"),
    [
        ({"accuracy": {"snip": [93.1]}}, "'snip' has 1 values for 2 sparsities"),
        ({"accuracy": {"dense": [93.1, 92.0]}}, "'dense' has 2 values for 1 sparsities"),
        ({"accuracy": {"snip": [931, 90]}}, "less than or equal to 100"),
    ],
)
def test_published_accuracies_that_cannot_be_are_refused(published, reason):
    grid = {**CONTENT["grid"], "published": {**CONTENT["grid"]["published"], **published}}
    with pytest.raises(AutosparseError, match=reason):
        parse_loaded({**CONTENT, "grid": grid}, "x.yaml")


def test_a_base_sets_what_the_file_has_and_the_presets_own_values_come_after():
    irp = {"run": {"model": "resnet18", "dataset": "cifar10", "recipe": {"epochs": 160, "lr": 0.1}}}
    file = {"name": "x", "irp": irp, "presets": {"smoke": {"base": "digits", "set": {"irp.*.iterations": 5}}}}
    chosen = choose(file, "smoke")[0]["irp"]["run"]
    assert (chosen["model"], chosen["dataset"], chosen["recipe"]) == ("lenet-300-100", "digits", {"epochs": 1})
    assert (chosen["iterations"], chosen["final_density"]) == (5, 0.1)
    told = list(changes_of(file, "smoke"))
    assert "irp.*.iterations = 5" in told
    assert "irp.*.dataset = digits" in told
    assert not any(line.startswith("grid") for line in told)
    with pytest.raises(UnknownName, match="base of preset 'smoke' 'digit': did you mean 'digits'"):
        choose({**file, "presets": {"smoke": {"base": "digit"}}}, "smoke")
