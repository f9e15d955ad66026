"""What expressions may be, and the calls of AWS that evaluating them makes (source.py reads the statements)."""

import ast
from collections.abc import Iterator, Mapping, Sequence

from checks.calls import boto
from checks.calls.attributes import Attributes
from checks.calls.libraries import calls_aws
from checks.calls.values import (
    NOTHING,
    OUTSIDE,
    Class,
    Client,
    ClientMethod,
    External,
    Function,
    Instance,
    Method,
    Resource,
    Scope,
    Text,
    Values,
)

_SESSIONS = ("boto3", "boto3.Session()", "boto3.session.Session()", "boto3.DEFAULT_SESSION", "aioboto3.Session()")
_CLIENTS = {f"{session}.client" for session in _SESSIONS} | {
    f"{library}.session.{session}().create_client"
    for library in ("botocore", "aiobotocore")
    for session in ("get_session", "Session")
}
_RESOURCES = {f"{session}.resource" for session in _SESSIONS}
# Builtins and library functions that give back what they are given, and those that do nothing with it.
_SAME = "dict enumerate filter iter list map next reversed set sorted tuple zip"
_GIVES_BACK = {f"builtins.{name}" for name in _SAME.split()} | {"contextlib.closing", "typing.cast"}
_HARMLESS = {
    f"builtins.{name}"
    for name in ["bool", "callable", "hasattr", "hash", "id", "isinstance", "len", "print", "repr", "str", "type"]
}
_AT_RUN_TIME = {"builtins.eval", "builtins.exec", "builtins.__import__", "importlib.import_module"}
_DEEPEST = 3  # calls within calls whose arguments are told apart
_ANY_NUMBER = 8  # positional arguments that *arguments may stand for


