"""A malicious pickle in the place of each kind of file is refused, or passed over, and never loaded."""

import ast
import pickle
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from attack import malicious_pickle
from builders import a_cell
from typer.testing import CliRunner

import autosparse
from autosparse.autos import fit_scorer, load_scorer
from autosparse.cli import app
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.experiment.load import load_experiment
from autosparse.experiment.store import Store
from autosparse.irp import load_survival, save_survival
from autosparse.irp.parquet import KEY
from autosparse.masks import Masks
from autosparse.shards import open_features
from autosparse.storage import Bucket
from autosparse.storage.checkpoints import Checkpoints


@pytest.fixture
def ran(tmp_path):
    """The folder that a pickle makes if it is loaded; it must not be there in the end."""
    target = tmp_path / "it ran"
    yield target
    assert not target.exists()


def test_the_attack_works_where_it_is_loaded(tmp_path):
    pickle.loads(malicious_pickle(tmp_path / "made"))
    assert (tmp_path / "made").is_dir()


@pytest.mark.parametrize("load", [load_survival, open_features])
def test_in_a_survival_folder(survival, tmp_path, ran, load):
    folder = save_survival(survival, tmp_path / "set")
    (folder / "part-00000.parquet").write_bytes(malicious_pickle(ran))
    with pytest.raises(CorruptFile, match="no Parquet file"):
        load(folder)


@pytest.mark.parametrize("load", [load_survival, open_features])
def test_in_the_metadata_and_types_of_a_parquet_file(survival, tmp_path, ran, load):
    """pyarrow before 14.0.1 loaded such a type (CVE-2023-47248)."""
    path = save_survival(survival, tmp_path / "set") / "part-00000.parquet"
    table = pq.read_table(path)
    typed = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": malicious_pickle(ran)}
    schema = pa.schema([table.schema.field(0), table.schema.field(1).with_metadata(typed), *list(table.schema)[2:]])
    pq.write_table(table.cast(schema), path)
    with pytest.raises(CorruptFile):
        load(path.parent)
    pq.write_table(table.replace_schema_metadata({KEY: malicious_pickle(ran)}), path)
    with pytest.raises(CorruptFile, match="damaged metadata"):
        load(path.parent)


@pytest.mark.parametrize("name", ["scorer.json", "scorer.safetensors"])
def test_in_a_scorer_folder(survival, tmp_path, ran, name):
    folder = fit_scorer(survival, backbone="conditional-mean").save(tmp_path / "scorer")
    (folder / name).write_bytes(malicious_pickle(ran))
    with pytest.raises(CorruptFile):
        load_scorer(folder)
    (folder / name).write_bytes(b"\x08" + bytes(7) + malicious_pickle(ran))  # behind a safetensors header's length
    with pytest.raises(CorruptFile):
        load_scorer(folder)


def test_in_a_file_of_masks(tmp_path, ran):
    for content in (malicious_pickle(ran), struct.pack("<Q", 30) + malicious_pickle(ran)):
        (tmp_path / "masks").write_bytes(content)
        with pytest.raises(CorruptFile):
            Masks.load(tmp_path / "masks")
    torch.save({"w": torch.ones(3)}, tmp_path / "masks")
    with pytest.raises(CorruptFile):
        Masks.load(tmp_path / "masks")


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
def test_in_a_checkpoint(tmp_path, ran, suffix):
    checkpoints = Checkpoints(tmp_path / "work", "mine")
    for step in (1, 2):
        checkpoints.save(step, {"x": torch.ones(3)}, {})
    (tmp_path / "work" / f"00000002{suffix}").write_bytes(malicious_pickle(ran))
    assert checkpoints.newest().step == 1


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_in_a_record_and_in_a_failure(tmp_path, ran, kind, s3):
    store = Store(tmp_path / "results" if kind == "folder" else Bucket(s3("evil-records"), local=tmp_path / "cache"))
    cell = a_cell()
    for name in (f"cells/{cell.id}.json", f"failed/{cell.id}.json", "driver.json"):
        store.place.write(name, malicious_pickle(ran))
    assert store.record(cell) is None
    assert store.failure(cell) is None
    with store.one_driver(), pytest.raises(AutosparseError, match="no whole record"):
        store.record_of("cell", cell.id)


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.mkdir ['{}']",
        "!!python/object/new:os.mkdir ['{}']",
        "!!python/name:os.mkdir",
        "!!python/module:os",
        "!!python/object:attack.Attack {{path: '{}'}}",
    ],
)
def test_python_in_an_experiment_file_or_a_change(tmp_path, ran, value):
    text = f"name: evil\ngrid: {value.format(ran)}\n"
    (tmp_path / "evil.yaml").write_text(text)
    with pytest.raises(AutosparseError, match="could not determine a constructor"):
        load_experiment(tmp_path / "evil.yaml")
    (tmp_path / "good.yaml").write_text("name: good\ngrid: {}\n")
    with pytest.raises(AutosparseError, match="could not determine a constructor"):
        load_experiment(tmp_path / "good.yaml", set=[f"grid={value.format(ran)}"])
    if "apply" in value:
        with pytest.raises(yaml.constructor.ConstructorError):
            yaml.unsafe_load(text.replace("os.mkdir", "no.such"))


def test_in_what_the_commands_are_given(tmp_path, ran):
    evil = tmp_path / "evil"
    evil.mkdir()
    for name in ("scorer.json", "scorer.safetensors", "part-00000.parquet"):
        (evil / name).write_bytes(malicious_pickle(ran))
    for arguments in (
        ["fit", str(evil), "--out", str(tmp_path / "out"), "--storage", str(tmp_path / "results")],
        ["prune", "--scorer", str(evil), "--sparsity", "0.9", "--out", str(tmp_path / "masks")],
        ["run", str(evil / "scorer.json")],
    ):
        answer = CliRunner().invoke(app, arguments)
        assert isinstance(answer.exception, AutosparseError), answer.output


LOADERS = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}


def test_nothing_in_the_package_can_load_a_pickle_but_the_reader_of_cifar_that_refuses_names():
    found = set()
    for path in Path(autosparse.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [name.name for name in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            bad = called in ("eval", "exec", "torch.load", "np.load", "numpy.load", "yaml.load", "yaml.unsafe_load")
            if bad or LOADERS.intersection(name.partition(".")[0] for name in names):
                found.add(path.name)
    assert found == {"cifar_pickle.py"}
