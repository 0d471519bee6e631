"""Cards of scorers and survival data: the Hub can read them, what a user edited is kept, a local copy loads."""

from types import SimpleNamespace

import pytest
import torch
import yaml
from builders import unfitted_scorer
from mlflow.store.entities import PagedList
from typer.testing import CliRunner

import autosparse as asp
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.cli import app
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import pack_record, read_record
from autosparse.report.card import is_untouched, public_name, table, write_card
from autosparse.report.card_scorer import scorer_card
from autosparse.results import of_scorer
from autosparse.results.of_scorer import Measured, measured_with
from autosparse.results.runs import Run

MADE = {
    "model": "lenet-300-100",
    "dataset": "subset:100:parquet:/home/me/secret/cifar10@0123456789abcdef",
    "criterion": "snip",
    "iterations": 3,
    "seed": 1,
    "final_density": 0.1,
}
REPOSITORY = {".gitattributes": "*.safetensors filter=lfs", "README.md": "# mine", ".git/HEAD": "ref: main"}


@pytest.fixture
def scorer_with_warning():
    report = {"held_out_r2": 0.5, "train_r2": 0.625, "warnings": ["it has | not\nlearned"]}
    about = {"rows": 1234, "seed": 0, "survival": [MADE], "code_version": "0.2.0"}
    return unfitted_scorer(report, about)


@pytest.fixture
def cifar10_survival():
    param = {"fc.weight": torch.randn(10, 7), "out.weight": torch.randn(3, 10)}
    survived = {name: torch.ones_like(value, dtype=torch.int32) for name, value in param.items()}
    return asp.Survival(param, param, survived, MADE)


def read(card):
    _, header, body = card.split("---\n", 2)
    return yaml.safe_load(header), body


def call(*arguments):
    return CliRunner().invoke(app, ["card", *map(str, arguments)], env={"MLFLOW_TRACKING_URI": ""})


def test_a_scorer_s_card_has_the_metadata_of_the_hub_and_no_path_of_this_machine(scorer_with_warning):
    measured = [Measured("mine", "resnet20", "cifar10", 0.95, 88.125, 3, "recipe.epochs=5")]
    card = scorer_card(scorer_with_warning, "tiny", measured)
    header, body = read(card)
    assert (header["library_name"], header["datasets"]) == ("autosparse", ["cifar10"])
    assert {"autosparse", "pruning", "mlp"} <= set(header["tags"])
    (index,) = header["model-index"]
    fit, accuracy = index["results"]
    assert index["name"] == "tiny"
    assert [(metric["type"], metric["value"]) for metric in fit["metrics"]] == [
        ("r_squared", 0.5),
        ("r_squared", 0.625),
    ]
    assert accuracy["dataset"] == {"type": "cifar10", "name": "cifar10"}
    assert accuracy["metrics"][0]["value"] == 88.125
    assert "resnet20 at sparsity 0.95, mean of 3 seeds (mine: recipe.epochs=5)" in accuracy["metrics"][0]["name"]
    assert 'asp.load_scorer("tiny")' in body
    assert "| resnet20 | cifar10 | 0.95 | 88.12 | 3 | mine | recipe.epochs=5 |" in body
    assert "- it has | not learned" in body
    assert "/home" not in card


def test_a_scorer_of_which_nothing_is_known_has_a_card_without_results():
    bare = asp.Scorer("mlp", ("param",), Standardisation((0.0,), (1.0,)), build_backbone("mlp", 1, 0))
    header, body = read(scorer_card(bare, "bare"))
    assert header["model-index"] == [{"name": "bare", "results": []}]
    assert "datasets" not in header
    assert "##" not in body.split("## How it was made")[1]


@pytest.mark.parametrize("below", ["", "seed-0"])
def test_a_data_card_names_the_files_of_each_dataset_and_how_many_rows_they_have(cifar10_survival, tmp_path, below):
    asp.save_survival(cifar10_survival, tmp_path / "data" / below)
    answer = call(tmp_path / "data")
    assert answer.exit_code == 0, answer.output
    header, body = read(answer.stdout)
    assert header["configs"][0]["data_files"] == [f"{below}/part-*.parquet" if below else "part-*.parquet"]
    assert (header["size_categories"], header["task_categories"]) == (["n<1K"], ["tabular-regression"])
    assert "| 100 | lenet-300-100 | cifar10 | snip | 3 | 0.1 | 1 |" in body
    assert f'load_survival("data{"/" if below else ""}{below}")' in body
    assert "/home" not in answer.stdout


def test_a_card_is_written_once_more_unless_somebody_has_edited_it(scorer_with_warning, tmp_path):
    folder = scorer_with_warning.save(tmp_path / "tiny")
    path = folder / "README.md"
    assert call(folder, "--write").exit_code == 0
    first = path.read_text()
    assert is_untouched(first)
    assert first == call(folder).stdout
    assert call(folder, "--write").exit_code == 0
    path.write_text(first.replace("A scorer", "My scorer"))
    refused = call(folder, "--write")
    assert isinstance(refused.exception, AutosparseError)
    assert "keep it, or replace it with --force" in str(refused.exception)
    assert "My scorer" in path.read_text()
    assert call(folder, "--write", "--force").exit_code == 0
    assert path.read_text() == first
    assert sorted(file.name for file in folder.iterdir()) == ["README.md", "scorer.json", "scorer.safetensors"]


