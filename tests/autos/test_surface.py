"""Surfaces against the functions they stand for, and what certifies them."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from autosparse.autos import Scorer, fit_scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.certificate import certify
from autosparse.autos.features import Standardisation
from autosparse.autos.predict import BUDGETS, PROMISE, predict_all
from autosparse.autos.surface import Surface
from autosparse.criteria import prune
from autosparse.irp import Survival
from autosparse.models import build_model

ROWS = 60_000


def heavy_tailed(inputs, seed=0):
    """Columns with tails as weights' gradients have them, a tenth of the first exactly 0."""
    draws = np.random.default_rng(seed)
    columns = [torch.from_numpy(draws.standard_t(3, ROWS).astype(np.float32)) for _ in range(inputs)]
    columns[0][: ROWS // 10] = 0
    return columns


def bowl(columns):
    """A smooth function with a kink, increasing away from the origin at different rates."""
    return torch.log1p(sum((i + 1) * column.abs() for i, column in enumerate(columns))) + 0.1 * columns[0].sin()


def fit_surface(evaluate, columns, keep, budget):
    surface = Surface(evaluate, columns, keep)
    surface.refine(budget)
    return surface


def counted(function):
    def evaluate(columns):
        evaluate.rows += len(columns[0])
        return function(columns)

    evaluate.rows = 0
    return evaluate


def iou(a, b, kept):
    masks = torch.zeros(2, len(a), dtype=torch.bool)
    masks[0, a.topk(kept).indices] = True
    masks[1, b.topk(kept).indices] = True
    return float((masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum())


@pytest.mark.parametrize(("inputs", "least"), [(1, 0.999), (2, 0.99), (3, 0.93), (4, 0.78)])
def test_masks_by_the_surface_agree_with_the_function_s(inputs, least):
    columns, evaluate = heavy_tailed(inputs), counted(bowl)
    keep = [ROWS // 10, ROWS // 50, ROWS // 100]
    surface = fit_surface(evaluate, columns, keep, budget=2000 if inputs < 3 else 8000)
    scores, exact = surface(columns), bowl(columns)
    assert min(iou(scores, exact, kept) for kept in keep) >= least
    assert evaluate.rows == surface.evaluations < 11_000


def test_a_larger_budget_gives_a_better_surface():
    columns, keep = heavy_tailed(2), [ROWS // 20]
    surfaces = [fit_surface(bowl, columns, keep, budget)(columns) for budget in (0, 3000)]
    assert iou(surfaces[0], bowl(columns), keep[0]) < iou(surfaces[1], bowl(columns), keep[0])


@pytest.mark.parametrize("inputs", [1, 2])
def test_evaluations_are_spent_where_a_threshold_runs(inputs):
    columns = heavy_tailed(inputs)
    exact = bowl(columns)
    error = (fit_surface(bowl, columns, [ROWS // 10], budget=3000)(columns) - exact).abs()
    ranks = exact.argsort(descending=True)
    near, far = ranks[ROWS // 10 - 500 : ROWS // 10 + 500], ranks[: ROWS // 50]
    assert error[near].mean() < 0.1 * error[far].mean()


@pytest.mark.parametrize(("size", "mean_within", "each_within"), [(0.002, 0.003, 0.015), (0.1, 0.035, 0.16)])
def test_the_certificate_is_right_in_the_mean_and_near_in_each_draw(size, mean_within, each_within):
    columns, keep = heavy_tailed(2), [ROWS // 10, ROWS // 100]
    exact = bowl(columns)
    scores = exact + size * torch.randn(ROWS, generator=torch.Generator().manual_seed(1))
    found = [certify(bowl, columns, scores, keep, seed) for seed in range(12)]
    for kept in keep:
        errors = np.array([each.iou[str(kept)] for each in found]) - iou(scores, exact, kept)
        assert abs(errors.mean()) < mean_within  # three standard errors
        assert abs(errors).max() < each_within  # four standard deviations
    one = found[0]
    assert one.mean_error == pytest.approx(float((scores - exact).abs().mean()), rel=0.2)
    assert one.spearman == pytest.approx(spearmanr(scores, exact).statistic, abs=0.02)
    assert one.sampled < 3000


def test_the_certificate_seldom_passes_a_surface_that_misjudges_few_weights_by_far():
    """Misjudge as a surface that misses a narrow ridge: weights far below the threshold come out among the first."""
    columns, kept, draws = heavy_tailed(2), ROWS // 10, torch.Generator().manual_seed(1)
    exact = bowl(columns)
    order, scores = exact.argsort(descending=True), exact.clone()
    wrong = order[3 * kept :][torch.randperm(ROWS - 3 * kept, generator=draws)[: kept // 60]]
    scores[wrong] = exact[order[torch.randint(kept // 2, (len(wrong),), generator=draws)]]
    found = np.array([certify(bowl, columns, scores, [kept], seed).iou[str(kept)] for seed in range(30)])
    assert found.mean() == pytest.approx(iou(scores, exact, kept), abs=0.006)
    assert (found >= PROMISE).mean() <= 0.1


def test_the_certificate_of_exact_scores_finds_nothing():
    columns = heavy_tailed(2)
    found = certify(bowl, columns, bowl(columns), [ROWS // 10])
    assert (found.max_error, found.iou) == (0.0, {str(ROWS // 10): 1.0})


def test_the_certificate_tells_what_is_upside_down():
    columns = heavy_tailed(2)
    found = certify(bowl, columns, -bowl(columns), [ROWS // 10])
    assert found.spearman == pytest.approx(-1.0, abs=1e-3)
    assert found.iou[str(ROWS // 10)] < 0.01


def test_refining_further_asks_only_about_new_points():
    columns, asked = list(torch.randn(2, ROWS, generator=torch.Generator().manual_seed(0))), []

    def evaluate(points):
        asked.extend(zip(*(column.tolist() for column in points), strict=True))
        return bowl(points)

    surface = Surface(evaluate, columns, [ROWS // 20])
    surface.refine(800)
    surface.refine(1600)
    assert len(set(asked)) == len(asked) == surface.evaluations <= 1600


DEGENERATE = {
    "constant": torch.full((ROWS,), 0.3),
    "two values": (torch.arange(ROWS) % 2).float(),
    "mostly zero": torch.where(torch.arange(ROWS) % 50 == 0, torch.linspace(-1, 1, ROWS), torch.zeros(ROWS)),
    "one outlier": torch.cat([torch.linspace(-1, 1, ROWS - 1), torch.tensor([1e6])]),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_columns_are_scored(name):
    columns, keep = [heavy_tailed(1)[0], DEGENERATE[name]], [ROWS // 10, ROWS // 100]
    first, again = (fit_surface(bowl, columns, keep, 1500)(columns) for _ in range(2))
    assert torch.equal(first, again)
    assert min(iou(first, bowl(columns), kept) for kept in keep) > 0.97


def test_masks_of_a_fitted_scorer_s_surface_are_the_network_s():
    draws = torch.Generator().manual_seed(0)
    theta, g = heavy_tailed(2)
    counts = ((theta.abs() + g.abs() + torch.randn(ROWS, generator=draws)).clamp(0, 5) * 4).round().int()
    scorer = fit_scorer(Survival({"w": theta}, {"w": g}, {"w": counts}, {"iterations": 20}), epochs=2)
    scorer.network.costly = True
    verdict, exact = predict_all(scorer, features_of([theta, g])), scorer.predict(features_of([theta, g]))
    assert verdict.certificate is not None
    for kept, estimate in verdict.certificate.iou.items():
        assert iou(verdict.scores, exact, int(kept)) == pytest.approx(estimate, abs=0.015)


@pytest.fixture
def costly_mlp(monkeypatch):
    """An MLP of random weights that claims to be costly."""
    network = build_backbone("mlp", 2, 3).eval()
    monkeypatch.setattr(type(network), "costly", True)
    return Scorer("mlp", ("param", "grad"), Standardisation((0.0, 0.0), (1.0, 1.0)), network)


def features_of(columns):
    return dict(zip(("param", "grad"), columns, strict=True))


def test_a_costly_scorer_is_asked_about_few_weights_and_keeps_its_promise(costly_mlp):
    features = features_of(heavy_tailed(2))
    asked, predictor = [], costly_mlp.predictor

    def counting(*given):
        ask = predictor(*given)
        return lambda columns: asked.append(len(columns[0])) or ask(columns)

    costly_mlp.predictor = counting
    verdict = predict_all(costly_mlp, features)
    assert verdict.evaluations == sum(asked) < ROWS / 2
    costly_mlp.predictor = predictor
    exact = costly_mlp.predict(features)
    assert min(verdict.certificate.iou.values()) >= PROMISE
    for sparsity in (0.9, 0.95, 0.98, 0.99):
        assert iou(verdict.scores, exact, round(ROWS * (1 - sparsity))) > 0.98
    assert verdict.certificate.text.startswith("scored from a table; at ")


def test_exact_is_the_network_s_own_verdict(costly_mlp):
    features = features_of(heavy_tailed(2))
    verdict = predict_all(costly_mlp, features, exact=True)
    assert verdict.certificate is None
    assert torch.equal(verdict.scores, costly_mlp.predict(features))


def test_few_weights_and_cheap_networks_are_scored_exactly(costly_mlp, monkeypatch):
    few = {name: column[:3000] for name, column in features_of(heavy_tailed(2)).items()}
    assert predict_all(costly_mlp, few).evaluations == 3000
    monkeypatch.setattr(type(costly_mlp.network), "costly", False)
    assert predict_all(costly_mlp, features_of(heavy_tailed(2))).certificate is None


def test_what_no_surface_can_follow_is_scored_exactly_with_a_warning(costly_mlp, caplog):
    class Rough(type(costly_mlp.network)):
        def forward(self, x):
            return (1e5 * x[:, 0]).sin() * (1e5 * x[:, 1]).cos()

    features = features_of(heavy_tailed(2))
    rough = replace(costly_mlp, network=Rough(2, 0))
    with caplog.at_level(logging.WARNING):
        verdict = predict_all(rough, features)
    assert "scoring 60000 weights one by one" in caplog.text
    assert torch.equal(verdict.scores, rough.predict(features))
    assert verdict.certificate is None
    assert verdict.evaluations > ROWS + BUDGETS[1], "both budgets that are worth it were tried first"


def test_the_criterion_uses_the_surface_at_its_sparsity_and_the_network_where_told(costly_mlp):
    model = build_model("lenet-300-100", 10, (1, 28, 28))
    draws = torch.Generator().manual_seed(0)
    batches = [(torch.randn(64, 1, 28, 28, generator=draws), torch.randint(0, 10, (64,), generator=draws))]
    fast = prune(model, "autos", 0.97, batches, scorer=costly_mlp)
    assert list(costly_mlp.verdict.certificate.iou) == [str(fast.total - round(fast.total * 0.97))]
    exact = prune(model, "autos", 0.97, batches, scorer=costly_mlp, exact=True)
    flat = [torch.cat([mask.flatten() for mask in masks.values()]) for masks in (fast, exact)]
    assert float((flat[0] & flat[1]).sum() / (flat[0] | flat[1]).sum()) > 0.98