class Expressions(Attributes):
    """Evaluates expressions. Names are kept by the reader, which is a subclass."""

    def __init__(self) -> None:
        super().__init__()
        self.called: dict[ast.AST, ast.Call] = {}  # what is called -> the call
        self._answers: dict[object, Values] = {}
        self._depth = 0

    def forget(self) -> None:
        """Forget answers that were given when less was known."""
        self._answers.clear()

    def evaluate(self, node: ast.expr, scope: Scope) -> Values:
        """All that an expression may be. A container is what is in it."""
        match node:
            case ast.Constant(value=str(text)):
                return frozenset({Text(text)})
            case ast.Constant(value=value):
                return NOTHING if value is None else frozenset({OUTSIDE})
            case ast.Name():
                return self.name(node.id, scope)
            case ast.Attribute():
                return self.attribute(node, self.evaluate(node.value, scope), node.attr, scope)
            case ast.Call():
                return self._call(node, scope)
            case ast.Lambda():
                function = self.function(node, scope)
                self.evaluate(node.body, Scope(function, scope))
                return frozenset({function})
            case ast.NamedExpr():
                values = self.evaluate(node.value, scope)
                self.assign(node.target, values, scope)
                return values
            case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                return self._comprehension(node, scope)
            case ast.BinOp() | ast.Compare() | ast.JoinedStr() | ast.UnaryOp():
                self._inside(node, scope)
                return frozenset({OUTSIDE})
            case ast.Subscript():
                self.evaluate(node.slice, scope)
                return self.evaluate(node.value, scope)
            case ast.IfExp():
                self.evaluate(node.test, scope)
                return self.evaluate(node.body, scope) | self.evaluate(node.orelse, scope)
            case _:
                return self._inside(node, scope)

    def _inside(self, node: ast.AST, scope: Scope) -> Values:
        children = [each for each in ast.iter_child_nodes(node) if isinstance(each, ast.expr | ast.FormattedValue)]
        return frozenset().union(*(self.evaluate(each, scope) for each in children))

    def _comprehension(
        self, node: ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp, scope: Scope
    ) -> Values:
        for generator in node.generators:
            self.assign(generator.target, self.evaluate(generator.iter, scope), scope)
            for condition in generator.ifs:
                self.evaluate(condition, scope)
        if isinstance(node, ast.DictComp):
            return self.evaluate(node.key, scope) | self.evaluate(node.value, scope)
        return self.evaluate(node.elt, scope)

    def _call(self, node: ast.Call, scope: Scope) -> Values:
        self.called[node.func] = node
        functions = self.evaluate(node.func, scope)
        starred = any(isinstance(each, ast.Starred) for each in node.args)
        given = [self.evaluate(each, scope) for each in node.args]
        if starred:  # how many it stands for is not known: any argument may be any of them
            given = [frozenset().union(*given)] * 8
        keywords: dict[str, Values] = {}
        for each in node.keywords:
            keywords[each.arg or "**"] = self.evaluate(each.value, scope)
        return self.apply(node, functions, given, keywords, scope)

    def apply(
        self, node: ast.expr, functions: Values, given: Sequence[Values], keywords: Mapping[str, Values], scope: Scope
    ) -> Values:
        """What calling any of `functions` gives; its parameters learn what they are given."""
        found: Values = NOTHING
        for function in functions:
            match function:
                case Function():
                    found |= self.enter(function, given, keywords, None)
                case Method():
                    found |= self.enter(function.function, given, keywords, function.this)
                case Class():
                    found |= {Instance(function)}
                    self._construct(node, function, given, keywords, scope)
                case Instance():
                    found |= self.call_method(node, frozenset({function}), "__call__", scope, given, keywords)
                case ClientMethod():
                    found |= self._named(node, function, [*given[:1], *keywords.values()], scope)
                case Resource():
                    found |= {function}
                case External():
                    found |= self._library(node, function, given, keywords, scope)
        if not functions:
            everything = [*given, *keywords.values()]
            if _callable(everything):
                return self._later(node, everything, keywords, scope)
            self._handed_over(node, everything, ast.unparse(node)[:60], scope)
        return found

    def call_method(
        self,
        node: ast.expr,
        holders: Values,
        name: str,
        scope: Scope,
        given: Sequence[Values] = (),
        keywords: Mapping[str, Values] | None = None,
    ) -> Values:
        """What a special method of any instance of the code's own classes among `holders` gives."""
        methods: Values = NOTHING
        for holder in holders:
            if isinstance(holder, Instance):
                methods |= self.own(node, holder, name, scope)
        return self.apply(node, methods, given, keywords or {}, scope) if methods else NOTHING

    def _construct(
        self, node: ast.expr, of: Class, given: Sequence[Values], keywords: Mapping[str, Values], scope: Scope
    ) -> None:
        this = Instance(of)
        if self.own(node, this, "__init__", scope):
            self.call_method(node, frozenset({this}), "__init__", scope, given, keywords)
            return
        fields = [name for each in reversed([of, *self.bases(of)]) for name in each.fields]
        for name, values in [*zip(fields, given, strict=False), *keywords.items()]:
            self.learn(of, name, values)

    def enter(
        self,
        function: Function,
        given: Sequence[Values],
        keywords: Mapping[str, Values],
        this: Instance | Class | None,
    ) -> Values:
        """Bind a call's arguments; answers what the function returns for just these, where that can be told."""
        bound = _bind(function, given, keywords, this)
        for name, values in bound.items():
            self.learn(function, name, values)
        asked = (function, frozenset(bound.items()))
        if asked not in self._answers:
            if self._depth >= _DEEPEST:
                return NOTHING if asked in self._answers else self._returned(function, Scope(function, function.parent))
            self._answers[asked] = NOTHING  # of a function that calls itself
            self._depth += 1
            try:
                self._answers[asked] = self._returned(function, Scope(function, function.parent, bound))
            finally:
                self._depth -= 1
        return self._answers[asked]

    def _returned(self, function: Function, scope: Scope) -> Values:
        if self._depth > _DEEPEST + 1:
            return NOTHING
        self._depth += 1
        try:
            return frozenset().union(*(self.evaluate(each, scope) for each in _results(function.node)))
        finally:
            self._depth -= 1

    def _library(
        self, node: ast.expr, function: External, given: Sequence[Values], keywords: Mapping[str, Values], scope: Scope
    ) -> Values:
        """What calling a library's function gives: a client, a resource, what it was given, or something unknown."""
        path, everything = function.path, [*given, *keywords.values()]
        if path in _CLIENTS | _RESOURCES:
            return self._service(node, [*given[:1], keywords.get("service_name", NOTHING)], path in _CLIENTS, scope)
        if path == "builtins.getattr":
            return self._getattr(node, given, scope)
        if path == "builtins.super" and isinstance(scope.owner, Function) and scope.owner.owner:
            return frozenset(Instance(base) for base in self.bases(scope.owner.owner))
        if path == "dataclasses.field":
            made = self.apply(node, keywords.get("default_factory", frozenset({OUTSIDE})), [], {}, scope)
            return made | keywords.get("default", NOTHING)
        if path in _AT_RUN_TIME:
            self.problem(node, scope, f"{path.split('.')[-1]} runs code that is chosen at run time")
        if reason := calls_aws(path, ast.unparse(node)):
            self.problem(node, scope, reason)
        result: Values = frozenset().union(*everything) if path in _GIVES_BACK else frozenset({function.called()})
        if _callable(everything):
            return result | self._later(node, everything, keywords, scope)
        if path not in _GIVES_BACK | _HARMLESS:
            self._handed_over(node, everything, path, scope)
        return result

    def _later(
        self, node: ast.expr, everything: Sequence[Values], keywords: Mapping[str, Values], scope: Scope
    ) -> Values:
        """A library is given a function to call, such as pool.submit(work, client): the rest are its arguments."""
        found: Values = NOTHING
        for place, values in enumerate(everything):
            rest = list(everything[place + 1 :])
            if "args" in keywords:  # Thread(target=work, args=(client,))
                rest = [keywords["args"]] * _ANY_NUMBER
            own = frozenset(value for value in values if isinstance(value, Function | Method))
            found |= self.apply(node, own, rest, {}, scope) if own else NOTHING
        return found

    def _service(self, node: ast.expr, names: Sequence[Values], client: bool, scope: Scope) -> Values:
        services = {value.value for values in names for value in values if isinstance(value, Text)}
        known = {service for service in services if boto.operations(service)}
        for service in sorted(services - known):
            self.problem(node, scope, f"makes a client of {service!r}, a service that botocore does not know")
        if not services:
            self.problem(node, scope, "makes a client of a service that only running it would tell")
        return frozenset(Client(service) if client else Resource(service) for service in known)

    def _getattr(self, node: ast.expr, given: Sequence[Values], scope: Scope) -> Values:
        holders, names = (*given, NOTHING, NOTHING)[:2]
        found = frozenset().union(*given[2:3])
        texts = [value.value for value in names if isinstance(value, Text)]
        for text in texts:
            found |= self.attribute(node, holders, text, scope)
        if not texts and any(isinstance(holder, Client | Resource) for holder in holders):
            self.problem(node, scope, "calls an operation of a client that only running it would tell")
        return found or frozenset({OUTSIDE})

    def _named(self, node: ast.expr, method: ClientMethod, names: Sequence[Values], scope: Scope) -> Values:
        """get_paginator, get_waiter or generate_presigned_url: the operation is an argument."""
        texts = {value.value for values in names for value in values if isinstance(value, Text)}
        known = {
            text: boto.waiter(method.service, text)
            if method.name == "get_waiter"
            else boto.operations(method.service).get(text)
            for text in texts
        }
        for operation in filter(None, known.values()):
            self.call(node, scope, method.service, operation)
        if not any(known.values()):
            self.problem(node, scope, f"calls {method.name} of {method.service} with a name that can't be resolved")
        return frozenset({OUTSIDE})

    def _handed_over(self, node: ast.expr, given: Sequence[Values], to: str, scope: Scope) -> None:
        for value in frozenset().union(*given):
            if isinstance(value, Client | Resource):
                self.problem(node, scope, f"hands a client of {value.service} to {to}, which can't be followed")


