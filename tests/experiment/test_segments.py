"""Gathered records: found as those with files of their own are, and never lost, doubled or brought back."""

import contextlib
import json
import logging

import pytest
from builders import Killed, a_cell
from hypothesis import given, settings
from hypothesis import strategies as st
from old_records import write_old

from autosparse.errors import AutosparseError, Unreachable
from autosparse.experiment import gathering
from autosparse.experiment.gathering import gather, loosen
from autosparse.experiment.segments import Segments
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import changed_records, set_aside
from autosparse.experiment.tasks import FitSpec, ScorerTask
from autosparse.storage import Folder

CELLS = [a_cell(criterion=criterion, seed=seed) for criterion in ("snip", "random") for seed in range(5)]
IDS = {cell.id for cell in CELLS}


@pytest.fixture
def store_of_ten(store):
    """A store with ten finished cells, whose accuracies are their places in the list."""
    return filled(store)


def filled(store):
    for place, cell in enumerate(CELLS):
        store.finish(cell, {"test_accuracy": place, "density_by_layer": {"fc1.weight": 0.1}}, {"host": "here"})
    return store


def accuracies(store):
    """The accuracies of the cells that a new process finds finished and can read, by their places in the list."""
    fresh = Store(store.place)
    finished = fresh.finished(CELLS)
    records = {cell.id: Store(store.place).record(cell) for cell in CELLS}
    assert finished == {task_id for task_id, record in records.items() if record}
    assert fresh.finished(CELLS, known=True) == finished
    return {place: records[c.id]["result"]["test_accuracy"] for place, c in enumerate(CELLS) if records[c.id]}


ALL = {place: place for place in range(len(CELLS))}


def files(store, folder):
    return {name: store.place.read(f"{folder}/{name}") for name in store.place.within(folder).names()}


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_gathered_records_are_found_as_before_and_get_their_own_files_back_to_the_byte(
    kind, tmp_path, monkeypatch, request
):
    monkeypatch.setattr(gathering, "RECORDS", 4)
    monkeypatch.setattr(gathering, "AT_ONCE", 2)
    place = tmp_path / "results" if kind == "folder" else request.getfixturevalue("s3")("segments")
    store = filled(Store(place))
    before, records = files(store, "cells"), {cell.id: store.record(cell) for cell in CELLS}
    done = gather(store)
    assert (done.records, done.segments, done.left) == (10, 3, 0)
    assert files(store, "cells") == {}
    assert accuracies(store) == ALL
    other = Store(store.place)
    assert {cell.id: other.record(cell) for cell in CELLS} == records == other.records(CELLS)
    assert other.there(CELLS) == other.recorded(CELLS) == IDS
    assert [other.made(cell) for cell in CELLS] == [Store(store.place).made(cell) for cell in CELLS]
    assert gather(store).segments == 0, "nothing is left to gather"
    assert loosen(store) == 10
    assert files(store, "cells") == before
    assert files(store, "segments") == {}
    assert accuracies(store) == ALL


def test_a_scan_reads_no_gathered_record_of_its_own(store_of_ten, monkeypatch):
    gather(store_of_ten)
    reads, read = [], Folder.read
    monkeypatch.setattr(Folder, "read", lambda self, name: reads.append(name) or read(self, name))
    parts, read_part = [], Folder.read_part
    monkeypatch.setattr(
        Folder, "read_part", lambda self, name, *part: parts.append(name) or read_part(self, name, *part)
    )
    fresh = Store(store_of_ten.root)
    assert fresh.finished(CELLS) == fresh.finished(CELLS) == IDS
    assert len(reads) == 1
    assert len(parts) == 2, "one record of each method tells whether the values of all are today's"


def test_a_worker_does_not_look_into_segments(store_of_ten):
    gather(store_of_ten)
    assert Store(store_of_ten.root, gathered=False).records(CELLS) == {}


def test_a_record_that_another_process_gathers_meanwhile_is_found(store_of_ten):
    other = Store(store_of_ten.root)
    assert other.finished(CELLS) == IDS
    gather(store_of_ten)
    assert other.record(CELLS[0])["result"]["test_accuracy"] == 0
    assert other.finished(CELLS) == IDS


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