def test_a_foreign_readme_is_kept_and_a_card_is_whole_or_absent(tmp_path, monkeypatch):
    (tmp_path / "README.md").write_text("# mine\n")
    with pytest.raises(AutosparseError, match="is not as `autosparse card` wrote it"):
        write_card(tmp_path, "card")
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(AutosparseError, match="No space left"):
        write_card(tmp_path, "card", force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]
    assert (tmp_path / "README.md").read_text() == "# mine\n"


def test_a_folder_without_either_is_refused_in_one_line(tmp_path):
    answer = call(tmp_path)
    assert isinstance(answer.exception, AutosparseError)
    assert "no survival dataset in" in str(answer.exception)


def test_a_local_copy_of_a_repository_loads(scorer_with_warning, cifar10_survival, tmp_path):
    scorer_with_warning.save(tmp_path / "scorer")
    asp.save_survival(cifar10_survival, tmp_path / "data")
    for folder in ("scorer", "data"):
        for name, text in REPOSITORY.items():
            (tmp_path / folder / name).parent.mkdir(exist_ok=True)
            (tmp_path / folder / name).write_text(text)
    loaded = asp.load_scorer(tmp_path / "scorer")
    assert loaded.report == scorer_with_warning.report
    assert asp.load_survival(tmp_path / "data").fingerprint == cifar10_survival.fingerprint


def test_a_pointer_of_git_lfs_is_told_with_its_cure(scorer_with_warning, cifar10_survival, tmp_path):
    weights = scorer_with_warning.save(tmp_path / "scorer") / "scorer.safetensors"
    shard = asp.save_survival(cifar10_survival, tmp_path / "data") / "part-00000.parquet"
    for file, load in ((weights, asp.load_scorer), (shard, asp.load_survival)):
        file.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
        with pytest.raises(CorruptFile, match="run `git lfs pull`"):
            load(file.parent)


def test_mlflow_knows_a_scorer_by_its_weights_wherever_they_were_copied(scorer_with_warning, tmp_path, monkeypatch):
    folder = scorer_with_warning.save(tmp_path / "elsewhere")
    ours = read_record(folder / "scorer.json")

    def run(task_id, held_out, **other):
        (tmp_path / task_id).write_bytes(pack_record({**ours, **other}))
        return Run(task_id, "", {"task_id": task_id}, {}, {"held_out_r2": held_out})

    def cell(scorer_id, seed, accuracy, label="mine", **params):
        tags = {"method": label, "model": "m", "dataset": "d", "sparsity": "0.9", "seed": str(seed)}
        params = {"scorer": scorer_id, "criterion": "autos", "recipe.epochs": "10", **params}
        return Run(f"{scorer_id}{seed}{label}", "", tags, params, {"test_accuracy": accuracy})

    runs = [
        run("same", 0.5),
        run("alike", 0.5, weights_sha256="00"),
        run("other", 0.4),
        run("in-rounds", 0.5, in_rounds={"rounds": 20}),
    ]
    others = ("alike", "other", "in-rounds")
    cells = [cell("same", 0, 80.0), cell("same", 1, 90.0), *(cell(name, 0, 10.0) for name in others)]
    monkeypatch.setattr(of_scorer, "finished_runs", lambda client, name, kind: runs if name == "one" else [])
    monkeypatch.setattr(of_scorer, "finished_cells", lambda client, name: cells)

    def in_pages(page_token=None):
        name, token = {None: ("two", "next"), "next": ("one", "last"), "last": ("Default", None)}[page_token]
        return PagedList([SimpleNamespace(name=name)], token)

    client = SimpleNamespace(
        tracking_uri="",
        search_experiments=in_pages,
        download_artifacts=lambda run_id, path, into: str(tmp_path / run_id),
    )
    assert measured_with(client, folder) == [Measured("one", "m", "d", 0.9, 85.0, 2, "")]
    assert measured_with(client, folder, "two") == []
    cells.append(cell("same", 0, 70.0, "clipped", **{"options.clip": "3"}))
    cells.append(cell("same", 0, 60.0, **{"recipe.epochs": "5"}))
    assert {(each.accuracy, each.how) for each in measured_with(client, folder, "one")} == {
        (85.0, "recipe.epochs=10, mine (scorer=same)"),
        (70.0, "recipe.epochs=10, clipped"),
        (60.0, "recipe.epochs=5"),
    }


@pytest.mark.parametrize(
    ("name", "public"),
    [
        ("mnist", "mnist"),
        ("subset:1000,200:cifar10", "cifar10"),
        ("parquet:/home/me/cifar10-jpeg@0123456789abcdef", "cifar10-jpeg"),
        ("imagefolder:dogs/", "dogs"),
    ],
)
def test_a_dataset_is_named_without_what_only_this_machine_knows(name, public):
    assert public_name(name) == public


def test_values_stay_in_their_cells():
    assert table(("a", "b"), [("x|y\nz", "<b>")]) == "| a | b |\n| --- | --- |\n| x\\|y z | &lt;b> |"
