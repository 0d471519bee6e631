"""Fitting on some rows: each stratum its share, no row favoured, the same rows held out."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from autosparse.autos import fit_scorer
from autosparse.autos.rows import FEWEST, at_initialisation, joined, stratified_sample
from autosparse.errors import AutosparseError
from autosparse.irp import Survival


def rare_survival(rows=6000, seed=0, iterations=4):
    """Two layers whose weights rarely survive."""
    draws = torch.Generator().manual_seed(seed)
    sizes = {"fc1.weight": (rows - 60, 1), "fc2.weight": (6, 10)}
    param, grad = ({name: torch.randn(size, generator=draws) for name, size in sizes.items()} for _ in range(2))
    survived = {
        name: (5 * torch.rand(size, generator=draws) ** 4).int().clamp(max=iterations) for name, size in sizes.items()
    }
    return Survival(param, grad, survived, {"iterations": iterations})


def draws(seed=0):
    return torch.Generator().manual_seed(seed)


@given(
    sizes=st.lists(st.integers(0, 2000), min_size=1, max_size=8).filter(lambda sizes: sum(sizes) > FEWEST),
    share=st.floats(0, 1, exclude_max=True),
    seed=st.integers(0, 100),
)
def test_each_stratum_has_its_share_rounded_up_or_down(sizes, share, seed):
    stratum = torch.cat([torch.full((size,), i) for i, size in enumerate(sizes)])
    stratum = stratum[torch.randperm(len(stratum), generator=draws(seed))]
    rows = FEWEST + int(share * (len(stratum) - FEWEST))
    sample = stratified_sample(stratum, rows, draws(seed))
    assert len(sample) == len(sample.unique()) == rows
    taken = stratum[sample].bincount(minlength=len(sizes))
    for size, count in zip(sizes, taken.tolist(), strict=True):
        assert abs(count - size * rows / len(stratum)) < 1 + 1e-6


def test_no_row_is_favoured():
    """1000 of 2500 rows in strata of 2400, 99 and 1, drawn 400 times: each about 160 times."""
    stratum = torch.tensor([0] * 2400 + [1] * 99 + [2])
    taken = torch.zeros(2500)
    for seed in range(400):
        taken[stratified_sample(stratum, 1000, draws(seed))] += 1
    deviation = (400 * 0.4 * 0.6) ** 0.5
    assert (taken - 160).abs().max() < 5 * deviation
    for own in range(3):
        members = stratum == own
        assert (taken[members].mean() - 160).abs() < 5 * deviation / members.sum() ** 0.5


def test_the_same_draws_take_the_same_rows_and_others_take_others():
    stratum = torch.arange(5000) % 7
    first = stratified_sample(stratum, 2000, draws(1))
    assert torch.equal(first, stratified_sample(stratum, 2000, draws(1)))
    assert not torch.equal(first, stratified_sample(stratum, 2000, draws(2)))


@pytest.mark.parametrize("rows", [None, 3000, 10**9])
def test_as_many_rows_as_there_are_or_more_are_all(rows):
    assert torch.equal(stratified_sample(torch.zeros(3000, dtype=torch.int64), rows, draws()), torch.arange(3000))


def test_strata_are_layers_and_counts_of_each_dataset_in_the_order_of_its_rows():
    data = [rare_survival(seed=0), rare_survival(seed=1)]
    expected, seen = [], {}
    for i, one in enumerate(data):
        for layer, counts in one.survived.items():
            expected += [(i, layer, count) for count in counts.flatten().tolist()]
    found = joined([at_initialisation(one, ["param"]) for one in data]).stratum.tolist()
    assert len(found) == len(expected)
    for key, name in zip(expected, found, strict=True):
        assert seen.setdefault(key, name) == name
    assert len(set(seen.values())) == len(seen)


def test_the_report_says_how_many_rows_were_used_and_of_what_they_were_drawn():
    data = rare_survival()
    assert fit_scorer(data, epochs=1).report["rows_used"] == 5400
    sampled = fit_scorer(data, epochs=1, rows=1500)
    assert sampled.report["rows_used"] == 1500
    assert sampled.provenance["rows"] == 6000


def test_a_fit_on_as_many_rows_as_there_are_is_the_fit_on_all_bit_for_bit():
    data = rare_survival()
    whole, same = (fit_scorer(data, epochs=2, rows=rows) for rows in (None, 5400))
    weights = (whole.network.state_dict(), same.network.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert whole.report == same.report


def test_the_rows_held_out_are_the_same_whatever_the_sample():
    """The binned mean is that of all train rows, whatever the sample: it says the same of the same held-out rows."""
    data = rare_survival()
    reports = [fit_scorer(data, "conditional-mean", rows=rows).report for rows in (None, 1500, 3000)]
    assert len({report["binned_mean_r2"] for report in reports}) == 1
    assert len({report["held_out_r2"] for report in reports}) == 3


def test_a_sample_fits_nearly_as_well_as_all_rows():
    generator = draws()
    param, grad = torch.randn(2, 60_000, generator=generator)
    counts = (20 * torch.sigmoid(param.abs() + grad - 2 + 0.5 * torch.randn(60_000, generator=generator))).round().int()
    data = Survival({"w": param}, {"w": grad}, {"w": counts}, {"iterations": 20})
    whole, sampled = (fit_scorer(data, "conditional-mean", rows=rows).report["held_out_r2"] for rows in (None, 6000))
    assert whole > 0.5
    assert sampled > whole - 0.02


def test_too_few_rows_are_refused():
    with pytest.raises(AutosparseError, match="at least 1000 rows, not 999; omit `rows` to use them all"):
        fit_scorer(rare_survival(), rows=999)
