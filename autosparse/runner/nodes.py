"""The nodes of the connected Ray cluster that jobs may go to: those with the labels that the user asks for."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from autosparse.errors import AutosparseError

NAME = r"[a-zA-Z0-9]([a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
LABEL = re.compile(rf"(?P<key>([a-zA-Z0-9.-]{{1,253}}/)?{NAME})=(?P<value>{NAME})")
"""A label in the syntax of ``ray start --labels``, which is that of Kubernetes; its value must not be empty."""
OPTION = "--label-selector"


def labels_from(given: Iterable[str]) -> dict[str, str]:
    """The labels that ``KEY=VALUE`` texts name.

    :raises AutosparseError: if one is not a label, or if a key has two values.
    """
    found: dict[str, str] = {}
    for text in given:
        label = LABEL.fullmatch(text)
        if label is None:
            raise AutosparseError(f"{OPTION} {text!r} is not a label: write KEY=VALUE, as in `ray start --labels`")
        if found.setdefault(label["key"], label["value"]) != label["value"]:
            raise AutosparseError(f"{OPTION} gives {label['key']!r} two values: no node has both")
    return found


def shown(labels: Mapping[str, str]) -> str:
    """Labels as the user writes them."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def alive_nodes(labels: Mapping[str, str]) -> list[dict[str, Any]]:
    """The nodes that are alive and have all of ``labels``, as ``ray.nodes()`` has them."""
    import ray  # here: it takes seconds, and reads its variables when it is imported

    return [node for node in ray.nodes() if node["Alive"] and labels.items() <= node["Labels"].items()]


def resources(labels: Mapping[str, str]) -> Mapping[str, float]:
    """The sums of the resources of the nodes that have all of ``labels``."""
    import ray

    if not labels:
        return dict(ray.cluster_resources())
    found: Counter[str] = Counter()
    for node in alive_nodes(labels):
        found.update(node["Resources"])
    return found


def unmet(labels: Mapping[str, str]) -> str:
    """A line that says that no node has all of ``labels``, and which labels there are; empty if one has them."""
    if not labels or alive_nodes(labels):
        return ""
    there = {shown(own) for node in alive_nodes({}) if (own := _given(node["Labels"]))}
    has = f"nodes have {' and '.join(sorted(there))}" if there else "no node has any"
    return f"no node has the label{'s' * (len(labels) > 1)} {shown(labels)} ({has}): jobs wait for one to join"


def _given(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without those that Ray gives every node."""
    return {key: value for key, value in labels.items() if not key.startswith("ray.io/node")}
