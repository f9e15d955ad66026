"""The process that `benchmarks.etl` starts for its peer: what the Glue job does, in one DuckDB statement.

Prints one line of JSON: seconds of the whole, peak memory.
"""

import json
import resource
import sys
import time
from pathlib import Path

THREADS = 2  # as the Glue job has


def main(root: Path) -> None:
    """Curate root/raw/flights into root/peer/flights."""
    started = time.monotonic()
    import duckdb

    raw = root / "raw"
    connection = duckdb.connect(config={"threads": THREADS})
    connection.execute("SET partitioned_write_max_open_files = 400; SET TimeZone = 'UTC'")
    # As the job: of rows with one event_id the last to arrive wins; what a lookup table doesn't know is null.
    connection.execute(
        f"""COPY (
            WITH arrivals AS (SELECT filename, last_modified FROM read_blob('{raw}/flights/**/*.parquet')),
            flights AS (
                SELECT * FROM read_parquet('{raw}/flights/**/*.parquet', filename = true,
                    hive_partitioning = true, hive_types_autocast = false)
                JOIN arrivals USING (filename)
                QUALIFY row_number() OVER (PARTITION BY year, month, day, event_id ORDER BY last_modified DESC) = 1
            ),
            weather AS (
                SELECT origin, time_hour::TIMESTAMPTZ AS hour_start, temp, dewp, humid, wind_dir, wind_speed,
                    wind_gust, precip, pressure, visib
                FROM read_parquet('{raw}/weather/**/*.parquet')
                QUALIFY row_number() OVER (PARTITION BY origin, hour_start) = 1
            ),
            planes AS (
                SELECT tailnum, year AS plane_year, manufacturer, model, engines, seats, engine
                FROM read_csv('{raw}/reference/planes/*.csv', nullstr = 'NA')
            ),
            airports AS (
                SELECT faa AS dest, lat AS dest_lat, lon AS dest_lon, alt AS dest_alt, tz AS dest_tz
                FROM read_csv('{raw}/reference/airports/*.csv', nullstr = 'NA')
            )
            SELECT flights.* EXCLUDE (filename, last_modified, year, month, day),
                weather.* EXCLUDE (origin, hour_start), planes.* EXCLUDE (tailnum), airports.* EXCLUDE (dest),
                year, month, day
            FROM flights
            LEFT JOIN weather ON weather.origin = flights.origin AND hour_start = time_hour::TIMESTAMPTZ
            LEFT JOIN planes ON planes.tailnum = flights.tailnum
            LEFT JOIN airports ON airports.dest = flights.dest
        ) TO '{root}/peer/flights' (FORMAT parquet, COMPRESSION snappy, PARTITION_BY (year, month, day))"""  # noqa: S608
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": time.monotonic() - started, "peak_mib": peak}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
