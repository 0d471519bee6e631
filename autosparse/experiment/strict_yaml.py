"""YAML without its surprises."""

import re
from typing import Any

import yaml

from autosparse.errors import AutosparseError

MOST_CHARACTERS = 250_000
MOST_VALUES = 50_000


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that reads 1e-3 as a number and refuses a key given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                shown = repr(key.value) if isinstance(key, yaml.ScalarNode) else "of several parts"
                raise yaml.MarkedYAMLError(problem=f"key {shown} is not text: quote it", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def parse_yaml(text: str, source: str) -> Any:
    """Parse YAML strictly with the safe loader. Aliases cannot make a small text large.

    :raises AutosparseError: if the text is anything else.
    """
    if len(text) > MOST_CHARACTERS:
        raise AutosparseError(f"{source} has more than {MOST_CHARACTERS:,} characters: an experiment is a few pages")
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return None
        if _extent(node, {}) > MOST_VALUES:
            raise AutosparseError(f"{source} has more than {MOST_VALUES:,} values, aliases written out: split it up")
        return loader.construct_document(node)
    except AutosparseError:
        raise
    except yaml.YAMLError as error:
        raise AutosparseError(f"{source} is not YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise AutosparseError(f"{source} is nested too deeply for an experiment") from error
    except Exception as error:
        # PyYAML raises others for a value that does not fit its tag, such as a date without a day
        raise AutosparseError(f"{source} is not YAML: a value is not what its form says: {error}") from error


def _extent(node: yaml.Node, known: dict[yaml.Node, int]) -> int:
    """How many values a node stands for, with those behind aliases counted as often as they appear.

    :raises yaml.YAMLError: for one that holds itself.
    """
    if node not in known:
        known[node] = 0
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = parts if isinstance(node, yaml.CollectionNode) else ()
        known[node] = 1 + sum(_extent(part, known) for part in inner)
    elif known[node] == 0:
        raise yaml.MarkedYAMLError(problem="a circular anchor", problem_mark=node.start_mark)
    return known[node]
