"""Columns of the weather tables as (name, Glue type): what the stacks declare and the code must write.

Units are those of the source: degrees Fahrenheit, miles an hour, inches, millibars, miles.
"""

from contracts.events import WEATHER
from schemas.flights import PARTITION_KEYS, raw_columns

__all__ = ["PARTITION_KEYS", "RAW_COLUMNS", "STATION_COLUMNS"]

RAW_COLUMNS = raw_columns(WEATHER)

# By station, whose name is a partition key then.
STATION_COLUMNS = [column for column in RAW_COLUMNS if column[0] != "origin"]
