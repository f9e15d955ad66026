"""Sandbox: cheap, deleted with its data, deployed to the local cloud by `make demo`."""

SETTINGS = {
    "prefix": "millrace-sandbox",
    "retain": False,
    "streaming": {"flights": {"shards": 1}, "weather": {"shards": 1}, "buffer_seconds": 60},
    "real_time": {"auto_scaling": False},
    "catalog_etl": {"batch_seconds": 30, "sweep_hours": 24},
    "data_catalog": {"nightly": None, "quality": None},  # a crawl costs its ten minutes at least: on demand
    "serving": {"kind": "serverless"},
    "monitoring": {"approve_retrained": True},
    "audit": None,  # an account's second trail costs by the event
}
