"""The places of a file that can be broken, and what each is changed into. Pure: reads text, runs nothing.

A *green* mutant turns one FAIL or INCONCLUSIVE into PASS. A *random* mutant negates a condition, moves the boundary
of a comparison, changes a constant, drops a filter, an operand or a statement, or returns nothing.
"""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType

GREEN = "green"
BAD = ("FAIL", "ERROR", "INCONCLUSIVE")  # of Status
OUTCOME = "tuple[bool | None, str]"  # what functions return from which a Finding is made
FINDINGS = "findings"  # the module that has Finding(subject, ok, …): ok is True, False or None
_COMPARE: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
_OPPOSITE = {"min": "max", "max": "min", "any": "all", "all": "any"}


@dataclass(eq=False)
class Source:
    """A file's text and tree; ``parents`` is, by node, where it hangs: (parent, field, position or None)."""

    path: Path
    name: str  # relative to the root
    text: str
    tree: ast.Module
    parents: dict[ast.AST, tuple[ast.AST, str, int | None]] = field(default_factory=dict)

    @property
    def module(self) -> str:
        return self.name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """The node's parents, nearest first; the module itself is left out."""
        while (node := self.parents[node][0]) is not self.tree:
            yield node

    def code(self) -> CodeType:
        return compile(self.tree, str(self.path), "exec", dont_inherit=True)


def read(root: Path, path: Path) -> Source:
    text = path.read_text(encoding="utf-8")
    source = Source(path, path.relative_to(root).as_posix(), text, ast.parse(text))
    for parent in ast.walk(source.tree):
        for name, value in ast.iter_fields(parent):
            for position, node in enumerate(value) if isinstance(value, list) else [(None, value)]:
                if isinstance(node, ast.AST):
                    source.parents[node] = (parent, name, position)
    return source


@dataclass(frozen=True, eq=False)
class Mutant:
    """One change: ``node`` of ``source`` becomes ``new``."""

    source: Source
    kind: str
    node: ast.AST
    new: ast.AST

    @property
    def line(self) -> int:
        return self.node.lineno if hasattr(self.node, "lineno") else self._statement.lineno

    @property
    def _statement(self) -> ast.stmt:
        nodes = [self.node, *self.source.above(self.node)]
        return next(node for node in nodes if isinstance(node, ast.stmt))

    @property
    def lines(self) -> range:
        """The lines of the statement, without the body that it may have, or of the lambda around the node."""
        nodes = [self.node, *self.source.above(self.node)]
        nearest = next(node for node in nodes if isinstance(node, (ast.stmt, ast.Lambda)))
        body = getattr(nearest, "body", None)
        last = body[0].lineno - 1 if isinstance(body, list) and body else nearest.end_lineno or nearest.lineno
        return range(nearest.lineno, max(nearest.lineno, last) + 1)

    @property
    def names(self) -> tuple[str, ...]:
        """What the statement at the top of the module binds: the class, the function or the constants."""
        top = [self.node, *self.source.above(self.node)][-1]
        if isinstance(top, (ast.ClassDef, ast.FunctionDef)):
            return (top.name,)
        targets = top.targets if isinstance(top, ast.Assign) else [getattr(top, "target", None)]
        return tuple(
            node.id for each in targets if each for node in ast.walk(each) if isinstance(node, ast.Name)
        )

    @property
    def where(self) -> str:
        """The function or class that it stands in, as in ``Case.from_json``; "" at the top of the module."""
        around = [node for node in self.source.above(self.node) if hasattr(node, "name")]
        return ".".join(str(node.name) for node in reversed(around))  # type: ignore[attr-defined]

    @property
    def change(self) -> str:
        """``value >= floor → value > floor``."""
        texts = [" ".join(ast.unparse(node).split()) for node in (self.node, self.new)]
        same = next((at for at, pair in enumerate(zip(*texts, strict=False)) if pair[0] != pair[1]), 0)
        return " → ".join(_short(text, same) for text in texts)

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What names it in the list of equivalents, whatever line it has moved to."""
        text = self.source.text.splitlines()[self.line - 1].strip()
        return self.source.name, self.where, text, self.change

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line} {self.where or '(module)'}: {self.change}"

    def code(self) -> CodeType:
        """The whole module, compiled with the change in it; the lines stay where they are."""
        parent, name, position = self.source.parents[self.node]
        new = ast.fix_missing_locations(ast.copy_location(copy.deepcopy(self.new), self.node))
        _put(parent, name, position, new)
        try:
            return self.source.code()
        finally:
            _put(parent, name, position, self.node)


def _put(parent: ast.AST, name: str, position: int | None, node: ast.AST) -> None:
    if position is None:
        setattr(parent, name, node)
    else:
        getattr(parent, name)[position] = node


def _short(text: str, begin: int) -> str:
    """At most 60 characters, the one at ``begin`` among them."""
    cut = max(0, min(begin - 20, len(text) - 60))
    return f"{'…' if cut else ''}{text[cut : cut + 60]}{'…' if cut + 60 < len(text) else ''}"


def green(source: Source) -> list[Mutant]:
    """Every FAIL and INCONCLUSIVE of a file, turned into PASS."""
    found = {}
    finds = any(
        isinstance(node, ast.ImportFrom)
        and (node.module or "").endswith(FINDINGS)
        and any(alias.name == "Finding" for alias in node.names)
        for node in source.tree.body
    ) or source.name.endswith(f"{FINDINGS}.py")
    for node in ast.walk(source.tree):
        for place in _not_passed(node, finds):
            new = (
                _status("PASS") if isinstance(place, ast.Attribute) and _is_bad(place) else ast.Constant(True)
            )
            found[place] = Mutant(source, GREEN, place, new)
    return sorted(found.values(), key=lambda each: each.line)


def _not_passed(node: ast.AST, finds: bool) -> Iterator[ast.expr]:
    """Where a status, or the outcome of a finding, says something else than passed."""
    if isinstance(node, ast.Attribute) and _is_bad(node):
        yield node
    elif (
        finds and isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Finding"
    ):
        given = [each.value for each in node.keywords if each.arg == "ok"] + node.args[1:2]
        for each in given:
            if not isinstance(each, ast.Starred):
                yield from _branches(each)
    elif finds:
        yield from (place for each in _outcomes(node) for place in _branches(each))
    if isinstance(node, ast.FunctionDef) and node.returns and ast.unparse(node.returns) == OUTCOME:
        for each in ast.walk(node):
            if isinstance(each, ast.Return) and isinstance(each.value, ast.Tuple):
                yield from _branches(each.value.elts[0])


def _outcomes(node: ast.AST) -> Iterator[ast.expr]:
    """What a finding is changed to by ``replace(found, ok=…)``, and what is kept as ``ok`` until it is made."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "replace":
        yield from (each.value for each in node.keywords if each.arg == "ok")
    elif isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        for target in targets:
            pairs = [(target, node.value)]
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                pairs = list(zip(target.elts, node.value.elts, strict=False))
            yield from (value for name, value in pairs if isinstance(name, ast.Name) and name.id == "ok")


