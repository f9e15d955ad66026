"""Production: data is kept, jobs run in private subnets, two instances in two zones serve, people approve models."""

SETTINGS = {
    "prefix": "millrace-production",
    "foundation": {"zones": 3, "interface_endpoints": True},
    "data_lake": {
        "rules": [
            {
                # Ten years and a year's closing, as bookkeeping wants them; the tables themselves are under flights/.
                "zone": "curated",
                "name": "finance-exports",
                "prefix": "exports/",
                "tags": {"Department": "Finance"},
                "transitions": {"DEEP_ARCHIVE": 365},
                "expire_days": 4018,
            }
        ]
    },
    "streaming": {
        "flights": {"mode": "on-demand", "retention_hours": 168},
        "weather": {"retention_hours": 168},
        "buffer_mib": 128,
        "buffer_seconds": 300,
    },
    "flight_state": {"max_age_hours": 160, "parallel_batches": 4},
    "real_time": {"mode": "on-demand", "parallelism": 2, "reader": "fan-out"},
    "catalog_etl": {"workers": 4, "batch_seconds": 900},
    "etl_jobs": {"features_hours": 24, "compact_hours": 24},
    "serving": {"kind": "realtime", "instance_count": 2},
    "monitoring": {"drifted_features": 2, "approve_retrained": False},
    "audit": {"object_events": "all"},
    "people": {
        "data_engineers": ["user/data-engineers/*"],
        "data_scientists": ["user/data-scientists/*"],
        "auditors": ["user/auditors/*"],
    },
}
