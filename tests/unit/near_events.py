"""Records that are events of a contract, or nearly so."""

import csv
import io
import json
from typing import Any

from hypothesis import strategies as st

from producers import flights, weather

EVENTS: dict[str, list[dict[str, Any]]] = {
    "flights": list(flights.events(months=[1], limit=30)),
    "weather": list(weather.events(months=[1], days=[1])),
}
SEPARATORS = [(",", ":"), (", ", ": "), (" ,", " :"), (",\n  ", ":\t"), (", ", ":")]
# JSON of numbers that encoders write in several ways, that are none of their field's, or that no field may hold.
NUMBERS = (
    "0", "-0", "0.0", "-0.0", "5", "5.0", "5.00", "5e0", "50E-1", "1e2", "1e-5", "0.0001", "0.00001", "-0.00001",
    "0.00012", "10.00001", "10.357019999999999", "0.1000000000000000055", "123456789012345.6", "1299", "2400", "2401",
    "1e999", "NaN", "-Infinity", "05", "+5", "5.", ".5", "9" * 25, "9" * 400, "9" * 5000, "1e16",
)  # fmt: skip
TEXTS = ("", "UA", "ua", " UA", "UA ", "U A", "NA", "É", "\ud800", "UA\n", "A" * 65, ": ", ', "', "2013-01-01", "null")
OTHERS = ("null", "true", "[]", '["EWR"]', "{}", '{"a":{"a":1,"a":1}}', '"\\u0055A"', '"\\ud800"', '"\x00"', "")

literals = (
    st.sampled_from(NUMBERS)
    | st.sampled_from(OTHERS)
    | (st.sampled_from(TEXTS) | st.text(max_size=4)).map(json.dumps)
    | (st.integers(-3000, 3000) | st.floats() | st.floats(-2000, 3000)).map(json.dumps)
)


def row(*values: object) -> bytes:
    """Values as a line of CSV."""
    written = io.StringIO()
    csv.writer(written, lineterminator="\n").writerow("NA" if value is None else value for value in values)
    return written.getvalue().encode("utf-8", "surrogatepass")


@st.composite
def near_lines(draw: st.DrawFn, contract: str) -> bytes:
    """A real event's line of CSV with a value or two changed, or one more."""
    values: list[object] = [*draw(st.sampled_from(EVENTS[contract])).values()]
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(values)))
        values[at : at + 1] = [draw(st.sampled_from(NUMBERS + TEXTS))]
    return row(*values)


@st.composite
def near_events(draw: st.DrawFn, contract: str) -> bytes:
    """A real event's record with some of it changed: values, order, spaces, keys twice, gone, new or escaped, bytes."""
    event = draw(st.sampled_from(EVENTS[contract]))
    members = [(json.dumps(name), json.dumps(value)) for name, value in event.items()]
    for edit in draw(
        st.lists(st.sampled_from(("value", "value", "twice", "drop", "new", "escape", "move")), max_size=3)
    ):
        at = draw(st.integers(0, len(members) - 1))
        key, value = members.pop(at)
        if edit == "value":
            members.insert(at, (key, draw(literals)))
        elif edit == "twice":
            members[at:at] = [(key, draw(literals | st.just(value))), (key, value)]
        elif edit == "new":
            members[at:at] = [(key, value), (draw(st.sampled_from(('"extra"', '"Origin"', '""'))), draw(literals))]
        elif edit == "escape":
            members.insert(at, (f'"\\u{ord(key[1]):04x}{key[2:]}', value))
        elif edit == "move":
            members.append((key, value))
    comma, colon = draw(st.sampled_from(SEPARATORS))
    data = ("{" + comma.join(key + colon + value for key, value in members) + "}").encode("utf-8", "surrogatepass")
    if draw(st.integers(0, 4)) == 0:
        at = draw(st.integers(0, len(data)))
        data = data[:at] + draw(st.binary(max_size=2)) + data[at + draw(st.integers(0, 2)) :]
    return data + draw(st.sampled_from([b"", b"\n"]))
