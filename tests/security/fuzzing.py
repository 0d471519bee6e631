"""Anything for a loader to read: it gives a result or an AutosparseError, no other exception, no hang, no flood."""

import contextlib

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from autosparse.errors import AutosparseError

few = settings(max_examples=60, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)

DAMAGE = (
    st.lists(st.integers(0, 2**16), max_size=4),
    st.lists(st.integers(1, 255), min_size=4, max_size=4),
    st.none() | st.integers(0, 4000),
)


def refused_or_fine(load, *given):
    with contextlib.suppress(AutosparseError):
        load(*given)


def damage(content, at, bits, cut):
    for place, bit in zip(at, bits, strict=False):
        place %= len(content)
        content = content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]
    return content[:cut] if cut is not None else content
