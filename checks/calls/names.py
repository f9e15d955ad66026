"""Whose name is meant: scopes, functions, classes and modules of the code that is read."""

import ast
import builtins
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence

from checks.calls.modules import Module
from checks.calls.values import NOTHING, Class, External, Function, Instance, Scope, Value, Values


class Names(ABC):
    """Looks names up. Those who read statements and evaluate expressions are subclasses."""

    def __init__(self) -> None:
        self._made: dict[ast.AST, Function | Class] = {}

    @abstractmethod
    def module(self, name: str) -> Module | None:
        """A module of this code, read when it is first asked for; None for any other."""

    @abstractmethod
    def imported(self, name: str) -> Values:
        """What `import name` gives: this code's own module, or a library's."""

    @abstractmethod
    def known(self, owner: object, name: str) -> Values:
        """All that `name` of a module, function or class may be."""

    @abstractmethod
    def learn(self, owner: object, name: str, values: Values) -> None:
        """Add to what a name may be."""

    @abstractmethod
    def call(self, node: ast.AST, scope: Scope, service: str, operation: str) -> None:
        """Note a call of AWS."""

    @abstractmethod
    def problem(self, node: ast.AST, scope: Scope, message: str) -> None:
        """Note what can't be resolved, once everything that can be is."""

    @abstractmethod
    def unknown(self, node: ast.AST, scope: Scope, name: str) -> None:
        """Note an attribute of something that nothing is known of."""

    @abstractmethod
    def assign(self, target: ast.expr, values: Values, scope: Scope) -> None:
        """Let a target be any of `values`."""

    @abstractmethod
    def evaluate(self, node: ast.expr, scope: Scope) -> Values:
        """All that an expression may be."""

    @abstractmethod
    def enter(
        self,
        function: Function,
        given: Sequence[Values],
        keywords: Mapping[str, Values],
        this: Instance | Class | None,
    ) -> Values:
        """What a function returns for these arguments."""

    def name(self, name: str, scope: Scope) -> Values:
        around: Scope | None = scope
        while around is not None:
            if name in around.bound:
                return around.bound[name]
            found = self.known(around.owner, name)
            if found and (around is scope or not isinstance(around.owner, Class)):
                return found
            around = around.around
        return frozenset({External(f"builtins.{name}")}) if hasattr(builtins, name) else NOTHING

    def owner_of(self, name: str, scope: Scope) -> object:
        """Whose name is meant by an assignment: the scope's own, or what a global or nonlocal statement says."""
        if isinstance(scope.owner, Function) and name in scope.owner.outer:
            around = scope.around
            while around and around.around and not self.known(around.owner, name):
                around = around.around
            return around.owner if around else scope.module
        return scope.owner

    @staticmethod
    def owner_of_attributes(holder: Value) -> object:
        """What keeps the attributes of a value of this code; None for any other."""
        if isinstance(holder, Instance):
            return holder.of
        return holder if isinstance(holder, Class) else None

    def function(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda, scope: Scope) -> Function:
        """The function that a definition makes: the same one each time it is read. Learns what its defaults are."""
        made = self._made.get(node)
        if not isinstance(made, Function):
            owner = scope.owner if isinstance(scope.owner, Class) else None
            made = self._made[node] = Function(node, scope.module, scope, owner)
            for each in ast.walk(node):
                if isinstance(each, ast.Global | ast.Nonlocal):
                    made.outer |= set(each.names)
        arguments = node.args
        given = made.parameters[len(made.parameters) - len(arguments.defaults) :]
        for name, default in zip(given, arguments.defaults, strict=True):
            self.learn(made, name, self.evaluate(default, scope))
        for argument, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
            if value:
                self.learn(made, argument.arg, self.evaluate(value, scope))
        if made.owner and made.parameters and not made.decorated_with("staticmethod"):
            this = made.owner if made.decorated_with("classmethod") else Instance(made.owner)
            self.learn(made, made.parameters[0], frozenset({this}))
        return made

    def class_(self, node: ast.ClassDef, scope: Scope) -> Class:
        """The class that a definition makes: the same one each time it is read."""
        made = self._made.get(node)
        if not isinstance(made, Class):
            made = self._made[node] = Class(node, scope.module, scope)
        return made

    def bases(self, of: Class) -> Iterator[Class]:
        """A class's own bases, from near to far."""
        for base in of.node.bases:
            for value in self.evaluate(base, of.parent):
                if isinstance(value, Class) and value is not of:
                    yield value
                    yield from self.bases(value)

    def member_of_module(self, source: str, name: str) -> Values:
        """What `from source import name` gives."""
        imported = self.imported(source)
        if imported == frozenset({External(source)}):
            return frozenset({External(f"{source}.{name}")})
        found = self.known(self.module(source), name)
        within = self.imported(f"{source}.{name}")
        return found or (NOTHING if within == frozenset({External(f"{source}.{name}")}) else within)
