"""Fits that stream rows from disk: the closed form, batches, samples, memory, and what cannot be streamed."""

import weakref

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from autosparse.autos import fit_scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.backbones.linear import RIDGE
from autosparse.autos.dagger import Dagger
from autosparse.autos.features import Standardisation, check_inputs, rounds_for
from autosparse.autos.regression import Training
from autosparse.autos.streamed import shard, write_rows
from autosparse.autos.streamed.read import uniform
from autosparse.autos.streamed.rows import RowStream, cut, one_by_one
from autosparse.errors import AutosparseError, CorruptFile

CONTEXT = check_inputs(["context"])
OPTIONS = {"rounds": 3, "examples": 100}


@pytest.fixture(scope="module")
def shards(run, digits, tmp_path_factory):
    """The rows of ``context`` in row groups of 1000; the modules under test know this size as long as the tests run."""
    with pytest.MonkeyPatch.context() as patch:
        for module in ("shard", "write"):
            patch.setattr(f"autosparse.autos.streamed.{module}.GROUP_ROWS", 1000)
        how = rounds_for(CONTEXT, **OPTIONS)
        yield write_rows([run], {"digits": digits}, CONTEXT, how, tmp_path_factory.mktemp("rows") / "rows")


@pytest.fixture(scope="module")
def everything(shards):
    """All rows in memory: features (n, inputs), target (n,), and each row's number for seed 0."""
    tables = [pq.read_table(shard.path) for shard in shards]
    features = [np.stack([table.column(name).to_numpy() for name in CONTEXT], 1) for table in tables]
    target = [table.column("target").to_numpy() for table in tables]
    number = [uniform(0, s, t.column("position").to_numpy()) for s, t in zip(shards, tables, strict=True)]
    return np.concatenate(features), np.concatenate(target), np.concatenate(number)


def fitted(run, digits, shards, backbone="linear", **options):
    where = shards[0].path.parent
    return fit_scorer(run, backbone, ["context"], datasets={"digits": digits}, rows_in=where, **OPTIONS, **options)


def stream(shards, mapped=one_by_one, most=10**9):
    return RowStream(shards, CONTEXT, 0, 0.1, most, mapped=mapped)


def test_a_streamed_linear_scorer_is_the_closed_form_on_its_train_rows(run, digits, shards, everything):
    features, target, number = everything
    scorer = fitted(run, digits, shards)
    train, held_out = number >= 0.1, number < 0.1
    x, y = features[train].astype(np.float64), target[train].astype(np.float64)
    np.testing.assert_allclose(scorer.standardisation.mean, x.mean(0), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(scorer.standardisation.std, np.where(x.std(0) > 0, x.std(0), 1), rtol=1e-9)
    z = (x - x.mean(0)) / scorer.standardisation.std
    slopes = np.linalg.solve(z.T @ z + RIDGE * len(z) * np.eye(z.shape[1]), z.T @ (y - y.mean()))
    np.testing.assert_allclose(scorer.network.coefficients.numpy(), slopes, atol=1e-5)
    assert float(scorer.network.intercept) == pytest.approx(y.mean(), abs=1e-6)
    assert scorer.report["rows_used"] == len(x)
    assert scorer.provenance["rows"] == len(features) == sum(run.masks(i).kept for i in range(4))
    z = (features[held_out] - x.mean(0)) / scorer.standardisation.std
    error = z @ slopes + y.mean() - target[held_out]
    assert scorer.report["held_out_r2"] == pytest.approx(1 - error.var() / target[held_out].var(), abs=1e-3)


def test_it_is_the_scorer_that_the_same_rows_in_memory_give(run, digits, shards, everything):
    features, target, number = everything
    columns = list(torch.from_numpy(features[number >= 0.1]).unbind(1))
    in_memory = build_backbone("linear", len(CONTEXT), 0)
    in_memory.fit(Standardisation.of(columns)(columns), torch.from_numpy(target[number >= 0.1]), Training(), 0)
    streamed = fitted(run, digits, shards).network
    torch.testing.assert_close(streamed.coefficients, in_memory.coefficients, rtol=0, atol=1e-5)
    torch.testing.assert_close(streamed.intercept, in_memory.intercept, rtol=0, atol=1e-5)


def test_rows_are_held_out_by_what_they_are_and_not_by_their_order(shards, everything):
    number = everything[2]
    assert (number < 0.1).mean() == pytest.approx(0.1, abs=0.01)
    assert number.mean() == pytest.approx(0.5, abs=0.01)
    assert len(np.unique(number)) == len(number)
    position = np.arange(5000)[::-1]
    assert (uniform(0, shards[0], position)[::-1] == uniform(0, shards[0], position[::-1])).all()
    assert not (uniform(0, shards[0], position) == uniform(0, shards[3], position)).any()
    assert not (uniform(0, shards[0], position) == uniform(1, shards[0], position)).any()


def test_batches_are_all_train_rows_once_in_an_order_that_changes_with_the_epoch(shards, everything, monkeypatch):
    monkeypatch.setattr("autosparse.autos.streamed.rows.TOGETHER", 5)
    features, target, number = everything
    rows = stream(shards)
    first, again, second = (
        [torch.cat(column) for column in zip(*rows.batches(epoch, 256), strict=True)] for epoch in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], second[0])
    assert {len(y) for _, y in list(rows.batches(1, 256))[:-1]} == {256}
    for x, y in (first, second):
        assert (np.sort(y.numpy()) == np.sort(target[number >= 0.1])).all()
        standardised = rows.moments.standardisation(list(torch.from_numpy(features[number >= 0.1]).unbind(1)))
        assert torch.equal(x.sort(0).values, standardised.sort(0).values)
    assert float(first[1][:2000].mean()) == pytest.approx(float(first[1].mean()), abs=0.1)


