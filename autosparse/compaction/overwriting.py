"""Operations in place, which change a tensor under all of its names."""

from torch import fx

from autosparse.compaction.tracing import NotFollowed, Traced


def refuse_overwriting(traced: Traced) -> None:
    """Follow an operation in place only if nobody reads afterwards what it has changed under another name.

    :raises NotFollowed: naming an operation whose change is read so.
    """
    place = {node: index for index, node in enumerate(traced.graph.nodes)}
    for node in traced.graph.nodes:
        if not _is_in_place(traced, node):
            continue
        for name in _names_before(traced, node, place):
            if any(place[user] > place[node] for user in name.users):
                raise NotFollowed(f"{node.name!r} overwrites a tensor that is read again")


def _names_before(traced: Traced, node: fx.Node, place: dict[fx.Node, int]) -> list[fx.Node]:
    """The tensor that ``node`` overwrites, and those before it that lie in the same memory."""
    changed = node.all_input_nodes[0]
    memory = traced.storages.get(changed)
    aliases = [other for other, found in traced.storages.items() if found == memory and place[other] < place[node]]
    return [changed, *aliases]


def _is_in_place(traced: Traced, node: fx.Node) -> bool:
    if not node.all_input_nodes:
        return False
    name = getattr(node.target, "__name__", str(node.target))
    is_method = node.op == "call_method" and name.endswith("_") and not name.startswith("__")
    is_operator = node.op == "call_function" and name in ("iadd", "isub", "imul", "itruediv")
    says_so = getattr(traced.module(node), "inplace", node.kwargs.get("inplace", False))
    return is_method or is_operator or bool(says_so)
