"""Gathered records: found as those with files of their own are, and never lost, doubled or brought back."""

import json

import pytest
from builders import a_cell
from old_records import write_old

from autosparse.experiment import gathering
from autosparse.experiment.gathering import gather, loosen
from autosparse.experiment.store import Store
from autosparse.experiment.superseded import changed_records, set_aside
from autosparse.experiment.tasks import FitSpec, ScorerTask
from autosparse.storage import Folder
from tests.experiment.gathered import ALL, CELLS, IDS, accuracies, files, filled


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
