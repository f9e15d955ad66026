"""Streaming: events of flights and of weather arrive on streams and land in the lake, what is refused in quarantine.

    stream -> transform -> raw, Parquet by the event's day        one such line for flights, one for weather

Provisions  two Kinesis streams; for each a Firehose delivery stream that reads it, transforms records with a Lambda
            function, writes Parquet by the event's day, and keeps every record as it came and those it could not
            deliver; the raw tables that give them their schemas; alarms, and an encrypted topic that they publish to.
Inputs      a KMS key, the raw and quarantine buckets, the catalogue database.
Outputs     `stream` and `table` of flights, `weather_stream` and `weather_table`.
Costs       a provisioned shard $0.36 a day, $0.84 if it keeps records for more than one; an on-demand stream $0.96 and,
            of records that count as 1 KB at least, $0.08 a GB in and $0.04 a GB out. Firehose counts a record as 5 KB
            at least: $0.24 a million with Parquet; partitions are $0.02 a GB and $0.005 a thousand objects. Lambda by
            use. $0.10 a month for each of ten alarms.
Copy        this file, components/{alerts,base,delivery,delivery_role,findings,function,layout,log_group,parquet_table,
            permissions,role,stream}.py, contracts, schemas, lambda/records_transform and
            build/vendored/records_transform.
"""

from typing import Literal

from aws_cdk import CfnOutput, Duration, Size
from aws_cdk import aws_glue as glue
from aws_cdk import aws_kms as kms
from aws_cdk import aws_s3 as s3
from constructs import Construct
from pydantic import Field, ValidationInfo, field_validator

from components.alerts import Alerts, Email
from components.base import Deployment, Layer, Options
from components.delivery import Delivery
from components.stream import DataStream, shards_needed
from schemas import flights, weather

FLIGHTS_PREFIX, WEATHER_PREFIX = "flights/", "weather/"


class StreamOptions(Options):
    """A stream's capacity, and the load it is meant for, which a provisioned one is held against."""

    mode: Literal["provisioned", "on-demand"] = Field("provisioned", description="how the stream's capacity is billed")
    retention_hours: int = Field(24, ge=24, le=8760, description="hours that the stream can be replayed")
    records_per_second: float = Field(100, ge=0, description="records a second that producers send at the peak")
    record_bytes: int = Field(500, ge=1, le=1_048_576, description="bytes of an average record with its key")
    read_mb_per_second: float = Field(0.2, ge=0, description="MB a second that all consumers together read at the peak")
    shards: int = Field(
        1,
        ge=1,
        le=200,
        validate_default=True,
        description="shards of a provisioned stream: 1 MB/s or 1,000 records/s in and 2 MB/s out each",
    )

    @field_validator("shards")
    @classmethod
    def _carry_the_load(cls, shards: int, others: ValidationInfo) -> int:
        load = others.data
        if load.get("mode") != "provisioned" or not load.keys() >= {"record_bytes", "read_mb_per_second"}:
            return shards
        mb_in = load["records_per_second"] * load["record_bytes"] / 1e6
        needed = shards_needed(mb_in, load["records_per_second"], load["read_mb_per_second"])
        if shards < needed:
            raise ValueError(
                f"Input should be at least {needed}: {load['records_per_second']:g} records/s of "
                f"{load['record_bytes']} bytes and {load['read_mb_per_second']:g} MB/s read need as many"
            )
        return shards


class StreamingOptions(Options):
    flights: StreamOptions = StreamOptions()
    weather: StreamOptions = StreamOptions()
    buffer_mib: int = Field(64, ge=64, le=128, description="MiB Firehose gathers; Parquet needs 64 or more")
    buffer_seconds: int = Field(60, ge=60, le=900, description="seconds Firehose waits at most")
    late_seconds: int = Field(
        1200, ge=1200, le=86_400, description="seconds that records may wait for the lake before people hear"
    )
    alert_email: Email | None = Field(None, description="who is told when delivery fails")


class Streaming(Layer):
    """Streams -> transforms -> raw zone, with everything refused in quarantine."""

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        deployment: Deployment,
        options: StreamingOptions,
        *,
        key: kms.IKey,
        raw: s3.IBucket,
        quarantine: s3.IBucket,
        database: glue.IDatabase,
    ) -> None:
        super().__init__(scope, construct_id, deployment, "Millrace: events of flights and weather, stream to lake")
        shared = {
            "key": key,
            "raw": raw,
            "quarantine": quarantine,
            "database": database,
            "buffer_size": Size.mebibytes(options.buffer_mib),
            "buffer_interval": Duration.seconds(options.buffer_seconds),
            "alerts": Alerts(self, "Alerts", key=key, email=options.alert_email),
            "late": Duration.seconds(options.late_seconds),
        }
        self.stream = self._stream("Flights", options.flights, key)
        landed = Delivery(
            self,
            "FlightsDelivery",
            deployment,
            stream=self.stream,
            contract="flights",
            prefix=FLIGHTS_PREFIX,
            columns=flights.RAW_COLUMNS,
            **shared,
        )
        self.weather_stream = self._stream("Weather", options.weather, key)
        weather_landed = Delivery(
            self,
            "WeatherDelivery",
            deployment,
            stream=self.weather_stream,
            contract="weather",
            prefix=WEATHER_PREFIX,
            columns=weather.RAW_COLUMNS,
            **shared,
        )
        self.table, self.weather_table = landed.table, weather_landed.table
        CfnOutput(self, "StreamName", value=self.stream.stream_name)
        CfnOutput(self, "DeliveryStreamName", value=landed.name)
        CfnOutput(self, "RawTableName", value=self.table.table_name)
        CfnOutput(self, "WeatherStreamName", value=self.weather_stream.stream_name)
        CfnOutput(self, "WeatherDeliveryStreamName", value=weather_landed.name)
        CfnOutput(self, "WeatherRawTableName", value=self.weather_table.table_name)

    def _stream(self, construct_id: str, options: StreamOptions, key: kms.IKey) -> DataStream:
        return DataStream(
            self,
            construct_id,
            self.deployment,
            key=key,
            mode=options.mode,
            shards=options.shards,
            retention=Duration.hours(options.retention_hours),
        )
