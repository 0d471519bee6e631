"""The mutants of a file, by cosmic-ray's operators with one change each, and by our own, which leaves out a call."""

import ast
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import parso
from cosmic_ray.ast import get_ast
from cosmic_ray.mutating import mutate_code
from cosmic_ray.operators.operator import Example, Operator
from cosmic_ray.plugins import get_operator

SWAPS = {
    "Binary": "Add_Sub Sub_Add Mul_Div Div_Mul FloorDiv_Mul Mod_Mul Pow_Mul BitOr_BitAnd BitAnd_BitOr BitXor_BitAnd",
    "Comparison": "Eq_NotEq NotEq_Eq Lt_LtE LtE_Lt Gt_GtE GtE_Gt Is_IsNot IsNot_Is",
    "Unary": "USub_UAdd Delete_Not Invert_Not",
}
"""One change for each operator, because the same test would kill all eleven for a ``+``."""
OTHERS = (
    "AddNot ReplaceTrueWithFalse ReplaceFalseWithTrue ReplaceAndWithOr ReplaceOrWithAnd ReplaceBreakWithContinue "
    "ReplaceContinueWithBreak ExceptionReplacer NumberReplacer RemoveDecorator ZeroIterationForLoop"
)


class LeaveOutCall(Operator):
    """Replace a statement that is a call, such as ``write(...)``, by ``pass``."""

    def mutation_positions(self, node: Any) -> Iterator[Any]:
        """Each such statement, once."""
        if node.type == "simple_stmt" and node.children[0].type in ("atom_expr", "power"):
            last = node.children[0].children[-1]
            if last.type == "trailer" and last.children[0].value == "(":
                yield node.start_pos, node.end_pos

    def mutate(self, node: Any, index: int) -> Any:
        """The statement ``pass`` in its place."""
        nothing = parso.parse("pass\n").children[0]
        nothing.children[0].prefix = node.children[0].get_first_leaf().prefix
        node.children[0] = nothing.children[0]
        node.children[0].parent = node
        return node

    @classmethod
    def examples(cls) -> tuple[Example, ...]:
        """Examples for cosmic-ray's own checks."""
        return (Example("f()\n", "pass\n"),)


def operators() -> dict[str, Operator]:
    """All operators by name."""
    names = [f"Replace{kind}Operator_{swap}" for kind, swaps in SWAPS.items() for swap in swaps.split()]
    return {name: get_operator(f"core/{name}")() for name in [*names, *OTHERS.split()]} | {
        "LeaveOutCall": LeaveOutCall()
    }


@dataclass(frozen=True)
class Mutant:
    """A file with one change."""

    path: Path
    operator: str
    code: str
    """The whole file."""
    line: int
    """The first changed line, from 1, in the original file."""
    was: str
    now: str
    """The changed lines, without their indentation."""


class Place(NamedTuple):
    """A place where an operator finds something to change."""

    path: Path
    operator: str
    occurrence: int


def places(paths: Sequence[Path]) -> list[Place]:
    """All places in these files; some yield no mutant, see :func:`made`."""
    found = []
    for path in paths:
        tree = get_ast(path.read_text())
        for name, operator in operators().items():
            found += [Place(path, name, number) for number in range(_count(tree, operator))]
    return found


def made(place: Place) -> Mutant | None:
    """The mutant of a place; None if the operator cannot make it, or if only an annotation or a text would change."""
    source = place.path.read_text()
    try:
        code = mutate_code(source, operators()[place.operator], place.occurrence)
        if code is None or _meaning(code) == _meaning(source):
            return None
    except (SyntaxError, AttributeError):  # such as an exception after `except` that is no name
        return None
    return Mutant(place.path, place.operator, code, *_changed(source, code))


def _count(node: Any, operator: Operator) -> int:
    here = sum(1 for _ in operator.mutation_positions(node))
    return here + sum(_count(child, operator) for child in getattr(node, "children", ()))


class _Bare(ast.NodeTransformer):
    """Removes the annotations of functions, and texts that stand alone."""

    def visit_arg(self, node: ast.arg) -> ast.arg:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else self.generic_visit(node)


def _meaning(source: str) -> str:
    return ast.dump(_Bare().visit(ast.parse(source)))


def _changed(source: str, code: str) -> tuple[int, str, str]:
    old, new = source.splitlines(), code.splitlines()
    changes = [c for c in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes() if c[0] != "equal"]
    first, last = changes[0], changes[-1]
    text = [" ".join(" ".join(lines).split()) for lines in (old[first[1] : last[2]], new[first[3] : last[4]])]
    return first[1] + 1, text[0], text[1]


class Statements:
    """Finds the lines of a file's statements, to find the tests that run them."""

    def __init__(self, source: str):
        self._tree = ast.parse(source)

    @cached_property
    def _ranges(self) -> list[tuple[int, int, bool]]:
        """First and last line of each statement (of a compound one: its head), and whether its import runs it."""
        found = []

        def walk(node: ast.AST, imported: bool) -> None:
            for child in ast.iter_child_nodes(node):
                inside = imported and not isinstance(node, ast.FunctionDef | ast.Lambda)
                if isinstance(child, ast.stmt):
                    decorators = [d.lineno for d in getattr(child, "decorator_list", ())]
                    body = getattr(child, "body", None)
                    last = (
                        max(child.lineno, body[0].lineno - 1) if isinstance(body, list) and body else child.end_lineno
                    )
                    found.append((min([child.lineno, *decorators]), last or child.lineno, inside))
                walk(child, inside)

        walk(self._tree, True)
        return found

    def around(self, line: int) -> tuple[range, bool]:
        """The lines of the smallest statement at ``line``, and whether importing the file runs it."""
        fitting = [r for r in self._ranges if r[0] <= line <= r[1]]
        first, last, imported = min(fitting, key=lambda r: r[1] - r[0], default=(line, line, True))
        return range(first, last + 1), imported
