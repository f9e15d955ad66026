"""Python source -> the AWS calls in it: which operations of which clients, with file and line.

No code is run. Every module that the entry module imports from its own folders is read, every function in it counts,
and the order of statements doesn't: a name may be anything that is ever assigned to it (values.py). Modules are read
again until nothing new is found. What can't be followed is a problem to report, not a call left out.
"""

import ast
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from checks.calls import boto
from checks.calls.expressions import Expressions
from checks.calls.modules import Code, Module, Unreadable, load
from checks.calls.values import NOTHING, OUTSIDE, Class, External, Function, Imported, Scope, Values

_PASSES = 50


@dataclass(frozen=True, order=True)
class Place:
    """A line of a file."""

    path: Path
    line: int


@dataclass(frozen=True, order=True)
class Call:
    """An operation of a boto3 client or, without a `service`, what a library does on its own: its path."""

    place: Place
    service: str
    operation: str


@dataclass(frozen=True, order=True)
class Problem:
    """What can't be resolved, and why."""

    place: Place
    message: str


@dataclass(frozen=True)
class Reading:
    """All that was found in one workload's code."""

    calls: frozenset[Call]
    problems: frozenset[Problem]


def read(code: Code) -> Reading:
    """Every call of AWS in `code`. Never raises for what the source looks like: that is a problem in the answer."""
    reader = _Reader(code)
    try:
        reader.run()
    except RecursionError:
        reader.problems.add(Problem(reader.here, "this code is nested too deeply to be read"))
    return Reading(frozenset(reader.calls), frozenset(reader.problems))


