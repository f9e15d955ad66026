"""Columns of the flight tables as (name, Glue type): what the stacks declare and the code must write.

Those of events are the contract's own. The Glue jobs are shipped without this module; unit tests hold them against it.
"""

from contracts.events import FLIGHTS, WEATHER, Contract

Column = tuple[str, str]

PARTITION_KEYS: list[Column] = [("year", "int"), ("month", "int"), ("day", "int")]

_GLUE_TYPES: dict[type, str] = {str: "string", int: "int", float: "double"}


def raw_columns(contract: Contract) -> list[Column]:
    """An event's fields less the partition keys: Glue refuses a table whose columns repeat them."""
    columns = [(field.name, _GLUE_TYPES[field.types[0]]) for field in contract.fields]
    return [column for column in columns if column not in PARTITION_KEYS]


RAW_COLUMNS = raw_columns(FLIGHTS)

# What a flight is joined with: an hour's measures, without what it is an hour of.
WEATHER_COLUMNS = [column for column in raw_columns(WEATHER) if column not in RAW_COLUMNS]

PLANE_COLUMNS: list[Column] = [
    ("plane_year", "int"),
    ("manufacturer", "string"),
    ("model", "string"),
    ("engines", "int"),
    ("seats", "int"),
    ("engine", "string"),
]

AIRPORT_COLUMNS: list[Column] = [
    ("dest_lat", "double"),
    ("dest_lon", "double"),
    ("dest_alt", "double"),
    ("dest_tz", "double"),
]

CURATED_COLUMNS: list[Column] = RAW_COLUMNS + WEATHER_COLUMNS + PLANE_COLUMNS + AIRPORT_COLUMNS

# What glue_jobs/feature_table.py writes: delays in minutes, of the flights that left within its window before.
FEATURE_COLUMNS: list[Column] = [
    ("event_id", "string"),
    ("aircraft_delay", "double"),
    ("aircraft_flights", "int"),
    ("route_delay", "double"),
    ("route_flights", "int"),
    ("hour_delay", "double"),
    ("hour_flights", "int"),
]

# What glue_jobs/streaming_window.py writes; it keeps the hour as a timestamp in UTC.
HOURLY_COLUMNS: list[Column] = [
    ("window_start", "timestamp"),
    ("origin", "string"),
    ("action", "string"),
    ("flights", "bigint"),
]

# What glue_jobs/kmeans_segment.py writes: delays are means in minutes, late and cancelled shares of 0 to 1.
SEGMENT_COLUMNS: list[Column] = [
    ("subject", "string"),
    ("segment", "int"),
    ("flights", "bigint"),
    ("dep_delay", "double"),
    ("arr_delay", "double"),
    ("late", "double"),
    ("cancelled", "double"),
    ("log_flights", "double"),
]

# What glue_jobs/match_duplicates.py writes: rows that mean the same have one cluster, the smallest of their ids.
MATCH_COLUMNS: list[Column] = [
    ("id", "string"),
    ("name", "string"),
    ("cluster", "string"),
]
