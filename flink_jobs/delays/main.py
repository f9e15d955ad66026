"""Flink job: flights checked for the model, and delays per airport and minute, scored by how unusual they are.

    source -> parse -> SQL: what is known before a departure -> departures
                |  \\-> late? -> SQL: one-minute windows per airport -> random cut forest -> SQL: anomalies -> metrics
                \\-> rejected <-/

Which connectors the tables use is configuration alone: each of `source`, `departures`, `metrics` and `rejected` has a
property group whose entries are the options of its DDL. Managed Flink puts the groups into a file; elsewhere its path
is the argument.

A window is emitted once the newest scheduled departure seen is `lateness.seconds` past its end. A flight that comes
after that is rejected with the reason "late": it changes no window that has been emitted, and is a departure as others.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from flights import Flight, is_late, parse
from forest import DelayForest, Point, Settings, point
from pyflink.common import Duration, Row, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import (
    DataStream,
    KeyedProcessFunction,
    OutputTag,
    ProcessFunction,
    RuntimeContext,
    StreamExecutionEnvironment,
)
from pyflink.datastream.state import ValueStateDescriptor
from pyflink.table import DataTypes, Schema, StreamTableEnvironment

from contracts.reader import Rejected

# https://docs.aws.amazon.com/managed-flink/latest/java/how-properties.html
MANAGED_PROPERTIES = "/etc/flink/application_properties.json"

_TYPES = {str: Types.STRING(), int: Types.LONG(), float: Types.DOUBLE(), float | None: Types.DOUBLE()}
FLIGHT = Types.ROW_NAMED(list(Flight._fields), [_TYPES[kind] for kind in Flight.__annotations__.values()])
REJECTED = OutputTag("rejected", Types.ROW_NAMED(["reason", "detail"], [Types.STRING(), Types.STRING()]))
SCORED = Types.ROW_NAMED(
    ["airport", "window_start", "flights", "departed", "mean_delay", "max_delay", "share_late", "score"],
    [
        Types.STRING(),
        Types.STRING(),
        Types.LONG(),
        Types.LONG(),
        Types.DOUBLE(),
        Types.DOUBLE(),
        Types.DOUBLE(),
        Types.DOUBLE(),
    ],
)
# Columns of the tables; their options are configuration.
TABLES = {
    "source": "record BYTES",
    "departures": """event_id STRING, scheduled STRING, `year` BIGINT, `month` BIGINT, `day` BIGINT, carrier STRING,
        origin STRING, dest STRING, `hour` BIGINT, `minute` BIGINT, sched_arr_time BIGINT, distance DOUBLE""",
    "metrics": """airport STRING, window_start STRING, flights BIGINT, departed BIGINT,
        mean_delay DOUBLE, max_delay DOUBLE, share_late DOUBLE, score DOUBLE, anomaly BOOLEAN""",
    "rejected": "reason STRING, detail STRING",
}

# Streaming ETL. Nothing that is known only once the aircraft has left: it is what the model is asked.
CHECKED = """
    SELECT event_id, DATE_FORMAT(TO_TIMESTAMP_LTZ(scheduled_ms, 3), 'yyyy-MM-dd''T''HH:mm:ss''Z''') AS scheduled,
        `year`, `month`, `day`, carrier, origin, dest, `hour`, `minute`, sched_arr_time, distance
    FROM checked
"""
# Continuous metrics. A flight without a delay was cancelled: it counts, and has no part in the delays. Late is more
# than 15 minutes:
# https://www.bts.gov/explore-topics-and-geography/topics/airline-time-performance-and-causes-flight-delays
WINDOWS = """
    SELECT origin AS airport, DATE_FORMAT(window_start, 'yyyy-MM-dd''T''HH:mm:ss''Z''') AS window_start,
        COUNT(*) AS flights, COUNT(delay) AS departed, AVG(delay) AS mean_delay, MAX(delay) AS max_delay,
        AVG(CASE WHEN delay > 15 THEN 1.0E0 WHEN delay IS NOT NULL THEN 0.0E0 END) AS share_late
    FROM TABLE(TUMBLE(TABLE flights, DESCRIPTOR(scheduled), INTERVAL '1' MINUTE))
    GROUP BY origin, window_start, window_end
"""
# Responsive analytics: the minutes that somebody has to hear of.
ANOMALIES = "SELECT *, score IS NOT NULL AND score >= {threshold:.17E} AS anomaly FROM scored"


class Properties:
    """The property groups of the job. Raises ValueError naming a group or an entry that is missing or wrong."""

    def __init__(self, path: Path) -> None:
        groups = json.loads(path.read_text())
        self._groups: dict[str, Mapping[str, str]] = {
            group["PropertyGroupId"]: group["PropertyMap"] for group in groups
        }

    def group(self, name: str) -> Mapping[str, str]:
        if name not in self._groups:
            raise ValueError(f"the job needs the property group {name!r}; there are {sorted(self._groups)}")
        return self._groups[name]

    def number(self, name: str) -> float:
        given = self.group("job").get(name, "")
        try:
            return float(given)
        except ValueError:
            raise ValueError(f"the property {name!r} of the group 'job' is {given!r}, not a number") from None


class Parse(ProcessFunction):
    """Records become flights; what is none goes to the side output and is counted by reason."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self._count = Counters(runtime_context)

    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> Iterator[Any]:
        outcome = parse(bytes(value[0]))
        if isinstance(outcome, Rejected):
            self._count(outcome.reason)
            yield REJECTED, Row(outcome.reason, outcome.detail)
        else:
            yield Row(*outcome)


