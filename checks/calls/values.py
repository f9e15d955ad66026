"""What an expression may be, as far as calls of AWS are concerned."""

import ast
from dataclasses import dataclass, field
from typing import TypeAlias

from checks.calls.libraries import IDEMPOTENCY
from checks.calls.modules import SDKS, Module


@dataclass(frozen=True)
class Text:
    """A string that is known: the name of a service, an operation or a waiter."""

    value: str


@dataclass(frozen=True)
class External:
    """Something of a library: `path` is how it was reached, such as boto3.Session().client."""

    path: str

    def then(self, name: str) -> "External":
        """What is reached from here by `name`."""
        return self._longer(f"{self.path}.{name}")

    def called(self) -> "External":
        """What calling it gives: of most libraries an object of which nothing is known but the library."""
        root = _GIVES.get(self.path) or self.path.split(".")[0].removesuffix("()")
        return self._longer(f"{self.path if root in SDKS else root}()")

    def _longer(self, path: str) -> "External":
        """What `path` is; one that grows in a loop is cut, or all ways to go round it would be paths."""
        return self if self == OUTSIDE or path.count(".") + path.count("()") > _STEPS else External(path)


# An object of another library, or one whose methods are told apart from the rest of its own.
_GIVES = {"awsglue().create_data_frame.from_options": "pyspark", IDEMPOTENCY: IDEMPOTENCY}
_STEPS = 6  # attributes and calls: botocore.session.get_session().create_client() is five
OUTSIDE = External("outside")  # data: an answer of AWS, an event, a number


@dataclass(frozen=True)
class Client:
    """A client of one service."""

    service: str


@dataclass(frozen=True)
class ClientMethod:
    """One of a client's methods that name an operation in an argument."""

    service: str
    name: str


@dataclass(frozen=True)
class Resource:
    """A boto3 resource; `kind` is its type, "" for the service resource; or a `collection` of such."""

    service: str
    kind: str = ""
    collection: bool = False


@dataclass(eq=False)
class Function:
    """A function or lambda of the code; `parent` is the scope that it was defined in."""

    node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
    module: Module
    parent: "Scope"
    owner: "Class | None" = None
    outer: set[str] = field(default_factory=set)  # names that it declares global or nonlocal

    @property
    def parameters(self) -> list[str]:
        """The names that positional arguments are bound to."""
        return [each.arg for each in (*self.node.args.posonlyargs, *self.node.args.args)]

    def decorated_with(self, *names: str) -> bool:
        """Whether a decorator's last name is one of these."""
        decorators = getattr(self.node, "decorator_list", [])
        return any(ast.unparse(each).split("(")[0].split(".")[-1] in names for each in decorators)


@dataclass(eq=False)
class Class:
    """A class of the code; `fields` are its annotated names in order: the arguments of a dataclass."""

    node: ast.ClassDef
    module: Module
    parent: "Scope"
    fields: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Instance:
    """Any instance of a class of the code."""

    of: Class


@dataclass(frozen=True)
class Method:
    """A function bound to an instance or a class."""

    function: Function
    this: "Instance | Class"


@dataclass(frozen=True)
class Imported:
    """A module of the code, or a package without a file."""

    name: str


Value: TypeAlias = Text | External | Client | ClientMethod | Resource | Function | Class | Instance | Method | Imported
Values: TypeAlias = frozenset[Value]
NOTHING: Values = frozenset()


@dataclass(eq=False)
class Scope:
    """Where names are looked up: a function, a class body or a module, and the scope around it.

    `bound` holds a function's parameters as one call of it gives them.
    """

    owner: Function | Class | Module
    around: "Scope | None" = None
    bound: dict[str, Values] = field(default_factory=dict)

    @property
    def module(self) -> Module:
        """The module it is part of."""
        return self.owner if isinstance(self.owner, Module) else self.owner.module
