"""Columns of the real-time job's metrics as (name, Glue type); a test holds the job's own table against them."""

COLUMNS: list[tuple[str, str]] = [
    ("airport", "string"),
    ("window_start", "string"),
    ("flights", "bigint"),
    ("departed", "bigint"),
    ("mean_delay", "double"),
    ("max_delay", "double"),
    ("share_late", "double"),
    ("score", "double"),
    ("anomaly", "boolean"),
]
