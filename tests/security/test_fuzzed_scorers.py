"""Whatever is in a scorer's folder, it is loaded or refused."""

import contextlib
import hashlib
import struct

import pytest
import torch
from fuzzing import DAMAGE, JSON, damage, few, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save as to_safetensors

from autosparse.autos import fit_scorer, load_scorer
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import read_record, write_record

pytestmark = pytest.mark.usefixtures("little_memory")


@pytest.fixture
def scorer_folder(survival, tmp_path):
    return fit_scorer(survival, backbone="conditional-mean").save(tmp_path / "scorer")


@few
@given(st.sampled_from(["scorer.json", "scorer.safetensors"]), *DAMAGE)
def test_a_damaged_scorer(scorer_folder, name, at, bits, cut):
    whole = (scorer_folder / name).read_bytes()
    try:
        (scorer_folder / name).write_bytes(damage(whole, at, bits, cut))
        refused_or_fine(load_scorer, scorer_folder)
    finally:
        (scorer_folder / name).write_bytes(whole)


KEYS = ("backbone", "inputs", "standardisation", "report", "provenance", "weights_sha256")


@few
@given(st.sampled_from(KEYS), JSON | st.sampled_from(["mlp", ["param"], {"mean": [0], "std": [0]}, {"mean": "ab"}]))
def test_a_scorer_that_says_something_else_with_a_right_checksum(scorer_folder, key, value):
    whole = read_record(scorer_folder / "scorer.json")
    try:
        with contextlib.suppress(ValueError):  # NaN is no value of a record
            write_record(scorer_folder / "scorer.json", {**whole, key: value})
        with contextlib.suppress(AutosparseError):
            loaded = load_scorer(scorer_folder)
            loaded.predict({name: torch.ones(100) for name in loaded.inputs})
            list(loaded.warnings)
    finally:
        write_record(scorer_folder / "scorer.json", whole)


@pytest.mark.parametrize("length", [0, 2**63, 2**64 - 1, 10**9])
def test_weights_whose_header_claims_any_length(scorer_folder, length):
    content = struct.pack("<Q", length) + b"{}" + to_safetensors({"x": torch.ones(3)})
    (scorer_folder / "scorer.safetensors").write_bytes(content)
    whole = read_record(scorer_folder / "scorer.json")
    write_record(scorer_folder / "scorer.json", {**whole, "weights_sha256": hashlib.sha256(content).hexdigest()})
    with pytest.raises(CorruptFile):
        load_scorer(scorer_folder)
