"""Whatever an experiment file holds, it is read or refused."""

import json

import pytest
from builders import a_grid
from fuzzing import JSON, few, refused_or_fine
from hypothesis import given
from hypothesis import strategies as st

from autosparse.errors import AutosparseError
from autosparse.experiment.load import load_experiment, parse_loaded
from autosparse.experiment.strict_yaml import parse_yaml

pytestmark = pytest.mark.usefixtures("little_memory")

KEYS_OF_FILES = "name: grid: irp: scorers: sweeps: presets: set: drop: methods: seeds:"
SYNTAX = "[ ] { } , - : ? | > & a *a << ! ' \" # % @ ` ---"
TAGS = "!!int !!float !!timestamp !!bool !!binary !!set !!omap !!pairs !!null !!python/name:os !!"
VALUES = r'digits snip x 2001-99-99 0x_ 0b_ 0o_ 1:99:99 .nan .inf 1e999 ~ "\ud800"'
SPACES = ["\t", "\n", "\n- ", "\n  ", "\u2028", "\ufeff"]
TOKENS = [*f"{KEYS_OF_FILES} {SYNTAX} {TAGS} {VALUES}".split(), *SPACES]


@few
@given(st.lists(st.sampled_from(TOKENS), max_size=30).map(" ".join) | st.text(max_size=60))
def test_text_as_yaml(text):
    refused_or_fine(parse_yaml, text, "fuzz")


@few
@given(st.binary(max_size=60) | st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join).map(str.encode))
def test_bytes_as_an_experiment_file(tmp_path, content):
    (tmp_path / "fuzz.yaml").write_bytes(content)
    refused_or_fine(load_experiment, tmp_path / "fuzz.yaml")


GRID = a_grid()
WHOLE = {
    "name": "x",
    "irp": {"i": {"model": "lenet-300-100", "dataset": "digits"}},
    "scorers": {"s": {"irp": "i"}},
    "grid": [GRID],
    "presets": {"small": {"set": {"grid.*.seeds": [0]}, "drop": []}},
}
PLACES = [("name",), ("irp",), ("irp", "i"), ("irp", "i", "recipe"), ("irp", "i", "seeds"), ("scorers",)]
PLACES += [("scorers", "s"), ("scorers", "s", "irp"), ("grid",), ("grid", 0), ("concordance",), ("sweeps",), ("notes",)]
PLACES += [("grid", 0, name) for name in (*GRID, "recipe", "published", "score_examples")]
PLACES += [("presets",), ("presets", "small"), ("presets", "small", "set"), ("presets", "small", "drop")]


@few
@given(st.sampled_from(PLACES), JSON, st.sampled_from([None, "small", "paper", "x"]))
def test_any_value_in_any_place_of_an_experiment(place, value, preset):
    content = json.loads(json.dumps(WHOLE))
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    refused_or_fine(parse_loaded, content, "fuzz", preset)


@pytest.mark.parametrize(
    "bomb",
    [
        "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)),
        "a0: &a0 {k: x}\n" + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 40)),
        "a: &a [*a]",
        "a: &a {b: *a}",
        "[" * 5000,
        "{a: " * 5000,
        "- " * 5000,
        "a: 0x" + "f" * 200_000,
        "a: " + "1" * 200_000 + "x",
        "a: " + "1" * 200_000,
        "a: " + ":".join(["59"] * 40_000),
        "a: [" + "x," * 60_000 + "]",
        "x" * 300_000,
    ],
    ids=[
        "laughs",
        "merges",
        "circle",
        "circle of maps",
        "lists",
        "maps",
        "items",
        "hex",
        "no number",
        "digits",
        "base 60",
        "long",
        "big",
    ],
)
@pytest.mark.timeout(60)
def test_a_bomb_of_yaml(tmp_path, bomb):
    (tmp_path / "bomb.yaml").write_text(bomb)
    with pytest.raises(AutosparseError):
        load_experiment(tmp_path / "bomb.yaml")


def test_a_bomb_of_presets():
    many = {f"k{i}": 0 for i in range(100)}
    stars = {"irp" + ".*" * depth: many for depth in range(1, 6)}
    with pytest.raises(AutosparseError, match="sets more than 50,000 values"):
        parse_loaded({**WHOLE, "presets": {"small": {"set": stars}}}, "bomb", "small")
    thin = {"set": {f"grid.*.b{i}": 0 for i in range(200)}}
    with pytest.raises(AutosparseError, match="small sets more than 50,000 values"):
        parse_loaded({**WHOLE, "grid": [GRID] * 1000, "presets": {"small": thin}}, "bomb", "small")