class Late(ProcessFunction):
    """Flights of a window that may have been emitted go to the side output: SQL would drop them unseen."""

    def open(self, runtime_context: RuntimeContext) -> None:
        self._count = Counters(runtime_context)

    def process_element(self, value: Any, ctx: ProcessFunction.Context) -> Iterator[Any]:
        if is_late(value.scheduled_ms, ctx.timer_service().current_watermark()):
            self._count("late")
            yield REJECTED, Row("late", f"{value.origin} {value.scheduled_ms}")
        else:
            yield value


class Score(KeyedProcessFunction):
    """Windows of one airport, in order, get their score; one in which nobody departed has none."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._forests: dict[str, DelayForest] = {}

    def open(self, runtime_context: RuntimeContext) -> None:
        self._latest = runtime_context.get_state(ValueStateDescriptor("latest", Types.PICKLED_BYTE_ARRAY()))

    def process_element(self, value: Any, ctx: KeyedProcessFunction.Context) -> Iterator[Row]:
        score = None
        if value.departed:
            score = self._score(value.airport, point(value.mean_delay, value.max_delay, value.share_late))
        yield Row(*value, score)

    def _score(self, airport: str, new: Point) -> float | None:
        if airport not in self._forests:  # this worker has just started
            self._forests[airport] = DelayForest(self._settings, self._latest.value() or ())
        forest = self._forests[airport]
        score = forest.score(new)
        self._latest.update(list(forest.latest))
        return score


class Counters:
    """Counts rejected records by reason; CloudWatch gets the metrics of this group.

    https://docs.aws.amazon.com/managed-flink/latest/java/monitoring-metrics-custom.html
    """

    def __init__(self, context: RuntimeContext) -> None:
        self._group = context.get_metrics_group().add_group("kinesisanalytics").add_group("Program", "delays")
        self._counters: dict[str, Any] = {}

    def __call__(self, reason: str) -> None:
        if reason not in self._counters:
            self._counters[reason] = self._group.counter(f"rejected_{reason}")
        self._counters[reason].inc()


class Scheduled(TimestampAssigner):
    """Event time is the scheduled departure."""

    def extract_timestamp(self, value: Any, record_timestamp: int) -> int:
        return value.scheduled_ms


def main(properties: Properties) -> Any:
    """Submit the job; returns what `wait()` waits for its end with, which a stream has not."""
    environment = StreamExecutionEnvironment.get_execution_environment()
    tables = StreamTableEnvironment.create(environment)
    tables.get_config().set_local_timezone("UTC")  # which SQL gives the windows' times in
    for name, columns in TABLES.items():
        tables.execute_sql(create_table(name, columns, properties.group(name)))
    records = tables.to_data_stream(tables.from_path("source"))
    watermarks = (
        WatermarkStrategy.for_bounded_out_of_orderness(_seconds(properties, "lateness.seconds"))
        .with_idleness(_seconds(properties, "idle.seconds"))  # a task without a shard must not hold the others back
        .with_timestamp_assigner(Scheduled())  # last: with_idleness() would lose it
    )
    checked, flights, rejected = sorted_out(records, watermarks)
    tables.create_temporary_view("checked", checked)
    tables.create_temporary_view("flights", tables.from_data_stream(flights, _with_event_time()))
    settings = Settings(*(int(properties.number(f"forest.{name}")) for name in Settings._fields))
    scored = (
        tables.to_data_stream(tables.sql_query(WINDOWS))
        .key_by(lambda window: window.airport, Types.STRING())
        .process(Score(settings), SCORED)
        .uid("score")  # under which a snapshot keeps its state when the rest of the job has changed
    )
    tables.create_temporary_view("scored", scored)
    anomalies = ANOMALIES.format(threshold=properties.number("anomaly.threshold"))
    statements = tables.create_statement_set()
    statements.add_insert("departures", tables.sql_query(CHECKED))
    statements.add_insert("metrics", tables.sql_query(anomalies))
    statements.add_insert("rejected", tables.from_data_stream(rejected))
    return statements.execute()


def create_table(name: str, columns: str, options: Mapping[str, str]) -> str:
    """The DDL of a table with these connector options."""
    quoted = (f"'{_quoted(key)}' = '{_quoted(value)}'" for key, value in sorted(options.items()))
    return f"CREATE TEMPORARY TABLE {name} ({columns}) WITH ({', '.join(quoted)})"


def sorted_out(records: DataStream, watermarks: WatermarkStrategy) -> tuple[DataStream, DataStream, DataStream]:
    """Every checked flight; those whose window is open, with their event time; and what was rejected."""
    checked = records.process(Parse(), FLIGHT)
    flights = checked.assign_timestamps_and_watermarks(watermarks).process(Late(), FLIGHT)
    return checked, flights, checked.get_side_output(REJECTED).union(flights.get_side_output(REJECTED))


def _with_event_time() -> Schema:
    return (
        Schema.new_builder()
        .column("origin", DataTypes.STRING())
        .column("delay", DataTypes.DOUBLE())
        .column_by_metadata("scheduled", DataTypes.TIMESTAMP_LTZ(3), "rowtime")
        .watermark("scheduled", "SOURCE_WATERMARK()")
        .build()
    )


def _seconds(properties: Properties, name: str) -> Duration:
    return Duration.of_seconds(int(properties.number(name)))


def _quoted(text: str) -> str:
    return text.replace("'", "''")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Properties(Path(sys.argv[1]))).wait()
    else:  # Managed Flink runs the job once this has ended
        main(Properties(Path(MANAGED_PROPERTIES)))