class _Reader(Expressions):
    """Reads statements; expressions are its base class's."""

    def __init__(self, code: Code) -> None:
        super().__init__()
        self.code = code
        self.calls: set[Call] = set()
        self.problems: set[Problem] = set()
        self.modules: dict[str, Module | None] = {}
        self.store: defaultdict[tuple[object, str], set[object]] = defaultdict(set)
        self.grown = self.last = False
        self.here = Place(Path(code.entry), 1)
        self._visitors: dict[type[ast.AST], Callable[..., None]] = {
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.ClassDef: self._class,
            ast.Import: self._import,
            ast.ImportFrom: self._import_from,
            ast.Assign: self._assign,
            ast.AnnAssign: self._annotated,
            ast.AugAssign: self._augmented,
            ast.For: self._for,
            ast.AsyncFor: self._for,
            ast.Return: self._return,
            ast.ExceptHandler: self._handler,
            ast.withitem: self._with,
        }

    def run(self) -> None:
        """Read until nothing new is found, and once more to report what then remains unknown."""
        if self.module(self.code.entry) is None and not self.problems:
            self.problems.add(Problem(self.here, f"there is no {self.code.entry} among the files of this code"))
        for _ in range(_PASSES):
            self.grown = False
            self._pass()
            if not self.grown:
                break
        else:
            self.problems.add(Problem(self.here, "this code is too entangled to be followed"))
        self.last = True
        self._pass()

    def _pass(self) -> None:
        self.forget()
        for module in [each for each in self.modules.values() if each]:
            self.visit(module.tree.body, Scope(module))
        for handler in self.known(self.modules.get(self.code.entry), self.code.handler):
            if isinstance(handler, Function):  # the event and the context: data
                for name in handler.parameters[:2]:
                    self.learn(handler, name, frozenset({OUTSIDE}))

    # What expressions ask of the reader

    def module(self, name: str) -> Module | None:
        """A module of this code, read when it is first asked for."""
        if name not in self.modules:
            try:
                self.modules[name] = load(self.code, name)
                self.grown = True
            except Unreadable as error:
                self.modules[name] = None
                path = self.code.file(name) or Path(name)
                self.problems.add(Problem(Place(path, error.line), f"this file can't be read: {error}"))
        return self.modules[name]

    def known(self, owner: object, name: str) -> Values:
        """All that `name` of a module, function or class may be."""
        return frozenset(self.store.get((owner, name), ()))  # type: ignore[arg-type]

    def learn(self, owner: object, name: str, values: Values) -> None:
        """Add to what a name may be."""
        held = self.store[owner, name]
        if not values <= held:
            held |= values
            self.grown = True

    def call(self, node: ast.AST, scope: Scope, service: str, operation: str) -> None:
        """Note a call, and of a transaction each kind of write in it."""
        for kind in _writes(self.called.get(node)) if operation == "TransactWriteItems" else [""]:
            self.calls.add(Call(_place(node, scope), service, operation + kind))

    def problem(self, node: ast.AST, scope: Scope, message: str) -> None:
        """Note what can't be resolved, once everything that can be is."""
        if self.last:
            self.problems.add(Problem(_place(node, scope), message))

    def unknown(self, node: ast.AST, scope: Scope, name: str) -> None:
        """A problem when some client of AWS has a method of this name, in two words or more: others are too common."""
        if self.last and "_" in name and boto.any_operation(name):
            self.problem(node, scope, f"calls {name} of something unknown: if it is a client, say where it is made")

    def imported(self, name: str) -> Values:
        """What `import name` gives: this code's own module, or a library's."""
        if not self.code.holds(name):
            return frozenset({External(name)})
        self.module(name)
        return frozenset({Imported(name)})

    # Statements

    def visit(self, nodes: Iterable[ast.AST], scope: Scope) -> None:
        """Read statements, and the expressions in them."""
        for node in nodes:
            if isinstance(node, ast.expr):
                self.evaluate(node, scope)
            elif visitor := self._visitors.get(type(node)):
                self.here = _place(node, scope)
                visitor(node, scope)
            else:
                self.visit(ast.iter_child_nodes(node), scope)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, scope: Scope) -> None:
        function = self.function(node, scope)
        inside = Scope(function, scope)
        self.visit(node.body, inside)
        values: Values = frozenset({function})
        for decorator in node.decorator_list:
            values |= self.apply(decorator, self.evaluate(decorator, scope), [frozenset({function})], {}, scope)
        self.assign(ast.Name(node.name), values, scope)

    def _class(self, node: ast.ClassDef, scope: Scope) -> None:
        made = self.class_(node, scope)
        self.visit(node.body, Scope(made, scope))
        self.assign(ast.Name(node.name), frozenset({made}), scope)
        self.visit(node.decorator_list, scope)

    def _import(self, node: ast.Import, scope: Scope) -> None:
        for alias in node.names:
            values = self.imported(alias.name)
            if alias.asname is None and "." in alias.name:
                values = self.imported(alias.name.split(".")[0])
            self.assign(ast.Name(alias.asname or alias.name.split(".")[0]), values, scope)

    def _import_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        package = scope.module.package.split(".")
        above = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
        source = ".".join(part for part in (above, node.module) if part)
        for alias in node.names:
            if alias.name == "*":
                self._import_all(source, scope)
            else:
                values = self.member_of_module(source, alias.name) if source else self.imported(alias.name)
                self.assign(ast.Name(alias.asname or alias.name), values, scope)

    def _import_all(self, source: str, scope: Scope) -> None:
        module = self.module(source) if self.code.holds(source) else None
        if module:
            for owner, name in list(self.store):
                if owner is module:
                    self.assign(ast.Name(name), self.known(module, name), scope)

    def _assign(self, node: ast.Assign, scope: Scope) -> None:
        values = self.evaluate(node.value, scope)
        for target in node.targets:
            self.assign(target, values, scope)

    def _annotated(self, node: ast.AnnAssign, scope: Scope) -> None:
        owner = scope.owner
        if isinstance(owner, Class) and isinstance(node.target, ast.Name) and node.target.id not in owner.fields:
            owner.fields.append(node.target.id)
        if node.value:
            self.assign(node.target, self.evaluate(node.value, scope), scope)

    def _augmented(self, node: ast.AugAssign, scope: Scope) -> None:
        self.assign(node.target, self.evaluate(node.value, scope), scope)

    def _for(self, node: ast.For | ast.AsyncFor, scope: Scope) -> None:
        self.assign(node.target, self.evaluate(node.iter, scope), scope)
        self.visit([*node.body, *node.orelse], scope)

    def _return(self, node: ast.Return, scope: Scope) -> None:
        if node.value:
            self.evaluate(node.value, scope)

    def _handler(self, node: ast.ExceptHandler, scope: Scope) -> None:
        if node.name:
            self.assign(ast.Name(node.name), frozenset({OUTSIDE}), scope)
        self.visit([node.type] if node.type else [], scope)
        self.visit(node.body, scope)

    def _with(self, node: ast.withitem, scope: Scope) -> None:
        values = self.evaluate(node.context_expr, scope)
        for enter in ("__enter__", "__aenter__"):
            values |= self.call_method(node.context_expr, values, enter, scope)
        if node.optional_vars:
            self.assign(node.optional_vars, values, scope)

    def assign(self, target: ast.expr, values: Values, scope: Scope) -> None:
        """Let a target be any of `values`; what is in a container counts as the container itself."""
        if isinstance(target, ast.Name):
            self.learn(self.owner_of(target.id, scope), target.id, values)
        elif isinstance(target, ast.Tuple | ast.List):
            for each in target.elts:
                self.assign(each, values, scope)
        elif isinstance(target, ast.Starred):
            self.assign(target.value, values, scope)
        elif isinstance(target, ast.Attribute):
            for holder in self.evaluate(target.value, scope):
                owner = self.owner_of_attributes(holder)
                if owner is not None:
                    self.learn(owner, target.attr, values)
        elif isinstance(target, ast.Subscript):
            self.evaluate(target.slice, scope)
            if values - {OUTSIDE} != NOTHING:
                self.assign(target.value, values, scope)


def _place(node: ast.AST, scope: Scope) -> Place:
    return Place(scope.module.path, getattr(node, "lineno", 1))


def _writes(transaction: ast.Call | None) -> list[str]:
    """The kinds of writes in a transaction, each after a dot; only an empty one when not all of them can be read."""
    given = {each.arg: each.value for each in transaction.keywords} if transaction else {}
    writes = given.get("TransactItems")
    items = (
        writes.elts if isinstance(writes, ast.List) else [writes.elt] if isinstance(writes, ast.ListComp) else [None]
    )
    keys = [key for item in items for key in (item.keys if isinstance(item, ast.Dict) else [None])]
    kinds = {str(key.value) if isinstance(key, ast.Constant) else "" for key in keys}
    return [f".{kind}" for kind in sorted(kinds)] if all(kinds) else [""]
