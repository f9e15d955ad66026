"""Firehose's conversion gives of records together, in one go or not, what each gives alone, whatever the records."""

import io
import json
from base64 import b64encode

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from ministack.services import glue

from local.hooks import firehose_parquet
from local.hooks.firehose_records import Record

COLUMNS = {"id": "int", "big": "bigint", "delay": "double", "name": "string", "late": "boolean"}
CONVERSION = {"SchemaConfiguration": {"DatabaseName": "d", "TableName": "plain"}}

values = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 5), st.integers(), st.floats(), st.text(max_size=3),
    st.sampled_from([2.0, 1e400, 2**31, 2**63, -0.0, "7", "2.5", "\ud800", [1], {"id": 1}]),
)  # fmt: skip
objects = st.dictionaries(st.sampled_from([*COLUMNS, "ID", "other", "Other"]), values).map(json.dumps)
plain = st.fixed_dictionaries({"id": st.integers(-9, 9), "delay": st.floats(-9, 9), "name": st.text(max_size=3)})
odd = ["", " ", "5", "[]", "{}", "{}{}", '{"id": 1}\n{"id": 2}', '{"id": 1,}', '{"id": 1, "id": 2}', "{", "[" * 5_000,
       '{"name": "\t"}', '{"id": 01}', '{"delay": NaN}', "\ufeff{}", '{"name": "{"}', '{"i\\u0064": 3}']  # fmt: skip
bodies = st.one_of(
    st.one_of(objects, st.sampled_from(odd), plain.map(json.dumps)).map(str.encode), st.binary(max_size=5)
)


def converted(*records: bytes) -> tuple[list[str], list[str]]:
    """What becomes of records: the rows, and the reasons of those refused."""
    given = [Record(b64encode(record).decode(), 0, "1") for record in records]
    file, failed = firehose_parquet.to_parquet(CONVERSION, given)
    rows = pq.read_table(io.BytesIO(file)).to_pylist() if file else []
    return [repr(row).replace("-0.0", "0.0") for row in rows], sorted(error.code for _, error in failed)


@pytest.fixture(scope="module", autouse=True)
def table() -> None:
    """A table of plain columns."""
    columns = [{"Name": name, "Type": kind} for name, kind in COLUMNS.items()]
    glue._tables["d/plain"] = {"StorageDescriptor": {"Columns": columns}}


@settings(max_examples=150)
@given(st.one_of(st.lists(bodies, min_size=1, max_size=4), st.lists(objects.map(str.encode), min_size=1, max_size=4)))
@example([b'{"id": 1}\n{"id": 2}', b""])
@example([b"\xef\xbb\xbf{}"])
@example([b'{"name": "\xff"}'])
@example([b'{"ID": 1}'])
def test_each_as_if_alone(records: list[bytes]) -> None:
    together = converted(*records)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(firehose_parquet, "_flat", lambda *_: None)
        alone = [converted(record) for record in records]
    assert together[0] == [row for rows, _ in alone for row in rows]
    assert together[1] == sorted(reason for _, reasons in alone for reason in reasons)


def test_what_the_transform_writes_takes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fields that are no columns, such as the partition keys, and columns that no record has do not matter."""
    monkeypatch.setattr(firehose_parquet, "_one_by_one", lambda *_: pytest.fail("one by one"))
    record = Record(b64encode(b'{"id":1,"delay":2,"name":null,"year":2013}\n').decode(), 0, "1")
    file, failed = firehose_parquet.to_parquet(CONVERSION, [record] * 3)
    found = pq.read_table(io.BytesIO(file))
    assert not failed
    assert found.to_pylist() == [{"id": 1, "big": None, "delay": 2.0, "name": None, "late": None}] * 3
    assert found.schema.types == [pa.int32(), pa.int64(), pa.float64(), pa.string(), pa.bool_()]
