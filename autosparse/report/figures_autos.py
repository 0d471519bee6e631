"""Figures of survival: what IRP found, and what a scorer learned from it, in one shot or for each state of IRP."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from autosparse.report.axes import spread_axis
from autosparse.report.collect_autos import IrpRun
from autosparse.report.style import INK, WARM, layer_colors, shown, small_panels
from autosparse.report.tips import tell
from autosparse.results.samples import Sample

JITTER = 0.35
"""Jitter, as a share of the distance between two survival scores: enough to see how many points share a score."""
BINS = 25
ENDS = (0.005, 0.995)
"""Quantiles of a feature between which it is drawn."""
NOT_FEATURES = frozenset({"state", "survival", "predicted"})
DRAWN = {
    "param": ("(a) initial weight", r"$\theta_0$"),
    "snip": ("(b) SNIP", "SNIP score / largest"),
    "grasp": ("(b) GraSP", "GraSP score / largest absolute"),
}
"""Titles and labels of what survival is drawn against, by column; a network may not allow SNIP or GraSP."""


def survival_figure(irp: IrpRun, sample: Sample) -> Figure:
    """Survival score against theta_0, SNIP and GraSP score of the weights at initialisation (AutoSparse Figure 1)."""
    figure = Figure(figsize=(9.2, 4.0), layout="constrained")
    drawn = {name: texts for name, texts in DRAWN.items() if name in sample.columns}
    panels = figure.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    survival = _jittered(sample.columns["survival"], irp.iterations)
    for axes, (name, (title, label)) in zip(panels, drawn.items(), strict=True):
        x = sample.columns[name] if name == "param" else _normalised(sample.columns[name])
        _cloud(axes, sample, x, survival)
        _mean_line(axes, x, sample)
        axes.set_xlabel(label, parse_math=True)
        axes.set_title(title)
        if name != "param":
            spread_axis(axes, x)
    panels[0].set_ylabel("survival score")
    _legend(figure, sample)
    return figure


def prediction_figure(sample: Sample) -> Figure:
    """True and predicted survival score against theta_0 and g_0, before and after the fit (AutoSparse Figure 4)."""
    truth = sample.columns["survival"]
    steps = np.unique(truth)
    levels = round(1 / np.diff(steps).min()) if len(steps) > 1 else 1
    top = max(1.05, float(np.quantile(sample.columns["predicted"], 0.999)))
    drawn = {"ground truth: survival score": _jittered(truth, levels)}
    if "untrained" in sample.columns:
        drawn["before training"] = sample.columns["untrained"]
    drawn["prediction"] = sample.columns["predicted"]
    figure = Figure(figsize=(9.2, 6.8), layout="constrained")
    panels = figure.subplots(2, len(drawn), sharex="row")
    for row, name, label in zip(panels, ("param", "grad"), (r"$\theta_0$", r"$g_0$"), strict=True):
        for axes, (title, y) in zip(row, drawn.items(), strict=True):
            _cloud(axes, sample, sample.columns[name], y)
            axes.set_xlabel(label, parse_math=True)
            axes.set_title(title)
            if title != "before training":  # scores before training have another scale
                _mean_line(axes, sample.columns[name], sample)
                if axes is not row[0]:
                    axes.sharey(row[0])
                axes.set_ylim(-0.05, top)
        row[0].set_ylabel("score")
    spread_axis(panels[1, 0], sample.columns["grad"])
    _legend(figure, sample)
    return figure


def states_figure(sample: Sample) -> Figure:
    """Mean survival score and mean prediction by each feature, for the weights that are left in each state of IRP.

    Least squares brings the predictions onto the scale of the survival scores, because a ranking has no scale.
    """
    names = [name for name in sample.columns if name not in NOT_FEATURES]
    figure, panels = small_panels(names, room=0.5)
    truth, predicted = sample.columns["survival"], _scaled(sample.columns["predicted"], sample.columns["survival"])
    for axes, name in zip(panels, names, strict=True):
        x = sample.columns[name]
        _draw_means(axes, x, truth, INK, "survival score")
        _draw_means(axes, x, predicted, WARM[0], "prediction")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure


def _cloud(axes: Axes, sample: Sample, x: np.ndarray, y: np.ndarray) -> None:
    """Draw points in random order, so that no layer hides another."""
    order = np.random.default_rng(0).permutation(len(x))
    colors = np.array(layer_colors(len(sample.layers)))[sample.layer]
    alpha = float(np.clip(3000 / len(x), 0.08, 0.5))
    axes.scatter(x[order], y[order], s=5, c=colors[order], alpha=alpha, linewidths=0)


def _mean_line(axes: Axes, x: np.ndarray, sample: Sample) -> None:
    """Draw the network's mean survival score by x."""
    centres, means = _binned_means(x, sample.columns["survival"], sample.weight)
    axes.plot(centres, means, color="white", linewidth=3.5)
    axes.plot(centres, means, color=INK, linewidth=1.5)
    for centre, mean in zip(centres, means, strict=True):
        tell(axes, centre, mean, "mean survival score", f"{mean:.3f} near {centre:.3g}")


def _draw_means(axes: Axes, x: np.ndarray, y: np.ndarray, color: str, label: str) -> None:
    """Draw the means of y by x; a feature with few values has a point at each."""
    low, high = np.quantile(x, ENDS)
    inside = (x >= low) & (x <= high)
    x, y = x[inside], y[inside]
    centres, means = _binned_means(x, y, np.ones(len(x)))
    axes.plot(centres, means, color=color, linewidth=1.5, marker="o" if len(centres) < 8 else "", label=label)
    for centre, mean in zip(centres, means, strict=True):
        tell(axes, centre, mean, label, f"mean {mean:.3f} near {centre:.3g}")


def _binned_means(x: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted means of x and of y, (bins,) each, in bins of x with about equal numbers of points."""
    edges = np.unique(np.quantile(x, np.linspace(0, 1, BINS + 1)))
    index = np.digitize(x, edges[1:-1])
    mass = np.bincount(index, weight)
    filled = mass > 0
    centres, means = (np.bincount(index, weight * values)[filled] / mass[filled] for values in (x, y))
    return centres, means


def _scaled(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if predicted.std() == 0:
        return np.full_like(predicted, truth.mean())
    slope, intercept = np.polyfit(predicted, truth, 1)
    return slope * predicted + intercept


def _jittered(survival: np.ndarray, levels: int) -> np.ndarray:
    return survival + np.random.default_rng(1).uniform(-JITTER, JITTER, len(survival)) / levels


def _normalised(score: np.ndarray) -> np.ndarray:
    largest = np.abs(score).max(initial=0)
    return score / largest if largest > 0 else score


def _legend(figure: Figure, sample: Sample) -> None:
    colors = layer_colors(len(sample.layers))
    handles = [Line2D([], [], color=color, marker="o", linestyle="", markersize=6) for color in colors]
    labels = [shown(layer) for layer in sample.layers]
    handles.append(Line2D([], [], color=INK, linewidth=1.5))
    labels.append("mean survival score")
    figure.legend(handles, labels, loc="outside lower center", ncols=5, handletextpad=0.4, columnspacing=1.5)
