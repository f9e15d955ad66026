"""Evaluates the rules of a DQDL ruleset that we use, on DuckDB.

https://docs.aws.amazon.com/glue/latest/dg/dqdl-rule-types.html
"""

# ruff: noqa: S608 (rules and table are our own)
import operator
import re
from collections.abc import Callable, Iterator

import duckdb

_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "=": operator.eq, ">": operator.gt, "<": operator.lt, ">=": operator.ge, "<=": operator.le,
}  # fmt: skip
_RULE = re.compile(r'(?P<kind>\w+)(?P<names>(?:\s+"[^"]*")*)\s*(?P<expression>.*)', re.DOTALL)
_BETWEEN = re.compile(r"between (?P<low>-?[\d.]+) and (?P<high>-?[\d.]+)")
_COMPARED = re.compile(r"(?P<sign>[<>=]+) (?P<number>-?[\d.]+)")


def broken(ruleset: str, connection: duckdb.DuckDBPyConnection, table: str) -> list[str]:
    """The rules that `table` breaks; other data sources are tables by their alias. Raises ValueError for other DQDL."""
    return [rule for rule in split(ruleset) if not _holds(rule, connection, table)]


def split(ruleset: str) -> Iterator[str]:
    """Each rule of a ruleset."""
    body = re.fullmatch(r"\s*Rules = \[(.*)\]\s*", ruleset, re.DOTALL)
    if not body:
        raise ValueError("a ruleset is Rules = [rule, rule]")
    # At commas outside of quotes.
    yield from (rule.strip() for rule in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', body[1]))


def _holds(rule: str, connection: duckdb.DuckDBPyConnection, table: str) -> bool:
    parsed = _RULE.fullmatch(rule)
    if not parsed:
        raise ValueError(f"{rule!r} is no rule")
    names = re.findall(r'"([^"]*)"', parsed["names"])
    expression = parsed["expression"] or "= 1"

    def number(sql: str) -> float:
        row = connection.execute(sql).fetchone()
        return float("nan") if row is None or row[0] is None else float(row[0])  # of no rows: no rule holds

    match parsed["kind"], names:
        case "RowCount", []:
            return _is(number(f"SELECT count(*) FROM {table}"), expression)
        case (("Completeness" | "IsComplete"), [name]):
            return _is(number(f'SELECT count("{name}") / count(*) FROM {table}'), expression)
        case "IsUnique", [name]:
            return number(f'SELECT max(times) FROM (SELECT count(*) times FROM {table} GROUP BY "{name}")') == 1
        case "ColumnValues", [name]:  # no value passes that is null
            low, high = (number(f'SELECT {kind}("{name}") FROM {table}') for kind in ("min", "max"))
            complete = number(f'SELECT count(*) - count("{name}") FROM {table}') == 0
            return complete and _is(low, expression) and _is(high, expression)
        case "ReferentialIntegrity", [name, other]:
            alias, _, column = other.partition(".")
            found = f'count(*) FILTER ("{name}" IN (SELECT "{column}" FROM {alias})) / count(*)'
            return _is(number(f"SELECT {found} FROM {table}"), expression)
        case "CustomSql", [query]:
            return _is(number(re.sub(r"\bprimary\b", table, query)), expression)
    raise ValueError(f"{rule!r}: write its evaluation here first")


def _is(value: float, expression: str) -> bool:
    """Whether a value satisfies "> 0.8" or "between 1 and 5", whose bounds are not part of it."""
    if between := _BETWEEN.fullmatch(expression):
        return float(between["low"]) < value < float(between["high"])
    if compared := _COMPARED.fullmatch(expression):
        return _COMPARISONS[compared["sign"]](value, float(compared["number"]))
    raise ValueError(f"{expression!r}: write its evaluation here first")