def cut_off(store, ids, after):
    """Take records out of their segments in a process that is killed after so many files were written or removed."""
    left = iter(range(after))

    def mortal(act):
        def acted(self, *given):
            if next(left, None) is None:
                raise Killed
            return act(self, *given)

        return acted

    with pytest.MonkeyPatch.context() as patch, contextlib.suppress(Killed):
        for name in ("write", "remove"):
            patch.setattr(Folder, name, mortal(getattr(Folder, name)))
        loosen(store, ids)


@pytest.mark.parametrize("after", range(4))
def test_segments_that_hold_none_of_the_wanted_records_stay_though_others_are_doubled(store_of_ten, monkeypatch, after):
    monkeypatch.setattr(gathering, "RECORDS", 4)
    monkeypatch.setattr(gathering, "AT_ONCE", 2)
    gather(store_of_ten)
    cut_off(Store(store_of_ten.root), [CELLS[0].id], after)
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
    cut_off(Store(store_of_ten.root), [CELLS[0].id], after=2)
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
    left = iter(range(survived))

    def mortal(name):
        act = getattr(Folder, name)

        def acted(self, *given):
            if next(left, None) is None:
                raise Killed
            return act(self, *given)

        return acted

    with monkeypatch.context() as patch:
        for name in ("write", "remove"):
            patch.setattr(Folder, name, mortal(name))
        with pytest.raises(Killed):
            work(store_of_ten)
    assert accuracies(store_of_ten) == ALL
    work(Store(store_of_ten.root))
    assert accuracies(store_of_ten) == ALL
    assert len(files(store_of_ten, "cells")) == (0 if work is gather else 10)


def test_what_is_set_aside_does_not_come_back_from_a_segment(store_of_ten):
    gather(store_of_ten)
    set_aside(CELLS[2], store_of_ten)
    assert accuracies(store_of_ten) == {place: accuracy for place, accuracy in ALL.items() if place != 2}
    [aside] = files(store_of_ten, "superseded/cells").values()
    assert json.loads(aside)["result"]["test_accuracy"] == 2
    store_of_ten.finish(CELLS[2], {"test_accuracy": 50}, {})
    gather(store_of_ten)
    assert accuracies(store_of_ten) == ALL | {2: 50}


def test_a_gathered_record_falls_with_the_default_or_the_input_that_it_was_made_with(tmp_path, monkeypatch):
    scorer = ScorerTask(irp=("0",), fit=FitSpec(backbone="linear"))
    cells = [a_cell(criterion="autos", scorer=scorer.id), a_cell()]
    store = Store(tmp_path)
    store.files_path("scorer", scorer.id).mkdir(parents=True)
    for task in (scorer, *cells):
        store.finish(task, {"dataset_fingerprint": "aa"}, {})
    gather(store)
    assert Store(tmp_path).finished(cells) == {cell.id for cell in cells}
    store.finish(scorer, {"dataset_fingerprint": "bb"}, {})
    fresh = Store(tmp_path)
    assert fresh.finished(cells) == {cells[1].id}
    assert changed_records(cells, fresh).keys() == {cells[0].id}
    monkeypatch.setattr("autosparse.experiment.resolved.RULE", -1)
    assert Store(tmp_path).finished(cells) == set()
    assert changed_records(cells, Store(tmp_path)).keys() == {cell.id for cell in cells}


def test_records_of_version_0_1_0_are_gathered_and_found(tmp_path):
    store = Store(tmp_path)
    for cell in CELLS:
        write_old(store, cell, {"dataset_fingerprint": "aa"})
    made, finished = [store.made(cell) for cell in CELLS], Store(tmp_path).finished(CELLS)
    assert finished == {cell.id for cell in CELLS[5:]}, "SNIP had another default then"
    assert gather(store).records == 10
    fresh = Store(tmp_path)
    assert fresh.finished(CELLS) == finished
    assert [fresh.made(cell) for cell in CELLS] == made


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


@settings(max_examples=100)
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
            cut_off(store, [CELLS[number % 4].id], after=place)
            store = Store(store.root)
        elif act == "damage a segment's end":
            for path in sorted((store.root / "segments").glob("*"))[place : place + 1]:
                path.write_bytes(path.read_bytes() + b"x")
            store = Store(store.root)
        elif act == "new process":
            store = Store(store.root)
        assert store.finished(CELLS) == store.finished(CELLS, known=True) == {CELLS[found].id for found in expected}
    assert accuracies(store) == expected