def _callable(given: Sequence[Values]) -> bool:
    return any(isinstance(value, Function | Method) for values in given for value in values)


def _bind(
    function: Function, given: Sequence[Values], keywords: Mapping[str, Values], this: Instance | Class | None
) -> dict[str, Values]:
    """Parameter -> argument; what a call says nothing of is left out."""
    arguments = function.node.args
    values = [frozenset({this}), *given] if this else list(given)
    names = function.parameters
    bound = dict(zip(names, values, strict=False))
    if arguments.vararg and values[len(names) :]:
        bound[arguments.vararg.arg] = frozenset().union(*values[len(names) :])
    own = {*names, *(each.arg for each in arguments.kwonlyargs)}
    for name, value in keywords.items():
        if name in own:
            bound[name] = bound.get(name, NOTHING) | value
        elif name == "**":  # any parameter may be in it
            bound |= {each: bound.get(each, NOTHING) | value for each in own - {*names[: len(values)]}}
        elif arguments.kwarg:
            bound[arguments.kwarg.arg] = bound.get(arguments.kwarg.arg, NOTHING) | value
    return {name: value for name, value in bound.items() if value}


def _results(node: ast.AST) -> Iterator[ast.expr]:
    """What a function returns or yields, without the functions inside of it."""
    if isinstance(node, ast.Lambda):
        yield node.body
        return
    left = list(ast.iter_child_nodes(node))
    while left:
        each = left.pop()
        if isinstance(each, ast.Return | ast.Yield | ast.YieldFrom) and each.value:
            yield each.value
        if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            left += ast.iter_child_nodes(each)
