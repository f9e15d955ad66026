"""SageMaker, which MiniStack 1.5.33 lacks: API, CloudFormation types, jobs, pipelines, endpoints, events.

State is in memory alone: a restarted local cloud has no endpoints, jobs or models.
"""

from collections.abc import Callable

from local.hooks import wrap
from local.hooks.sagemaker import api, authorization, cloudformation, containers, endpoints, store


def reset(original: Callable[[], None]) -> None:
    """End every container and forget every record, as MiniStack does its own."""
    endpoints.clear()
    store.clear()
    containers.end_all()
    original()


def install() -> None:
    """Route SageMaker's requests here, register its resource types, and take part in the emulator's reset."""
    from ministack import app
    from ministack.core import router

    from local.hooks.sagemaker import jobs, pipelines, registry  # noqa: F401 (they register their operations)

    if "sagemaker" in app.SERVICE_HANDLERS:
        raise RuntimeError(f"MiniStack has SageMaker now: delete {__file__} or what of it is covered.")
    app.SERVICE_HANDLERS["sagemaker"] = api.handle
    router.SERVICE_PATTERNS["sagemaker"] = {"target_prefixes": ["SageMaker."], "host_patterns": [r"sagemaker\."]}
    wrap(app, "_reset_all_state", reset)
    authorization.install()
    cloudformation.install()
