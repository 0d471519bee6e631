import pytest

from autosparse.errors import AutosparseError, CorruptFile, DataError, NonFiniteLoss, UnknownName, nearest_name


@pytest.mark.parametrize(
    ("name", "known", "nearest"),
    [
        ("snp", ["grasp", "snip"], "snip"),
        ("mag", ["grasp", "magnitude", "snip"], "magnitude"),
        ("res", ["lenet-300-100", "resnet18"], "resnet18"),
        ("zzz", ["grasp", "snip"], None),
        ("", ["grasp"], None),
        ("snip", [], None),
    ],
)
def test_nearest_name(name, known, nearest):
    assert nearest_name(name, known) == nearest


def test_unknown_name_offers_the_nearest():
    assert str(UnknownName("criterion", "snp", ["snip", "grasp"])) == "unknown criterion 'snp': did you mean 'snip'?"


def test_unknown_name_without_a_near_one_lists_what_is_known():
    assert str(UnknownName("criterion", "zzz", ["snip", "grasp"])) == "unknown criterion 'zzz': known: grasp, snip"


def test_unknown_name_in_an_empty_registry_says_none():
    assert str(UnknownName("criterion", "x", [])) == "unknown criterion 'x': known: none"


@pytest.mark.parametrize(("error", "code"), [(UnknownName, 2), (DataError, 2), (CorruptFile, 2), (NonFiniteLoss, 1)])
def test_exit_code_tells_bad_requests_from_failed_work(error, code):
    assert issubclass(error, AutosparseError)
    assert error.exit_code == code
