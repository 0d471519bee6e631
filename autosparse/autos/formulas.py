"""Short formulas for what a scorer predicts: sparse regression on a library of simple terms of its inputs."""

import itertools
import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from autosparse.autos.diagnostics import r_squared
from autosparse.criteria.expression import parse
from autosparse.criteria.features.find import find_feature
from autosparse.errors import AutosparseError
from autosparse.seeds import generator

RAW = ("param", "grad")
"""Inputs of both signs and of many magnitudes, whose logarithms are worth a try; most other features already are
logarithms."""
MOST_TERMS = 12
DIGITS = 4


@dataclass(frozen=True)
class Formula:
    """An expression as the criterion ``formula`` takes it."""

    expression: str
    terms: int
    r2: float
    """Against the scorer, on rows that it was not fitted to."""


def formulas(columns: Mapping[str, Tensor], predicted: Tensor, most: int = MOST_TERMS, seed: int = 0) -> list[Formula]:
    """Formulas of 1, 2, ... terms for ``predicted`` (n,), each without its constant, which does not change the ranking.

    Terms are chosen by orthogonal matching pursuit (Pati et al. 1993), by scikit-learn, on half of the rows.

    :param columns: the inputs, (n,) each.
    :raises AutosparseError: if the predictions, or all terms, are the same for all rows.
    """
    from sklearn.linear_model import OrthogonalMatchingPursuit  # here: scikit-learn takes seconds to import
    from threadpoolctl import threadpool_limits

    values = {name: column.double().cpu() for name, column in columns.items()}
    terms, target = {}, predicted.double().cpu()
    for text in library(values):
        term = parse(text, find_feature)(values)
        if bool(term.isfinite().all()) and float(term.std()) > 0:
            terms[text] = term
    if not terms or bool(target.min() == target.max()):
        raise AutosparseError(
            f"no formula of {', '.join(columns)}: the {'scores' if terms else 'inputs'} are the same for all weights; "
            "fit the scorer on more rows, or with other inputs"
        )
    order = torch.randperm(len(target), generator=generator(seed, "formula rows"))
    fitted, held_out = order.chunk(2)
    matrix = torch.stack(list(terms.values()), 1)
    mean, spread = matrix[fitted].mean(0), matrix[fitted].std(0).clamp(min=1e-12)
    scaled = ((matrix - mean) / spread).numpy()
    found: list[Formula] = []
    for count in range(1, min(most, len(terms)) + 1):
        regression = OrthogonalMatchingPursuit(n_nonzero_coefs=count)
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Orthogonal matching pursuit ended prematurely")
            regression.fit(scaled[fitted], target[fitted].numpy())
        fit = torch.from_numpy(regression.predict(scaled[held_out]))
        slopes = regression.coef_ / spread.numpy()
        chosen = [(text, slope) for text, slope in zip(terms, slopes, strict=True) if slope]
        if found and len(chosen) <= found[-1].terms:
            break  # no further term adds anything
        found.append(Formula(_sum(chosen), len(chosen), r_squared(fit, target[held_out])))
    return found


def library(values: Mapping[str, Tensor]) -> list[str]:
    """The terms: each input and its square; of raw inputs also size, root and logarithm; and products of two."""
    terms = []
    for name, column in values.items():
        terms += [name, f"{name} * {name}"]
        if name in RAW:
            terms += [f"abs({name})", f"sqrt(abs({name}))", f"log(abs({name}) + {_small(column)})"]
    for a, b in itertools.combinations(values, 2):
        terms.append(f"{a} * {b}")
        if a in RAW and b in RAW:
            terms += [f"abs({a} * {b})", f"log(abs({a} * {b}) + {_small(values[a] * values[b])})"]
    return terms


def best_shape(column: Tensor, predicted: Tensor) -> dict[str, float]:
    """R^2 of straight lines that predict ``predicted`` from |x|, log|x|, sqrt|x| and x^2: the best names the curve."""
    size, target = column.double().abs().cpu(), predicted.double().cpu()
    curves = {
        "linear": size,
        "logarithm": (size + float(_small(column))).log(),
        "root": size.sqrt(),
        "square": size.square(),
    }
    return {name: float(np.corrcoef(curve, target)[0, 1] ** 2) for name, curve in curves.items()}


def _small(column: Tensor) -> str:
    """A thousandth of the root mean square: what is added before a logarithm, so that it is finite."""
    return f"{float(column.double().square().mean().sqrt()) / 1000:.2g}"


def _sum(terms: list[tuple[str, float]]) -> str:
    """``0.5 * a - 2 * b``, in the order of ``terms``."""
    text = ""
    for term, slope in terms:
        sign = "-" if slope < 0 else "+"
        text += f" {sign} {abs(slope):.{DIGITS}g} * {term}" if text else f"{slope:.{DIGITS}g} * {term}"
    return text
