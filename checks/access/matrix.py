"""The matrix of an environment: for each resource, what each principal may do to it, in the worst case.

As text, which is committed and reviewed; as a Markdown table, which docs/security.md includes. Read a line so: `(...)`
is the part that it is limited to; `if ...` names the condition keys that only a request decides; `without the key`
says that KMS will refuse, since the principal can't use the key that encrypts the resource.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from checks.access.evaluate import Principal, Resource, Scope, scopes, simplest
from checks.access.kinds import KEY_ACTIONS
from checks.access.world import World, worlds
from checks.assembly import Assembly

Step = tuple[Principal, tuple[str, ...], frozenset[str]]  # of a chain: who, the roles after it, the conditions


@dataclass(frozen=True)
class Right:
    """One thing that a principal may do to a resource."""

    verb: str
    scopes: tuple[Scope, ...]
    with_key: bool = True

    def shown(self, resource: Resource) -> str:
        """For people."""
        groups: dict[frozenset[str], list[str]] = {}
        for scope in self.scopes:
            groups.setdefault(scope.conditions, []).append(_part(scope.pattern, resource.arn))
        shown = [self._shown(sorted(set(parts)), conditions) for conditions, parts in groups.items()]
        return ", ".join(sorted(shown))

    def _shown(self, parts: list[str], conditions: frozenset[str]) -> str:
        kept = [part for part in parts if part and f"{part}/*" not in parts]
        return (
            self.verb
            + (f" ({' '.join(kept)})" if kept and "" not in parts else "")
            + (f" if {' and '.join(sorted(conditions))}" if conditions else "")
            + ("" if self.with_key else " without the key")
        )


@dataclass(frozen=True)
class Row:
    """What one principal may do to one resource; `via` names the roles it gets there through."""

    resource: Resource
    principal: Principal
    rights: tuple[Right, ...]
    via: tuple[str, ...] = ()

    def __str__(self) -> str:
        rights = ", ".join(right.shown(self.resource) for right in self.rights)
        return rights + (f" via {' -> '.join(self.via)}" if self.via else "")


@dataclass(frozen=True)
class Matrix:
    """One environment's rows, by resource and then by principal."""

    environment: str
    resources: tuple[Resource, ...]
    rows: tuple[Row, ...]

    def may(self, principal: str, verb: str, resource: str) -> bool:
        """Whether a principal may, in the worst case, do something to a resource; both by their labels."""
        return any(
            right.verb == verb and right.with_key
            for row in self.rows
            if (row.principal.label, row.resource.label) == (principal, resource)
            for right in row.rights
        )

    def by_resource(self) -> Iterator[tuple[Resource, list[Row]]]:
        """The rows of each resource, none where nobody may do anything."""
        found: dict[Resource, list[Row]] = {resource: [] for resource in self.resources}
        for row in self.rows:
            found[row.resource].append(row)
        yield from found.items()


def matrices(assembly: Assembly) -> list[Matrix]:
    """The matrix of every environment."""
    return [matrix(world) for world in worlds(assembly)]


def matrix(world: World) -> Matrix:
    """Every row in which some right is left."""
    keys = {each.arn: each for each in world.resources if each.kind.name == "key"}
    rows = []
    for resource in world.resources:
        key = keys.get(resource.key_arn)
        granted = ((each, tuple(_rights(each, resource, key))) for each in world.principals)
        rows += [Row(resource, principal, rights) for principal, rights in granted if rights]
    return Matrix(world.name, world.resources, tuple(rows + _chains(rows)))


def text(found: Matrix) -> str:
    """One line a principal under each resource: what a reviewer reads in a diff."""
    lines = []
    for resource, rows in found.by_resource():
        lines += ["", f"{resource.kind.name} {resource.label}"]
        lines += [f"  {row.principal.label}: {row}" for row in rows]  # not aligned: a new line leaves the others alone
        lines += [] if rows else ["  nobody"]
    return "\n".join(lines[1:]) + "\n"


def markdown(found: Matrix) -> str:
    """A table of the same."""
    lines = ["| Resource | Who | May |", "|---|---|---|"]
    for resource, rows in found.by_resource():
        name = f"{resource.kind.name} **{resource.label}**"
        for row in rows:
            cells = (name, row.principal.label, str(row).replace("*", r"\*"))
            lines.append("| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |")
            name = ""
        lines += [] if rows else [f"| {name} | nobody | |"]
    return "\n".join(lines) + "\n"


def _rights(principal: Principal, resource: Resource, key: Resource | None) -> Iterator[Right]:
    for verb, actions in resource.kind.verbs.items():
        found = simplest(
            scope
            for action in actions
            for target in resource.kind.targets(resource.arn, action)
            for scope in scopes(principal, action, resource, target)
        )
        if not found:
            continue
        if key is None or verb not in KEY_ACTIONS:
            yield Right(verb, found)
        else:
            usable = scopes(principal, KEY_ACTIONS[verb], key, key.arn)
            easiest = min((each.conditions for each in usable), key=len, default=frozenset())
            yield Right(verb, tuple(Scope(one.pattern, one.conditions | easiest) for one in found), bool(usable))


def _chains(rows: Iterable[Row]) -> list[Row]:
    """Who reaches a role through another one: a may assume b, which may assume c."""
    assumed: dict[str, list[tuple[Row, frozenset[str]]]] = {}
    for row in rows:
        for right in row.rights:
            if right.verb == "assume":
                easiest = min((scope.conditions for scope in right.scopes), key=len)
                assumed.setdefault(row.resource.arn, []).append((row, easiest))
    found = []
    for arn, direct in assumed.items():
        seen = {row.principal.arn for row, _ in direct} | {arn}
        steps: list[Step] = [(row.principal, (row.principal.label,), conditions) for row, conditions in direct]
        for middle, path, before in steps:  # grows as it goes, so the shortest way comes first
            for row, conditions in assumed.get(middle.arn, []):
                if row.principal.arn not in seen:
                    seen.add(row.principal.arn)
                    right = Right("assume", (Scope(arn, before | conditions),))
                    found.append(Row(direct[0][0].resource, row.principal, (right,), path))
                    steps.append((row.principal, (row.principal.label, *path), before | conditions))
    return found


def _part(pattern: str, arn: str) -> str:
    """What a pattern leaves of a resource: empty for all of it."""
    if not pattern.startswith(arn):
        return pattern
    rest = pattern.removeprefix(arn)
    return "" if rest in ("", "/*", ":*", "/index/*", "/stream/*") else rest.lstrip("/:")
