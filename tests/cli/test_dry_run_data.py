"""A dry run says whether the data are there, and what has failed."""

import json

import pytest
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.cli.run import planned
from autosparse.experiment.store import Store

FILE = """
name: mine
grid:
  models: [lenet-300-100]
  datasets: ["{dataset}"]
  methods: [magnitude]
  sparsities: [0.5]
  seeds: [0]
"""


@pytest.fixture
def call_run(here, monkeypatch):
    monkeypatch.delenv("AUTOSPARSE_DATA", raising=False)

    def called(*words, dataset="digits"):
        (here / "mine.yaml").write_text(FILE.format(dataset=dataset))
        return CliRunner().invoke(app, ["run", "mine.yaml", *words])

    return called


@pytest.mark.parametrize(
    ("dataset", "said"),
    [
        ("mnist", "absent data: MNIST is not under data"),
        ("subset:100:fashion-mnist", "absent data: FashionMNIST is not under data"),
        ("cifar10", "absent data: cifar10 is not under data"),
        ("cifar100@0123456789", "absent data: cifar100 is not under data"),
        ("tiny-imagenet", "absent data: no data/tiny-imagenet-200/wnids.txt"),
        ("imagenet", "absent data: no data/imagenet"),
        ("parquet:nowhere", "absent data: no folder 'nowhere'"),
        ("imagefolder:nowhere", "absent data: no folder 'nowhere'"),
    ],
)
def test_a_dry_run_without_the_data_shows_the_plan_and_exits_with_1(call_run, dataset, said):
    answer = call_run("--dry-run", dataset=dataset)
    assert (answer.exit_code, said in answer.stderr) == (1, True), answer.output
    assert "Plan of mine" in answer.stdout


def test_a_dry_run_in_json_names_what_is_absent(call_run):
    answer = call_run("--dry-run", "--json", dataset="mnist")
    assert answer.exit_code == 1
    assert list(json.loads(answer.stdout)["absent_data"]) == ["mnist"]


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_a_dry_run_with_the_data_exits_with_0(call_run, words):
    answer = call_run("--dry-run", *words)
    assert answer.exit_code == 0
    assert "absent data" not in answer.output


def test_a_dry_run_of_one_stage_counts_and_misses_what_that_stage_needs(call_run):
    answer = call_run("--dry-run", "--json", "--only", "irp", dataset="mnist")
    assert answer.exit_code == 0
    found = json.loads(answer.stdout)
    assert (found["absent_data"], found["cells"]["total"]) == ({}, 0)
    assert call_run("--dry-run", "--json", "--only", "grid", dataset="mnist").exit_code == 1


def test_a_dry_run_of_the_report_alone_is_refused(call_run):
    assert "--only report computes nothing" in str(call_run("--dry-run", "--only", "report").exception)


def test_data_that_will_be_fetched_are_not_missed(call_run):
    assert call_run("--dry-run", "--download", dataset="mnist").exit_code == 0


def test_a_task_that_failed_is_to_do_only_if_it_would_be_tried_again(call_run, here):
    call_run("--dry-run", dataset="mnist")  # writes the file
    [cell] = planned("mine.yaml", None, []).cells
    Store(here / "storage").fail(cell.task, "no such luck", "", {})
    where = ("--dry-run", "--storage", str(here / "storage"))
    counts = json.loads(call_run(*where, "--json", dataset="mnist").stdout)
    assert (counts["cells"], counts["absent_data"]) == ({"total": 1, "done": 0, "to_do": 0, "failed": 1}, {})
    assert "1 failed and would be skipped; --retry-failed tries them again" in call_run(*where, dataset="mnist").stderr
    counts = json.loads(call_run(*where, "--json", "--retry-failed", dataset="mnist").stdout)
    assert (counts["cells"]["to_do"], list(counts["absent_data"])) == (1, ["mnist"])