def test_a_network_is_trained_on_batches_and_goes_on_to_the_bit(run, digits, shards):
    states = []
    whole = fitted(run, digits, shards, "mlp", epochs=2, on_epoch=lambda epoch: states.append(epoch.state()))
    again = fitted(run, digits, shards, "mlp", epochs=2, resume=states[0])
    assert all(torch.equal(own, again.network.state_dict()[name]) for name, own in whole.network.state_dict().items())
    assert whole.report["held_out_r2"] > fitted(run, digits, shards).report["held_out_r2"]


def test_what_learns_in_memory_takes_a_sample_and_says_so(run, digits, shards, everything, caplog, monkeypatch):
    monkeypatch.setattr("autosparse.autos.backbones.trees.TREES", 4)
    scorer = fitted(run, digits, shards, "trees", rows=3000)
    assert f"of {stream(shards).moments.count} train rows it takes a stratified sample of about 3000" in caplog.text
    assert scorer.report["rows_used"] == pytest.approx(3000, abs=12)
    _, sampled = stream(shards, most=20_000).sample()
    train = everything[1][everything[2] >= 0.1]
    for value in np.unique(train):
        assert (sampled.numpy() == value).mean() == pytest.approx((train == value).mean(), abs=0.002)
    whole = stream(shards).sample()[1].numpy()
    assert (np.sort(whole) == np.sort(train)).all()


def test_no_more_than_a_few_row_groups_are_in_memory(run, digits, shards, monkeypatch):
    monkeypatch.setattr("autosparse.autos.streamed.rows.TOGETHER", 2)
    alive, seen = weakref.WeakSet(), []

    def watched(work, items):
        for batch in one_by_one(work, items):
            alive.add(batch.get("features", batch.get("mean")))
            seen.append((len(alive), len(next(iter(batch.values())))))
            yield batch

    fitted(run, digits, shards, "mlp", epochs=1, mapped=watched)
    assert len(seen) > 80
    assert max(together for together, _ in seen) <= 2  # the one that is used, and the one that is read
    assert max(rows for _, rows in seen) <= 2000


def test_pieces_are_cut_to_one_size_whatever_their_own():
    parts = [(torch.arange(start, start + size),) for start, size in ((0, 5), (5, 0), (5, 1), (6, 9))]
    assert [piece.tolist() for (piece,) in cut(parts, 4)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11], [12, 13, 14]]
    assert list(cut([(torch.arange(0),)], 4)) == []


def test_values_that_are_not_those_written_are_noticed(run, digits, tmp_path):
    how = rounds_for(("log_param",), **OPTIONS)
    shards = write_rows([run], {"digits": digits}, ("log_param",), how, tmp_path)
    table = pq.read_table(shards[0].path)
    mixed = table.set_column(6, "log_param", [table.column("log_param").to_numpy()[::-1].copy()])
    pq.write_table(mixed, shards[0].path, row_group_size=shard.GROUP_ROWS)
    with pytest.raises(CorruptFile, match=r"rows-000-0000-0000.parquet does not hold the values that were written"):
        fit_scorer(run, "linear", ["log_param"], datasets={"digits": digits}, rows_in=tmp_path, **OPTIONS)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": ("param", "grad")}, "for a scorer that prunes in rounds: give inputs such as context"),
        ({"inputs": CONTEXT, "dagger": Dagger()}, "dagger adds rows to those in memory"),
        ({"inputs": CONTEXT, "rows": 5000}, "'linear' learns from every row of --rows-in"),
    ],
)
def test_what_cannot_be_streamed_is_refused_before_anything_is_written(run, digits, tmp_path, options, said):
    with pytest.raises(AutosparseError, match=said) as refused:
        fit_scorer(run, "linear", datasets={"digits": digits}, rows_in=tmp_path / "rows", **options)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "rows").exists()


def test_a_sample_of_rows_in_memory_names_the_way_to_have_all(run, digits, monkeypatch, caplog):
    options = {"datasets": {"digits": digits}, **OPTIONS}
    fit_scorer(run, "linear", ["log_param"], **options)
    assert not caplog.text
    monkeypatch.setattr("autosparse.autos.fit.MOST_ROWS", 5000)
    sampled = fit_scorer(run, "linear", ["log_param"], **options)
    total = sum(run.masks(i).kept for i in range(4))
    assert f"the fit samples about 6000 of {total} rows from IRP states at random" in caplog.text
    assert "--rows-in FOLDER" in caplog.text
    assert sampled.provenance["rows"] == pytest.approx(6000, rel=0.05)
