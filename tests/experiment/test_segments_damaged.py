"""Damaged segments and killed gatherings: what is whole stays, and nothing is lost, doubled or brought back."""

import json
import logging

import pytest
from builders import Killed
from hypothesis import given, settings
from hypothesis import strategies as st

from autosparse.errors import AutosparseError, Unreachable
from autosparse.experiment import gathering
from autosparse.experiment.gathering import gather, loosen
from autosparse.experiment.segments import Segments
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import set_aside
from autosparse.storage import Folder
from tests.experiment.gathered import ALL, CELLS, IDS, accuracies, files, loosen_and_die, mortal


def only_segment(store):
    [name] = store.place.within("segments").names()
    return store.root / "segments" / name


def flipped(data, at):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def lines_of(path):
    """The place of each line's cell in the list, in the order of the file."""
    ids = [line.split(b"\t")[1].decode() for line in path.read_bytes().splitlines()[1:]]
    return [[cell.id for cell in CELLS].index(task_id) for task_id in ids]


def warned(caplog):
    return [record.getMessage() for record in caplog.records if "damaged" in record.getMessage()]


def test_a_torn_segment_loses_only_what_is_torn_off_and_one_line_names_it(store_of_ten, caplog):
    gather(store_of_ten)
    path = only_segment(store_of_ten)
    *left, _ = lines_of(path)
    path.write_bytes(path.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        assert Store(store_of_ten.root).finished(CELLS) == {CELLS[place].id for place in left}
    [line] = warned(caplog)
    assert f"{path} is damaged: 9 of 10 records are whole, and cells without one are done again" in line
    assert accuracies(store_of_ten) == {place: place for place in sorted(left)}


@pytest.mark.parametrize("part", ["checksum", "id", "head", "record"])
def test_a_flipped_bit_loses_one_record_and_gathering_mends_the_rest(store_of_ten, caplog, part):
    gather(store_of_ten)
    path = only_segment(store_of_ten)
    first, second, *_ = path.read_bytes().split(b"\n")
    parts = second.split(b"\t", 3)
    at = len(first) + 1 + {"checksum": 3, "id": 68, "head": 90, "record": len(second) - len(parts[3]) + 30}[part]
    hit, *left = lines_of(path)
    path.write_bytes(flipped(path.read_bytes(), at))
    assert accuracies(store_of_ten) == {place: place for place in sorted(left)}
    again = Store(store_of_ten.root)
    again.finish(CELLS[hit], {"test_accuracy": 99}, {})
    assert accuracies(store_of_ten) == ALL | {hit: 99}
    assert gather(again).mended == 1
    caplog.clear()
    assert accuracies(store_of_ten) == ALL | {hit: 99}
    assert not warned(caplog)
    assert not path.exists()


@pytest.mark.parametrize("damage", ["count", "end cut off", "bytes behind"])
def test_a_segment_that_is_damaged_outside_its_records_loses_none_when_it_is_mended(store_of_ten, damage, caplog):
    gather(store_of_ten)
    path = only_segment(store_of_ten)
    data = path.read_bytes()
    path.write_bytes({"count": flipped(data, 12), "end cut off": data[:-1], "bytes behind": data + b"x"}[damage])
    assert gather(Store(store_of_ten.root)).mended == 1
    caplog.clear()
    assert accuracies(store_of_ten) == ALL
    assert not warned(caplog)
    assert path.read_bytes() == data


def test_what_is_mended_is_not_mended_again(store_of_ten):
    gather(store_of_ten)
    path = only_segment(store_of_ten)
    path.write_bytes(path.read_bytes() + b"x")
    store = Store(store_of_ten.root)
    assert [gather(store).mended, gather(store).mended] == [1, 0]
    assert accuracies(store) == ALL


@pytest.mark.parametrize("after", range(4))
def test_segments_that_hold_none_of_the_wanted_records_stay_though_others_are_doubled(store_of_ten, monkeypatch, after):
    monkeypatch.setattr(gathering, "RECORDS", 4)
    monkeypatch.setattr(gathering, "AT_ONCE", 2)
    gather(store_of_ten)
    loosen_and_die(Store(store_of_ten.root), [CELLS[0].id], after)
    fresh = Store(store_of_ten.root)
    for cell in CELLS[1:3]:
        loosen(fresh, [cell.id])
    assert accuracies(store_of_ten) == ALL
    loosen(Store(store_of_ten.root))
    assert len(files(store_of_ten, "cells")) == 10


def test_a_look_that_is_cut_off_takes_nothing_for_doubled_and_hides_nothing(store_of_ten, monkeypatch):
    monkeypatch.setattr(gathering, "RECORDS", 4)
    monkeypatch.setattr(gathering, "AT_ONCE", 2)
    gather(store_of_ten)
    store = Store(store_of_ten.root)

    def look_until(count):
        with monkeypatch.context() as patch:
            read, left = Segments._read_in, iter(range(count))

            def read_in(self, name):
                if next(left, None) is None:
                    raise Unreachable("the store is away")
                read(self, name)

            patch.setattr(Segments, "_read_in", read_in)
            with pytest.raises(Unreachable):
                store.segments.look()

    look_until(1)
    assert store.segments.look().keys() == IDS
    assert not store.segments.doubled
    loosen_and_die(Store(store_of_ten.root), [CELLS[0].id], after=2)
    assert store.segments.look().keys() == IDS
    assert store.segments.doubled
    path = store_of_ten.root / "segments" / store.segments.names[0]
    path.write_bytes(path.read_bytes() + b"x")
    look_until(1)
    assert store.segments.known().keys() == IDS


def test_an_empty_segment_and_one_of_other_content_are_no_records(store_of_ten, caplog):
    gather(store_of_ten)
    only_segment(store_of_ten).write_bytes(b"")
    (store_of_ten.root / "segments" / f"{'0' * 64}.jsonl").write_bytes(b"\x00\xff\t\t\t\n[]\n{}")
    with caplog.at_level(logging.WARNING):
        assert Store(store_of_ten.root).finished(CELLS) == set()
    assert len(warned(caplog)) == 2


def test_what_cannot_be_read_back_is_not_removed(store_of_ten, monkeypatch):
    write = Folder.write
    monkeypatch.setattr(
        Folder, "write", lambda self, name, data: write(self, name, data[:-9] if name.endswith(".jsonl") else data)
    )
    with pytest.raises(AutosparseError, match="is not what was written there, and nothing was removed"):
        gather(store_of_ten)
    assert len(files(store_of_ten, "cells")) == 10
    assert accuracies(store_of_ten) == ALL


def test_a_damaged_file_is_not_gathered_and_the_cell_not_finished_even_if_a_segment_has_it(store_of_ten):
    gather(store_of_ten)
    store_of_ten.record_path(CELLS[3]).write_text("half a rec")
    assert accuracies(store_of_ten) == {place: accuracy for place, accuracy in ALL.items() if place != 3}
    assert gather(store_of_ten).left == 1
    assert store_of_ten.record_path(CELLS[3]).read_text() == "half a rec"


@pytest.mark.parametrize("work", [gather, loosen])
@pytest.mark.parametrize("survived", [0, 1, 3, 8])
def test_a_process_that_is_killed_halfway_loses_nothing_and_another_goes_on(store_of_ten, monkeypatch, work, survived):
    monkeypatch.setattr(gathering, "RECORDS", 4)
    monkeypatch.setattr(gathering, "AT_ONCE", 2)
    if work is loosen:
        gather(store_of_ten)
    with mortal(survived), pytest.raises(Killed):
        work(store_of_ten)
    assert accuracies(store_of_ten) == ALL
    work(Store(store_of_ten.root))
    assert accuracies(store_of_ten) == ALL
    assert len(files(store_of_ten, "cells")) == (0 if work is gather else 10)


ACTS = st.one_of(
    st.tuples(st.just("finish"), st.integers(0, 3)),
    st.tuples(st.just("set aside"), st.integers(0, 3)),
    st.tuples(st.just("damage"), st.integers(0, 3)),
    st.tuples(st.sampled_from(["gather", "loosen"]), st.just(0)),
    st.tuples(st.just("loosen one"), st.integers(0, 3)),
    st.tuples(st.just("new process"), st.just(0)),
    st.tuples(st.just("kill while loosening"), st.integers(0, 4)),
    st.tuples(st.just("damage a segment's end"), st.integers(0, 3)),
)


@settings(max_examples=50)
@given(st.lists(ACTS, max_size=14))
def test_whatever_is_done_in_any_order_the_last_record_of_each_cell_counts(tmp_path_factory, acts):
    store, expected = Store(tmp_path_factory.mktemp("acts")), {}
    for number, (act, place) in enumerate(acts):
        cell = CELLS[place]
        if act == "finish":
            store.finish(cell, {"test_accuracy": number}, {})
            expected[place] = number
        elif act == "set aside":
            set_aside(cell, store)
            if place in expected:
                assert expected.pop(place) in [
                    json.loads(aside)["result"]["test_accuracy"] for aside in files(store, "superseded/cells").values()
                ]
        elif act == "damage" and store.record_path(cell).exists():
            store.record_path(cell).write_text("half a rec")
            expected.pop(place, None)
        elif act == "gather":
            gather(store)
        elif act == "loosen":
            loosen(store)
        elif act == "loosen one":
            loosen(store, [cell.id])
        elif act == "kill while loosening":
            loosen_and_die(store, [CELLS[number % 4].id], after=place)
            store = Store(store.root)
        elif act == "damage a segment's end":
            for path in sorted((store.root / "segments").glob("*"))[place : place + 1]:
                path.write_bytes(path.read_bytes() + b"x")
            store = Store(store.root)
        elif act == "new process":
            store = Store(store.root)
        assert store.finished(CELLS) == store.finished(CELLS, known=True) == {CELLS[found].id for found in expected}
    assert accuracies(store) == expected
