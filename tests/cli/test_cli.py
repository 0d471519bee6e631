"""The command line as people use it: output, exit codes, one clear line for each mistake."""

import contextlib
import io
import json
import sys

import pytest
import yaml

from autosparse.cli import main

pytestmark = [pytest.mark.usefixtures("ray_running"), pytest.mark.timeout(900)]

EXPERIMENT = """
name: tiny
irp:
  snip: {model: lenet-300-100, dataset: digits, iterations: 2, seeds: [50], recipe: &recipe {epochs: 2, batch_size: 64}}
scorers:
  mine: {irp: snip, epochs: 2}
grid:
  models: [lenet-300-100]
  datasets: [digits]
  methods: [dense, magnitude, {criterion: autos, scorer: mine}]
  sparsities: [0.9]
  seeds: [0, 1]
  recipe: *recipe
"""


@pytest.fixture(scope="module")
def work_folder(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture
def cli(work_folder, monkeypatch, capsys):
    """Call ``autosparse ...`` in the work folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(work_folder)
    monkeypatch.setenv("COLUMNS", "160")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["autosparse", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return ended.value.code or 0, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def demo(work_folder, ray_running):
    """What the demo tells on stdout and stderr: the same file with fewer rounds, seeds and sparsities, run once."""
    from autosparse.experiment import files

    content = yaml.safe_load(files.DEMO.read_text())
    content["irp"]["snip"] |= {"iterations": 2, "recipe": {"epochs": 2}}
    content["grid"] |= {"sparsities": [0.9], "seeds": [0, 1], "recipe": {"epochs": 2}}
    (work_folder / "demo.yaml").write_text(yaml.safe_dump(content))
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as ended,
    ):
        patch.chdir(work_folder)
        patch.setattr(files, "DEMO", work_folder / "demo.yaml")
        patch.setattr(sys, "argv", ["autosparse", "demo"])
        main()
    assert ended.value.code in (0, None)
    return out.getvalue(), err.getvalue()


def test_the_demo_tells_what_it_does_and_what_to_try_next_and_leaves_a_report(demo, work_folder):
    out, err = demo
    for told in ("iterative rewind pruning: 2 runs", "fitting scorers: 2 fits", "training the grid: 16 cells"):
        assert told in err
    for command in (
        "mlflow ui --backend-store-uri",
        "autosparse best --experiment demo",
        "autosparse run lenet-mnist",
    ):
        assert command in out
    page = (work_folder / "report" / "index.html").read_text()
    assert all(method in page for method in ("random", "magnitude", "snip", "grasp", "autos"))


def test_dry_run_counts_what_is_done_and_writes_nothing(cli, tmp_path, monkeypatch):
    (tmp_path / "tiny.yaml").write_text(EXPERIMENT)
    code, out, _ = cli("run", tmp_path / "tiny.yaml", "--dry-run", "--json", "--storage", tmp_path / "nothing")
    assert code == 0
    assert json.loads(out)["cells"] == {"total": 6, "done": 0, "to_do": 6}
    assert not (tmp_path / "nothing").exists()


def test_what_is_finished_is_found_by_the_same_command_in_words_and_in_json(cli, demo):
    code, out, err = cli("run", "demo.yaml")
    assert code == 0
    assert "0 done, 20 found finished" in err
    assert "starting Ray" not in err
    code, out, _ = cli("run", "demo.yaml", "--json")
    assert code == 0
    assert json.loads(out) == {"experiment": "demo", "found": 20, "done": 0, "failed": []}


def test_best_prints_only_json_on_stdout(cli, demo):
    code, out, _ = cli("best", "--experiment", "demo", "--sparsity", "0.9", "--json")
    rows = json.loads(out)
    assert code == 0
    assert {"random", "magnitude", "snip", "autos"} <= {row["method"] for row in rows}
    assert all(row["n"] == 2 for row in rows)
    assert rows == sorted(rows, key=lambda row: -row["mean"])


def test_report_writes_the_page_and_prints_its_path(cli, demo, work_folder):
    code, out, _ = cli("report", "demo")
    assert code == 0
    assert out.strip() == "report/index.html"
    assert "autos" in (work_folder / "report" / "index.html").read_text()


def test_irp_then_fit_then_score(cli, work_folder):
    code, out, _ = cli(
        "irp", "--iterations", 3, "--final-density", 0.1, "--schedule", "linear", "--epochs", 1, "--seeds", "0,1",
        "--out", "irp", "--json",
    )  # fmt: skip
    rows = json.loads(out)
    assert code == 0
    assert [row["folder"] for row in rows] == ["irp/seed-0", "irp/seed-1"]
    assert all(row["kept"] == row["total"] - round(row["total"] * 0.9) for row in rows)

    code, out, _ = cli("fit", "irp", "--inputs", "param", "--epochs", 1, "--out", "scorer", "--json")
    assert code == 0
    assert json.loads(out)["folder"] == "scorer"

    code, out, _ = cli("fit", "irp", "--backbone", "conditional-mean", "--out", "smooth", "--json")
    assert code == 0
    assert json.loads(out)["held_out_r2"] > 0

    rounds = "--backbone", "linear", "--inputs", "context", "--rounds", 2, "--examples", 100, "--refine", 0
    code, out, _ = cli("fit", "irp", *rounds, "--out", "rounds", "--json")
    assert code == 0
    assert json.loads(out)["layer_density_at_95"]
    code, out, _ = cli("prune", "--scorer", "rounds", "--sparsity", 0.9, "--out", "masks.safetensors", "--json")
    assert code == 0
    assert json.loads(out)["kept"] == 5020
    code, _, err = cli("score", "--scorer", "rounds", "--out", "scores")
    assert code == 2
    assert "make masks with `autosparse prune --scorer`" in err

    code, out, _ = cli("score", "--scorer", "scorer", "--out", "scores", "--json")
    assert code == 0
    assert json.loads(out)["rows"] == 50200
    import pyarrow.parquet as pq

    assert pq.read_schema(work_folder / "scores" / "scores.parquet").names == ["layer", "position", "score"]

    code, out, _ = cli(
        "score", "--scorer", "smooth", "--features", "irp/seed-0", "--sparsity", 0.9, "--out", "streamed", "--json"
    )
    assert code == 0
    assert json.loads(out)["kept"] == 5020
    from autosparse.masks import Masks

    assert Masks.load(work_folder / "streamed" / "masks.safetensors").kept == 5020


@pytest.mark.parametrize("what", ["models", "datasets", "criteria", "features", "experiments"])
def test_listings_are_json_on_demand(cli, what):
    code, out, _ = cli("list", what, "--json")
    assert code == 0
    assert len(json.loads(out)) > 0
    assert cli("list", what)[0] == 0


def test_criteria_are_listed_with_what_they_need_and_where_they_are_from(cli):
    rows = {row["name"]: row for row in json.loads(cli("list", "criteria", "--json")[1])}
    assert rows["grasp"]["needs"] == ["data", "gradients", "hessian-vector products"]
    assert "2002.07376" in rows["grasp"]["paper"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["run", "none.yaml"], 2, "no experiment file none.yaml"),
        (["irp", "--model", "lenet", "--out", "x"], 2, "did you mean 'lenet-300-100'"),
        (["irp", "--criterion", "snap", "--out", "x"], 2, "did you mean 'snip'"),
        (["irp", "--dataset", "mnist", "--data-root", "nowhere", "--out", "x"], 2, "MNIST is not under nowhere"),
        (["irp", "--iterations", "2", "--epochs", "1", "--out", "file/x"], 2, "cannot write file/x"),
        (["irp", "--iterations", "2", "--epochs", "1", "--lr", "1e30", "--out", "x"], 1, "lower the learning rate"),
        (["irp", "--final-density", "2", "--out", "x"], 2, "final_density"),
        (["irp", "--seeds", "a", "--out", "x"], 2, "--seeds"),
        (["fit", "nowhere", "--out", "x"], 2, "no survival dataset in nowhere"),
        (["fit", "x", "--backbone", "conditional-mean", "--lr", "1", "--out", "x"], 2, "leave out lr"),
        (["score", "--scorer", "nowhere", "--out", "x"], 2, "no scorer in nowhere"),
        (["score", "--scorer", "nowhere", "--sparsity", "0.9", "--out", "x"], 2, "--sparsity goes with --features"),
        (["score", "--scorer", "corrupt", "--out", "x"], 2, "corrupt/scorer.json"),
        (["best", "--experiment", "absent"], 2, "no experiment 'absent'"),
        (
            ["best", "--experiment", "x", "--tracking-uri", "sqlite:///none.db"],
            2,
            "no MLflow store at sqlite:///none.db",
        ),
        (["fit", "irp", "--experiment", "../up", "--out", "x"], 2, "--experiment"),
        (["run", "tiny.yaml", "--storage", "file"], 2, "file"),
        (["irp", "--gpus-per-job", "1", "--epochs", "1", "--out", "x"], 2, "--gpus-per-job"),
        (["run", "tiny.yaml", "--precision", "bfloat"], 2, "unknown precision 'bfloat': did you mean 'bfloat16'?"),
        (["sweep", "tiny.yaml", "--precision", "bfloat"], 2, "unknown precision 'bfloat': did you mean 'bfloat16'?"),
        (["report", "absent"], 2, "no experiment 'absent'"),
        (["best"], 2, "--experiment"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_a_mistake_ends_in_one_clear_line_and_its_exit_code(cli, demo, work_folder, arguments, code, said):
    (work_folder / "tiny.yaml").write_text(EXPERIMENT)
    (work_folder / "file").write_text("a file where a folder is needed")
    (work_folder / "corrupt").mkdir(exist_ok=True)
    (work_folder / "corrupt" / "scorer.json").write_text('{"half": ')
    ended, out, err = cli(*arguments)
    assert ended == code
    assert said in err
    assert "Traceback" not in out + err
    assert not (work_folder / "x").exists() or not list((work_folder / "x").iterdir())


def test_debug_shows_the_traceback_before_the_line_and_keeps_the_exit_code(cli):
    code, out, err = cli("run", "none.yaml", "--debug")
    assert (code, out) == (2, "")
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: no experiment file none.yaml")


def test_doctor_finds_everything_a_run_needs(cli):
    code, out, _ = cli("doctor", "--json")
    findings = {row["check"]: row for row in json.loads(out)}
    assert code == 0
    assert findings["ray"]["ok"]
    assert findings["digits"]["ok"]
    assert findings["torchvision"]["ok"]
