"""The mistakes of a first hour, one in each place: each is told in a line, with the file and the key or the line."""

import re
import shutil

import pytest
from newcomer import FILE, change

RUN = ("run", FILE, "--data-root", ".")

IN_CODE = {
    "the model's outputs have a wrong shape": (
        {"my_model.py": {"nn.Linear(width, num_classes)": "nn.Linear(width, 7)"}},
        r"model 'my_model:tiny' \(my_model\.py:4\) gives \(2, 7\) for a batch of 2 inputs of shape \(1, 4, 4\) and 3 "
        r"classes, not \(2, 3\)",
    ),
    "the model does not take the images": (
        {"my_model.py": {"math.prod(input_shape)": "784"}},
        r"model 'my_model:tiny' \(my_model\.py:4\) does not take inputs of shape \(1, 4, 4\) and 3 classes: "
        r"RuntimeError: .*mat1 and mat2 shapes cannot be multiplied.*",
    ),
    "the model has no forward": (
        {"my_model.py": {"return nn.Sequential(\n": "return nn.Module()\n    nn.Sequential(\n"}},
        r"model 'my_model:tiny' \(my_model\.py:4\) does not take .*: Module \[Module\] is missing the required "
        r'"forward" function',
    ),
    "an argument of the model has a wrong type": (
        {FILE: {"width: 8": "width: wide"}},
        r"""model 'my_model:tiny\(width="wide"\)' \(my_model\.py:4\) does not take .*: TypeError: .* """
        r"at my_model\.py:6",
    ),
    "the criterion returns scores of no weight": (
        {"my_method.py": {"{name: -": "{name.removesuffix('.weight'): -"}},
        r"criterion 'smallest' \(my_method\.py:4\) returned scores of '1', which is not a prunable .*1\.weight.*",
    ),
    "the criterion returns nothing": (
        {"my_method.py": {"    return {": "    scores = {"}},
        r"criterion 'smallest' \(my_method\.py:4\) returned None, not a dictionary \{weight name: tensor.*",
    ),
    "the data set has labels outside its classes": (
        {
            "my_data.py": {
                ".long())": ".long() + 1)",
                'make_dataset("mine", train, test)': 'make_dataset("mine", train, test, 3)',
            }
        },
        r"dataset 'mine' \(my_data\.py:6\) has labels from 1 to 3, but 3 classes, which are 0 to 2",
    ),
    "the data set cannot be read": (
        {"my_data.py": {'"mine.npz"': '"my.npz"'}},
        r"dataset 'mine' cannot be loaded: FileNotFoundError: .*my\.npz.* at my_data\.py:9; --debug shows "
        r"the traceback",
    ),
    "a plugin's name is misspelt": (
        {FILE: {"[my_data, my_method]": "[my_data, my_methods]"}},
        r"mine\.yaml: plugin 'my_methods' cannot be imported: ModuleNotFoundError: No module named 'my_methods'; is it "
        r"beside the experiment file, installed, or its folder on PYTHONPATH\?",
    ),
}
"""What is changed in which file, and the message."""
IN_FILE = {
    FILE: {
        "batch_size: 64": "batchsize: 64",
        "final_density: 0.02": "final_density: 2",
        "width: 8}": "widht: 8}",
        "- smallest": "- smalest",
        "sparsities: [0.5]": "sparsities: [0.5, 95]",
    }
}
IN_FILE_TOLD = [
    r"irp\.snip\.recipe\.batchsize: unknown key; did you mean 'batch_size'\?",
    r"irp\.snip\.final_density: input should be less than or equal to 1, got 2: 0\.02\?",
    r"grid\[0\]\.models\[1\]: model 'my_model:tiny' \(my_model\.py:4\) has no argument 'widht'; it takes width",
    r"grid\[0\]\.methods\[1\]\.criterion: unknown criterion 'smalest': did you mean 'smallest'\?",
    r"grid\[0\]\.sparsities\[1\]: input should be less than 1, got 95: 0\.95\?",
    r"grid\[0\]\.recipe\.batchsize: unknown key; did you mean 'batch_size'\?",
]
"""Mistakes in the experiment file, which are told all at once."""

pytestmark = pytest.mark.timeout(1200)  # a dozen processes, maybe beside other tests


def mistaken(begun, place, changes, empty_store):
    """A copy of the newcomer's folder with a mistake."""
    folder = shutil.copytree(begun, place)
    for name, texts in changes.items():
        change(folder / name, texts)
    empty_store(folder)
    return folder


@pytest.fixture(scope="module")
def told(begun, in_forks, tmp_path_factory, empty_store):
    """What ``autosparse run`` says of each mistake: its exit status, and its lines on either stream."""
    top, cases = tmp_path_factory.mktemp("mistakes"), {**{n: c for n, (c, _) in IN_CODE.items()}, "file": IN_FILE}
    folders = [mistaken(begun, top / name.replace(" ", "-"), changes, empty_store) for name, changes in cases.items()]
    answers = zip(cases, in_forks(*((folder, RUN) for folder in folders)), strict=True)
    return {name: (answer.returncode, (answer.stdout + answer.stderr).splitlines()) for name, answer in answers}


@pytest.mark.parametrize("mistake", IN_CODE)
def test_a_mistake_in_the_code_is_told_in_a_line_before_ray_starts(told, mistake):
    status, lines = told[mistake]
    errors = [line for line in lines if not line.startswith("- ")]
    assert status == 2
    assert len(errors) == 1, errors
    assert re.fullmatch(f"error: {IN_CODE[mistake][1]}", errors[0]), errors[0]
    assert "- starting Ray" not in lines


def test_mistakes_in_the_experiment_file_are_told_all_at_once_with_their_keys(told):
    status, lines = told["file"]
    assert status == 2
    assert len(lines) == len(IN_FILE_TOLD), lines
    for expected in IN_FILE_TOLD:
        assert any(re.fullmatch(rf"error: mine\.yaml: {expected}", line) for line in lines), (expected, lines)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", IN_CODE)
def test_the_command_itself_says_the_same_and_shows_the_traceback_on_demand(
    begun, installed, tmp_path, empty_store, mistake
):
    changes, expected = IN_CODE[mistake]
    folder = mistaken(begun, tmp_path / "here", changes, empty_store)
    answer = installed(folder, *RUN, "--debug")
    assert answer.returncode == 2
    assert "Traceback (most recent call last)" in answer.stderr
    assert re.fullmatch(f"error: {expected}", answer.stderr.splitlines()[-1])
    assert answer.stdout == ""
