"""States of long work: the newest comes back to the bit, or the one before if the newest is damaged."""

import errno

import pytest
import torch

from autosparse.errors import Unreachable
from autosparse.storage.checkpoints import Checkpoints


@pytest.fixture
def three(tmp_path):
    checkpoints = Checkpoints(tmp_path / "work", "mine")
    for step in (1, 2, 11):
        checkpoints.save(step, {"x": torch.full((3,), step / 3), "n": torch.tensor(step)}, {"lr": 0.1 / step})
    return checkpoints


def test_the_newest_comes_back_to_the_bit(three):
    found = three.newest()
    assert (found.step, found.content) == (11, {"lr": 0.1 / 11})
    assert torch.equal(found.tensors["x"], torch.full((3,), 11 / 3))
    assert found.tensors["n"].item() == 11


def test_only_two_generations_are_kept(three):
    assert len(list(three.place.path.iterdir())) == 4


@pytest.mark.parametrize("suffix", [".json", ".safetensors"])
@pytest.mark.parametrize("damage", ["truncate", "flip", "remove"])
def test_a_damaged_one_is_passed_over_for_the_one_before(three, suffix, damage):
    path = three.place.path / f"00000011{suffix}"
    content = path.read_bytes()
    if damage == "remove":
        path.unlink()
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(content[:middle] if damage == "truncate" else flipped)
    assert three.newest().step == 2


def test_a_flipped_bit_in_any_byte_of_the_tensors_file_is_noticed(three):
    path = three.place.path / "00000011.safetensors"
    content = path.read_bytes()
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        assert three.newest().step == 2, f"byte {position} of {len(content)}"


def test_nothing_is_found_where_nothing_was_saved(tmp_path):
    assert Checkpoints(tmp_path / "absent", "mine").newest() is None


def test_what_another_work_has_left_here_is_not_gone_on_with(three):
    assert Checkpoints(three.place, "another").newest() is None


def test_one_that_cannot_be_read_is_passed_over_for_the_one_before(three):
    path = three.place.path / "00000011.safetensors"
    path.unlink()
    path.mkdir()
    assert three.newest().step == 2
    three.save(3, {"x": torch.ones(3)}, {})
    assert three.newest().step == 3


def test_a_store_that_does_not_answer_is_not_taken_for_an_empty_one(three, monkeypatch):
    def away(name):
        raise Unreachable("s3://bucket does not answer")

    monkeypatch.setattr(three.place, "read", away)
    with pytest.raises(Unreachable):
        three.newest()


@pytest.mark.parametrize("asked", ["read", "names"])
def test_a_disk_that_fails_for_a_moment_is_not_taken_for_an_empty_one(three, monkeypatch, asked):
    def fail(*given):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(three.place, asked, fail)
        with pytest.raises(Unreachable, match=r"cannot read .*/work.*: Input/output error; .* run again"):
            three.newest()
    assert three.newest().step == 11


def test_cleared_work_leaves_no_folder(three):
    three.clear()
    assert not three.place.path.exists()


def test_work_that_begins_anew_beside_later_states_goes_on_from_its_own(three):
    for path in three.place.path.iterdir():
        path.write_bytes(path.read_bytes()[:10])
    assert three.newest() is None
    three.save(1, {"x": torch.ones(3)}, {})
    assert three.newest().step == 1
    assert len(list(three.place.path.iterdir())) == 2


def test_the_state_of_a_step_that_is_saved_again_is_there_until_the_new_one_is(three, monkeypatch):
    def killed(name, data):
        raise KeyboardInterrupt

    monkeypatch.setattr(three.place, "write", killed)
    with pytest.raises(KeyboardInterrupt):
        three.save(11, {"x": torch.zeros(3)}, {})
    assert three.newest().step == 11


@pytest.mark.parametrize("name", ["x1.json", "v2.safetensors", ".00000012.json.ab12.tmp"])
def test_a_file_that_is_no_state_is_left_alone_and_counts_for_none(three, name):
    (three.place.path / name).write_text("somebody's")
    three.save(12, {"x": torch.ones(3)}, {})
    assert (three.place.path / name).read_text() == "somebody's"
    assert len(list(three.place.path.iterdir())) == 5
    assert three.newest().step == 12


def test_half_a_checkpoint_of_a_process_that_was_killed_does_not_count_as_a_generation(three):
    three.place.write("00000012.safetensors", b"half")
    three.save(13, {}, {})
    assert sorted(path.name for path in three.place.path.glob("*.json")) == ["00000011.json", "00000013.json"]
    assert not (three.place.path / "00000012.safetensors").exists()
