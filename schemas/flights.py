"""Columns of the flight tables as (name, Glue type): what the stacks declare and the code must write.

The transform Lambda and the Glue job are shipped without this module; unit tests hold both against it.
"""

Column = tuple[str, str]

PARTITION_KEYS: list[Column] = [("year", "int"), ("month", "int"), ("day", "int")]

# An event less the partition keys: Glue refuses a table whose columns repeat them.
RAW_COLUMNS: list[Column] = [
    ("event_id", "string"),
    ("time_hour", "string"),
    ("carrier", "string"),
    ("flight", "int"),
    ("tailnum", "string"),
    ("origin", "string"),
    ("dest", "string"),
    ("sched_dep_time", "int"),
    ("dep_time", "int"),
    ("dep_delay", "double"),
    ("sched_arr_time", "int"),
    ("arr_time", "int"),
    ("arr_delay", "double"),
    ("air_time", "double"),
    ("distance", "double"),
    ("hour", "int"),
    ("minute", "int"),
]

WEATHER_COLUMNS: list[Column] = [
    ("temp", "double"),
    ("dewp", "double"),
    ("humid", "double"),
    ("wind_dir", "double"),
    ("wind_speed", "double"),
    ("wind_gust", "double"),
    ("precip", "double"),
    ("pressure", "double"),
    ("visib", "double"),
]

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
