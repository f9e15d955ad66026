"""What attributes of clients, resources, instances and modules are, and the calls that using them makes."""

import ast
from collections.abc import Sequence

from checks.calls import boto
from checks.calls.libraries import library
from checks.calls.names import Names
from checks.calls.values import (
    NOTHING,
    OUTSIDE,
    Class,
    Client,
    ClientMethod,
    External,
    Function,
    Imported,
    Instance,
    Method,
    Resource,
    Scope,
    Text,
    Values,
)

_NAMING = {"get_paginator", "get_waiter", "generate_presigned_url"}  # methods whose argument is an operation
_PLAIN = {"can_paginate", "close", "exceptions", "meta", "waiter_names"}  # members of a client that call nothing


class Attributes(Names):
    """Evaluates attributes: to mention an operation of a client counts as calling it."""

    def attribute(self, node: ast.expr, holders: Values, name: str, scope: Scope) -> Values:
        found: Values = NOTHING
        clients = [each for each in holders if isinstance(each, Client)]
        for holder in holders:
            match holder:
                case External(path=path) if path.startswith("boto3.meta:") and name == "client":
                    found |= {Client(path.partition(":")[2])}
                case External():
                    found |= {holder.then(name)}
                    if library(holder.then(name).path) is not None:
                        self.call(node, scope, "", holder.then(name).path)
                case Imported():
                    found |= self.member_of_module(holder.name, name)
                case Instance() | Class():
                    found |= self.own(node, holder, name, scope)
                case Resource():
                    found |= self._resource(node, holder, name, scope)
                case Text():
                    found |= {OUTSIDE}
        if clients:
            found |= self._client(node, clients, name, scope)
        if not holders:
            self.unknown(node, scope, name)
        return found

    def own(self, node: ast.expr, holder: Instance | Class, name: str, scope: Scope) -> Values:
        """An attribute of the code's own class or instance: as its class, or a base of that, has it."""
        of = holder.of if isinstance(holder, Instance) else holder
        found: Values = NOTHING
        for each in (of, *self.bases(of)):
            for value in self.known(each, name):
                if not isinstance(value, Function) or value.decorated_with("staticmethod"):
                    found |= {value}
                elif value.decorated_with("property", "cached_property"):
                    found |= self.enter(value, [], {}, holder)
                elif isinstance(holder, Instance) or value.decorated_with("classmethod"):
                    found |= {Method(value, holder)}
                else:
                    found |= {value}
        return found

    def _client(self, node: ast.expr, clients: Sequence[Client], name: str, scope: Scope) -> Values:
        if name in _NAMING:
            return frozenset(ClientMethod(client.service, name) for client in clients)
        having = [client for client in clients if name in boto.operations(client.service)]
        for client in having:
            self.call(node, scope, client.service, boto.operations(client.service)[name])
        if name == "generate_presigned_post":
            self.call(node, scope, "s3", "PutObject")
        elif not having and name not in _PLAIN:
            services = " or ".join(sorted(client.service for client in clients))
            self.problem(node, scope, f"calls {name}, which no client of {services} has")
        return frozenset({OUTSIDE})

    def _resource(self, node: ast.expr, holder: Resource, name: str, scope: Scope) -> Values:
        service, kind = holder.service, holder.kind
        if name == "meta":
            return frozenset({External(f"boto3.meta:{service}")})
        if holder.collection:
            if operation := boto.batch(service, kind, name):
                self.call(node, scope, service, operation)
            return frozenset({holder})
        found = boto.member(service, kind, name)
        if found is None:
            self.problem(node, scope, f"uses {name}, which the {service} resource {kind or 'itself'} does not have")
            return frozenset({OUTSIDE})
        for operation in found.operations:
            self.call(node, scope, service, operation)
        return frozenset({Resource(service, found.gives, found.collection) if found.gives else OUTSIDE})
