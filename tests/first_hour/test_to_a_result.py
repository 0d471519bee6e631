"""The way from an empty folder to a result with the wheel alone: own model, data and criterion; run, query, report."""

import csv
import io
import json
import shutil

import pytest
from newcomer import FILE

NARROW = "my_model:tiny(width=8)"
METHODS = {"dense", "smallest", "magnitude", "snip", "autos"}
RESULTS = f"""
import autosparse as asp

cells = asp.results({FILE!r})
assert "unpacked" in asp.__file__, asp.__file__
print(cells.to_csv(index=False))
"""
BUSY = "this machine is very busy: try again"

pytestmark = pytest.mark.timeout(1200)  # Ray starts and ends, maybe beside other tests


@pytest.fixture(scope="module")
def own_folder(begun, tmp_path_factory):
    """The newcomer's folder, to run in."""
    return shutil.copytree(begun, tmp_path_factory.mktemp("to a result") / "here")


@pytest.fixture(scope="module")
def answer_of_run(installed, own_folder):
    """What ``autosparse run`` answers; it is run again, at most twice, while it says that the machine is very busy."""
    for _ in range(3):
        answer = installed(own_folder, "run", FILE, "--data-root", ".", "--workers", "1")
        if BUSY not in answer.stderr:
            break
    assert answer.returncode == 0, answer.stderr
    return answer


@pytest.fixture(scope="module")
def asked_after(answer_of_run, in_forks, own_folder):
    """What three commands answer when all is done: the same one again, the best methods, and the report."""
    again = ("run", FILE, "--data-root", ".", "--dry-run", "--json")
    best, report = ("best", "--experiment", FILE, "--json"), ("report", "mine")
    answers = in_forks(*((own_folder, arguments) for arguments in (again, best, report)))
    assert [answer.returncode for answer in answers] == [0, 0, 0], answers
    return answers


def test_before_the_run_its_plan_names_the_code_that_it_would_import(installed, begun):
    answer = installed(begun, "run", FILE, "--dry-run")
    assert answer.returncode == 0, answer.stderr
    assert "not imported: my_data, my_method, my_model:tiny; a run would import and execute this code" in answer.stderr
    assert not (begun / "results").exists()


def test_the_run_tries_the_newcomers_code_and_then_does_it_all(answer_of_run):
    assert f"trying criterion 'smallest' on one batch of mine with {NARROW}" in answer_of_run.stderr
    assert all(f"{name} on mine: test accuracy in %" in answer_of_run.stdout for name in ("my_model:tiny", NARROW))
    assert "scorers in" in answer_of_run.stderr


def test_the_same_command_finds_everything_done(asked_after):
    assert json.loads(asked_after[0].stdout)["cells"] == {"total": 20, "done": 20, "to_do": 0}


def test_the_best_method_is_told_for_each_width(asked_after):
    rows = json.loads(asked_after[1].stdout)
    assert {(row["model"], row["method"]) for row in rows} == {
        (model, method) for model in ("my_model:tiny", NARROW) for method in METHODS
    }


def test_python_has_the_cells_as_a_table(answer_of_run, installed, own_folder):
    answer = installed(own_folder, python=RESULTS)
    assert answer.returncode == 0, answer.stderr
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert len(rows) == 20
    assert {row["dataset"] for row in rows} == {"mine"}
    assert all(0 <= float(row["test_accuracy"]) <= 100 for row in rows)


def test_the_report_shows_both_networks(asked_after, own_folder):
    page = (own_folder / "report" / "index.html").read_text()
    assert f"{NARROW} on mine" in page
    assert "my_model:tiny on mine" in page


@pytest.mark.slow
def test_the_scorer_has_a_card(answer_of_run, installed, own_folder):
    (scorer,) = own_folder.glob("results/scorers/*/scorer")
    answer = installed(own_folder, "card", str(scorer.relative_to(own_folder)))
    assert answer.returncode == 0, answer.stderr
    assert "my_model:tiny" in answer.stdout
    assert NARROW in answer.stdout
