"""Staging: production's shape at the smallest size, to rehearse deployments and roll-outs in."""

SETTINGS = {
    "prefix": "millrace-staging",
    "foundation": {"zones": 2, "interface_endpoints": True},
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
    "streaming": {"flights": {"mode": "on-demand", "retention_hours": 72}, "weather": {"retention_hours": 72}},
    "real_time": {"reader": "fan-out"},
    "catalog_etl": {"batch_seconds": 300},
    "serving": {"kind": "realtime", "instance_count": 2},
    "monitoring": {"approve_retrained": True},
    "audit": {"object_events": "writes"},
    "people": {
        "data_engineers": ["user/data-engineers/*"],
        "data_scientists": ["user/data-scientists/*"],
        "auditors": ["user/auditors/*"],
        "session_hours": 4,
    },
}
