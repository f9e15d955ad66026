#!/usr/bin/env python3
"""Composition root: settings -> one Stage per environment -> stacks, in the order data flows."""

import sys

from aws_cdk import App, Stage, Tags, Validations
from cdk_nag import (
    AwsSolutionsChecks,
    HIPAASecurityChecks,
    NIST80053R5Checks,
    PCIDSS321Checks,
    ServerlessChecks,
)
from constructs import Construct

from components.findings import Explained
from components.function import VendoredPackagesError
from components.lifecycle import LifecycleError
from config.settings import ENVIRONMENTS, Settings, SettingsError, load
from stacks.account_settings import AccountSettings
from stacks.audit import Audit
from stacks.catalog_etl import CatalogEtl
from stacks.data_catalog import DataCatalog
from stacks.data_lake import DataLake
from stacks.delay_delivery import DelayDelivery
from stacks.etl_jobs import EtlJobs
from stacks.flight_state import FlightState
from stacks.foundation import Foundation
from stacks.images import Images
from stacks.monitoring import Monitoring
from stacks.people import People
from stacks.real_time import RealTime
from stacks.serving import Serving
from stacks.stream_scoring import StreamScoring
from stacks.streaming import Streaming
from stacks.training import Training

PACKS = (AwsSolutionsChecks, NIST80053R5Checks, HIPAASecurityChecks, PCIDSS321Checks, ServerlessChecks)