def _branches(outcome: ast.expr) -> Iterator[ast.expr]:
    """The parts of an outcome that can be anything but True."""
    if isinstance(outcome, ast.IfExp):
        yield from _branches(outcome.body)
        yield from _branches(outcome.orelse)
    elif not (isinstance(outcome, ast.Constant) and outcome.value is True) and not _is_bad(outcome):
        yield outcome


def _is_bad(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and node.attr in BAD
        and isinstance(node.value, ast.Name)
        and node.value.id == "Status"
    )


def _says(node: ast.expr) -> bool:
    """Whether it is a text: what a finding says beside its outcome."""
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _status(name: str) -> ast.expr:
    return ast.Attribute(ast.Name("Status", ast.Load()), name, ast.Load())


def random(source: Source) -> list[Mutant]:
    """Every other change that can be made to a file; a run draws some of them."""
    left = set(_left_alone(source.tree))
    found = []
    for node in ast.walk(source.tree):
        if node in left:
            continue
        for kind, place, new in _changes(node):
            found.append(Mutant(source, kind, place, new))
    return sorted(found, key=lambda each: each.line)


def _left_alone(tree: ast.Module) -> Iterator[ast.AST]:
    """Types, decorators, imports, and texts that only people read."""
    for node in ast.walk(tree):
        parts = [getattr(node, "annotation", None), getattr(node, "returns", None)]
        parts += getattr(node, "decorator_list", [])
        if isinstance(node, (ast.JoinedStr, ast.Raise, ast.Assert)):
            parts.append(node)
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            parts.append(node)
        for part in parts:
            if part is not None:
                yield from ast.walk(part)


Change = tuple[str, ast.AST, ast.AST]


def _changes(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Compare):
        yield from _compared(node)
    elif isinstance(node, ast.BoolOp):
        yield from _joined(node)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield "not", node, node.operand
    elif (
        isinstance(node, ast.BinOp)
        and type(node.op) in _ARITHMETIC
        and not any(map(_says, (node.left, node.right)))
    ):
        yield "arithmetic", node, ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.Constant):
        yield from ((("constant", node, ast.Constant(value))) for value in _other_values(node.value))
    elif isinstance(node, (ast.If, ast.While, ast.IfExp)) and not isinstance(
        node.test, (ast.Compare, ast.UnaryOp)
    ):
        yield "condition", node.test, ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.comprehension):
        yield from (("filter", each, ast.Constant(True)) for each in node.ifs)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _OPPOSITE:
        yield "opposite", node.func, ast.Name(_OPPOSITE[node.func.id], ast.Load())
    else:
        yield from _stated(node)


def _compared(node: ast.Compare) -> Iterator[Change]:
    for position, old in enumerate(node.ops):
        for new in _COMPARE[type(old)]:
            ops = [*node.ops[:position], new(), *node.ops[position + 1 :]]
            yield "compare", node, ast.Compare(node.left, ops, node.comparators)


def _joined(node: ast.BoolOp) -> Iterator[Change]:
    yield "and/or", node, ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    for position in range(len(node.values)):
        rest = [*node.values[:position], *node.values[position + 1 :]]
        yield "operand", node, ast.BoolOp(node.op, rest) if len(rest) > 1 else rest[0]


def _other_values(value: object) -> list[object]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1]
    return [value * 2] if isinstance(value, float) and value else []


def _stated(node: ast.AST) -> Iterator[Change]:
    if isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "return", node.value, ast.Constant(None)
    elif isinstance(node, (ast.AugAssign, ast.Continue)):
        yield "statement", node, ast.Pass()
    elif isinstance(node, ast.Expr) and isinstance(node.value, (ast.Yield, ast.YieldFrom, ast.Call)):
        # the one yield of a generator stays a yield: a function that is no generator any more dies of itself
        new = (
            ast.Pass()
            if isinstance(node.value, ast.Call)
            else ast.Expr(ast.YieldFrom(ast.Tuple([], ast.Load())))
        )
        yield "statement", node, new
