"""Columns of the weather table as (name, Glue type): what the stack declares and the code must write.

The transform Lambda is shipped without this module; a unit test holds it against this. Units are those of the source:
degrees Fahrenheit, miles an hour, inches, millibars, miles.
"""

from schemas.flights import PARTITION_KEYS, WEATHER_COLUMNS, Column

__all__ = ["PARTITION_KEYS", "RAW_COLUMNS", "STATION_COLUMNS"]

# An event less the partition keys: Glue refuses a table whose columns repeat them.
RAW_COLUMNS: list[Column] = [
    ("event_id", "string"),
    ("time_hour", "string"),
    ("origin", "string"),
    ("hour", "int"),
    *WEATHER_COLUMNS,
]

# By station, whose name is a partition key then.
STATION_COLUMNS: list[Column] = [column for column in RAW_COLUMNS if column[0] != "origin"]