class Platform(Stage):
    """All layers of one environment; each method is one part of the path that data takes."""

    def __init__(self, scope: Construct, environment: str, settings: Settings) -> None:
        super().__init__(scope, environment)
        foundation = Foundation(self, "foundation", settings.deployment, settings.foundation)
        lake, streaming = self._ingest(settings, foundation)
        real_time = self._judge_in_real_time(settings, foundation, lake, streaming)
        self._curate(settings, foundation, lake, streaming)
        self._learn_and_serve(settings, foundation, lake, real_time)
        images = Images(self, "images", settings.deployment, settings.images, key=foundation.key)
        self._guard(settings, foundation, lake, images)
        Tags.of(self).add("project", "millrace")
        Tags.of(self).add("environment", environment)

    def _ingest(self, settings: Settings, foundation: Foundation) -> tuple[DataLake, Streaming]:
        """Events -> streams -> raw, and the state of every flight."""
        here, key = settings.deployment, foundation.key
        lake = DataLake(self, "data-lake", here, settings.data_lake, key=key, vpc=foundation.vpc)
        streaming = Streaming(
            self,
            "streaming",
            here,
            settings.streaming,
            key=key,
            raw=lake.raw,
            quarantine=lake.quarantine,
            database=lake.database,
        )
        FlightState(
            self,
            "flight-state",
            here,
            settings.flight_state,
            key=key,
            stream=streaming.stream,
            quarantine=lake.quarantine,
        )
        return lake, streaming

    def _judge_in_real_time(
        self, settings: Settings, foundation: Foundation, lake: DataLake, streaming: Streaming
    ) -> RealTime:
        """Flights stream -> delays with their anomalies, and departures to be scored."""
        here, key = settings.deployment, foundation.key
        real_time = RealTime(
            self,
            "real-time",
            here,
            settings.real_time,
            key=key,
            stream=streaming.stream,
            packages=lake.models,
            raw=lake.raw,
        )
        DelayDelivery(
            self,
            "delay-delivery",
            here,
            settings.delay_delivery,
            key=key,
            stream=real_time.delays,
            curated=lake.curated,
            database=lake.database,
        )
        return real_time

    def _curate(self, settings: Settings, foundation: Foundation, lake: DataLake, streaming: Streaming) -> None:
        """Raw -> curated, catalogued tables, and what further jobs make of them."""
        here, key = settings.deployment, foundation.key
        etl = CatalogEtl(
            self,
            "catalog-etl",
            here,
            settings.catalog_etl,
            key=key,
            raw=lake.raw,
            curated=lake.curated,
            athena_results=lake.athena_results,
            database=lake.database,
        )
        EtlJobs(
            self,
            "etl-jobs",
            here,
            settings.etl_jobs,
            key=key,
            raw=lake.raw,
            curated=lake.curated,
            features=lake.features,
            database=lake.database,
            stream=streaming.stream,
        )
        DataCatalog(
            self,
            "data-catalog",
            here,
            settings.data_catalog,
            key=key,
            raw=lake.raw,
            quarantine=lake.quarantine,
            curated=lake.curated,
            database=lake.database,
            flights_table=etl.table,
            weather_table=streaming.weather_table,
            curate_job=etl.job,
            alerts=etl.alerts,
        )

    def _learn_and_serve(self, settings: Settings, foundation: Foundation, lake: DataLake, real_time: RealTime) -> None:
        """Curated -> model -> endpoint -> scores; what it answers is watched, and drift trains anew."""
        here, key, vpc = settings.deployment, foundation.key, foundation.jobs_vpc
        image = {"repository": foundation.image.repository, "image_uri": foundation.image.uri}
        training = Training(
            self,
            "training",
            here,
            settings.training,
            key=key,
            vpc=vpc,
            **image,
            curated=lake.curated,
            models=lake.models,
        )
        serving = Serving(
            self,
            "serving",
            here,
            settings.serving,
            key=key,
            vpc=vpc,
            **image,
            models=lake.models,
            captured=lake.captured,
            model_package_group=training.model_package_group,
        )
        StreamScoring(
            self,
            "stream-scoring",
            here,
            settings.stream_scoring,
            key=key,
            stream=real_time.departures,
            endpoint_name=serving.endpoint_name,
        )
        Monitoring(
            self,
            "monitoring",
            here,
            settings.monitoring,
            key=key,
            vpc=vpc,
            **image,
            captured=lake.captured,
            models=lake.models,
            endpoint_name=serving.endpoint_name,
            deploy_function_name=serving.deploy.function_name,
            failed_roll_outs_name=serving.failed_roll_outs.queue_name,
            training_pipeline_arn=training.pipeline.arn,
        )

    def _guard(self, settings: Settings, foundation: Foundation, lake: DataLake, images: Images) -> None:
        """What an environment may have besides: an audit trail, people's roles, settings of the whole account."""
        here, key = settings.deployment, foundation.key
        if settings.audit:
            buckets = [lake.raw, lake.quarantine, lake.curated, lake.features, lake.models, lake.captured]
            buckets += [lake.athena_results, images.pictures, images.thumbnails]
            Audit(self, "audit", here, settings.audit, key=key, buckets=buckets)
        if settings.people:
            People(
                self,
                "people",
                here,
                settings.people,
                key=key,
                vpc=foundation.vpc,
                repository=foundation.image.repository,
                raw=lake.raw,
                quarantine=lake.quarantine,
                curated=lake.curated,
                models=lake.models,
                athena_results=lake.athena_results,
                database=lake.database,
            )
        if settings.account_settings.wanted:
            AccountSettings(self, "account-settings", here, settings.account_settings, key=key)


def main() -> None:
    """Synthesize the environment named by `-c environment=...`, or all of them."""
    # Traces of where constructs were created hold the path of a temporary folder: no two syntheses would be the same.
    app = App(stack_traces=False, context={"aws:cdk:disable-creation-stack-traces": True})
    chosen = app.node.try_get_context("environment")
    for environment in [chosen] if chosen else ENVIRONMENTS:
        Platform(app, environment, load(environment))
    packs = [pack(app) for pack in PACKS]
    Validations.of(app).add_plugins(Explained(app, *packs), *packs)
    app.synth()


if __name__ == "__main__":
    try:
        main()
    except (SettingsError, LifecycleError, VendoredPackagesError) as error:
        sys.exit(str(error))
