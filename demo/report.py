"""Writes the demo's report: report.json, and report.html as one page that needs nothing else."""

import calendar
import json
from datetime import datetime
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2

Report = dict[str, Any]
Point = tuple[float, float]

APRIL = {"before_departure": "predicts before departure", "at_departure": "knows the departure delay"}
JULY = {"frozen": "as it was", "retrained": "retrained"}

# The picture of the path, in SVG units.
FIRST, STEP = 58, 138
MIDDLE, THICKEST, THINNEST, LINE = 122, 64, 1.5, 8
LABELS, LABEL_STEP = MIDDLE + THICKEST / 2 + 32, 20
ROC_SIZE = 300

FILES = ("report.json", "report.html")


class _Missing(jinja2.Undefined):
    """Turns a key that the template wants and the report lacks into an error at the place of the look-up."""

    def __init__(self, hint: str | None = None, obj: object = None, name: str | None = None, *_: object) -> None:
        raise KeyError(name or hint)


def write(report: Report, folder: Path) -> Path:
    """Write folder/report.json (keys sorted) and folder/report.html; return the path of the page.

    Raises KeyError naming a missing key, ValueError for a number JSON cannot hold; nothing is written then.
    """
    account = _accounting(report)
    page = (
        _environment()
        .get_template("report.html.j2")
        .render(
            report=report,
            account=account,
            stages=_stages(report, account),
            flow=_flow(account),
            month_names=calendar.month_name,
            joined=_joined(report["months"]),
            names=APRIL,
            april=_curves(report["model"], "april", APRIL),
            july=_curves(report["model"], "july", JULY),
            drift=_drift(report["drift"]["april"]["features"], report["drift"]["july"]["features"]),
            timeline=_timeline(report["loop"]),
            services=_services(report["resources"]["deployed"]),
            real=_real(report["versions"]),
            roc_size=ROC_SIZE,
        )
    )
    data = json.dumps(report, indent=2, sort_keys=True, allow_nan=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in zip(FILES, (data, page), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    return folder / FILES[1]


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=_Missing,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": "{:,}".format, "duration": _duration, "moment": datetime.fromisoformat}
    return environment


def _duration(seconds: float) -> str:
    """Return 0.4 as `0.4 s` and 312.4 as `5 min 12 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def _accounting(report: Report) -> Report:
    """Return where every event sent has ended; `missing` is what no place accounts for."""
    reasons = dict(report["records_quarantined"])
    refused = reasons.pop("oversize")
    sent, curated, quarantined = report["records_sent"], report["records_curated"], sum(reasons.values())
    missing = sent - curated - quarantined - refused
    return {
        "sent": sent,
        "accepted": sent - refused,
        "raw": sent - refused - quarantined,
        "curated": curated,
        "quarantined": quarantined,
        "refused": refused,
        "duplicates": report["records_duplicate"],
        "reasons": sorted(reasons.items(), key=lambda item: -item[1]),
        "missing": missing,
        "holds": missing == 0 == _missing_weather(report["weather"]) and not report["accounting_problems"],
    }


def _missing_weather(weather: dict[str, int]) -> int:
    return weather["sent"] - weather["landed"] - weather["quarantined"]


def _joined(months: list[dict[str, int]]) -> dict[str, float]:
    """Return the share of all flights, in per cent, that found a row of each joined table."""
    flights = sum(month["flights"] for month in months)
    tables = {"weather": "weather", "planes": "plane", "airports": "airport of arrival"}
    return {name: 100 * sum(month[table] for month in months) / flights for table, name in tables.items()}


def _real(versions: dict[str, str]) -> list[tuple[str, str]]:
    """Return the parts of the platform, each with what did its work in this run."""
    return [
        ("Templates", f"what cdk synth writes, deployed by AWS's CDK CLI {versions['CDK CLI']}"),
        ("Events", "real flights and weather, from the producer that also sends them to an account"),
        ("Lambda functions", "the code that AWS would get, each under its own role, which is enforced"),
        ("Kinesis, Firehose", "emulated; records pass the real transform, and Parquet lands in an emulated S3"),
        ("Glue job", f"the real script, on Apache Spark {versions['Spark']}"),
        ("Athena", f"the real queries, translated for DuckDB {versions['DuckDB']}"),
        (
            "Training, evaluation, drift",
            f"the real code of the ML image and XGBoost {versions['XGBoost']}; SageMaker's pipelines are emulated",
        ),
        ("Endpoint", f"the real server of the ML image, on ONNX Runtime {versions['ONNX Runtime']}"),
        ("Alarm, rules, roll-out", "emulated; what starts what is as the templates say"),
    ]


def _stages(report: Report, account: Report) -> list[tuple[str, str, str]]:
    """Return the stages of the platform in order, each as its name, its figure and what the figure is."""
    model, july = report["model"], report["drift"]["july"]
    return [
        ("sent", f"{account['sent']:,}", "by the producer"),
        ("stream", f"{account['accepted']:,}", "taken by Kinesis"),
        ("raw", f"{account['raw']:,}", "Firehose to S3"),
        ("curated", f"{account['curated']:,}", "Spark on Glue"),
        ("registered", f"{model['auc_april'][model['served']]:.3f}", "AUC in April"),
        ("served", f"{report['endpoint']['captured']:,}", "requests captured"),
        ("drift", f"{july['violations']} of {len(july['features'])}", "features in July"),
        ("retrained", f"{model['auc_july']['retrained']:.3f}", "AUC in July"),
    ]


def _flow(account: Report) -> Report:
    """Return the picture's nodes, bands and strands. Bands are as thick as their share of the events sent.

    What turns off does so at a node: the band after it has the thickness of what goes on.
    """
    counts = [account[name] for name in ("sent", "accepted", "raw", "curated")]
    top = MIDDLE - THICKEST / 2
    nodes = [(top, _thickness(count, account["sent"])) for count in counts] + [(MIDDLE - LINE / 2, LINE)] * 4
    xs = [FIRST + STEP * column for column in range(len(nodes))]
    bands = []
    for column in range(len(nodes) - 1):
        (left_top, height), (right_top, right_height) = nodes[column : column + 2]
        start = height if column >= len(counts) - 1 else right_height
        upper = _curve((xs[column], left_top), (xs[column + 1], right_top))
        lower = _curve((xs[column + 1], right_top + right_height), (xs[column], left_top + start))
        bands.append(f"M{upper} L{lower} Z")
    turns = [(0, "refused", 0, "refused", account["refused"])]
    turns += [(1, "quarantined", row, *reason) for row, reason in enumerate(account["reasons"], start=2)]
    turns += [(2, "again", 0, "sent twice", account["duplicates"])]
    foot = nodes[-1][0] + LINE
    return {
        "xs": xs,
        "nodes": [(x, *node) for x, node in zip(xs, nodes, strict=True)],
        "bands": bands,
        "strands": [_strand(*turn, account["sent"], (xs[turn[0]], sum(nodes[turn[0]]))) for turn in turns],
        "quarantined": (xs[1] + 48, LABELS + LABEL_STEP),
        "back": f"M{xs[7]},{foot} C{xs[7]},{foot + 84} {xs[5]},{foot + 84} {xs[5]},{foot + 9}",
        "tip": f"M{xs[5]},{foot + 2} l5,10 h-10 Z",
        "back_label": (xs[6], foot + 86),
        "width": xs[-1] + FIRST,
        "height": LABELS + LABEL_STEP * (len(account["reasons"]) + 1) + 8,
    }


def _thickness(count: int, sent: int) -> float:
    return max(THINNEST, THICKEST * count / sent) if count else 0


def _strand(column: int, kind: str, row: int, name: str, count: int, sent: int, start: Point) -> Report:
    """Return the thin branch from the foot of a column's node to its label."""
    x, y = start[0] + 40, LABELS + LABEL_STEP * row
    line = f"M{start[0]},{start[1]:.2f} C{start[0]},{y - 4} {start[0]},{y - 4} {x},{y - 4}"
    width = _thickness(count, sent)
    return {
        "column": column,
        "kind": kind,
        "name": name,
        "count": count,
        "d": line,
        "width": width,
        "x": x + 8,
        "y": y,
    }


def _curve(start: Point, end: Point) -> str:
    bend = (start[0] + end[0]) / 2
    return f"{start[0]},{start[1]:.2f} C{bend},{start[1]:.2f} {bend},{end[1]:.2f} {end[0]},{end[1]:.2f}"


def _curves(model: Report, month: str, labels: dict[str, str]) -> list[Report]:
    """Return the label, AUC and ROC of each model in a month; the ROC is an SVG path, empty if not recorded."""
    return [
        {
            "label": label,
            "auc": model[f"auc_{month}"][name],
            "path": " L".join(
                f"{ROC_SIZE * false_rate:.1f},{ROC_SIZE * (1 - true_rate):.1f}"
                for false_rate, true_rate in model["roc"].get(f"{month}_{name}", [])
            ),
            "main": name in (model["served"], "retrained"),
        }
        for name, label in labels.items()
    ]


def _drift(april: Report, july: Report) -> list[Report]:
    """Return the features with their distances and where to draw them (per cent), July's furthest first.

    Places are multiples of the feature's own threshold, which makes the threshold one line for all.
    """
    ratio = {name: [month[name]["distance"] / month[name]["threshold"] for month in (april, july)] for name in july}
    scale = 100 / max([1.25, *(max(pair) for pair in ratio.values())])
    return [
        {
            "feature": name,
            "april": april[name]["distance"],
            "july": july[name]["distance"],
            "threshold": july[name]["threshold"],
            "places": [round(place * scale, 2) for place in (*ratio[name], 1)],
        }
        for name in sorted(july, key=lambda name: -ratio[name][1])
    ]


def _timeline(loop: list[Report]) -> list[Report]:
    """Return the events with their time, and the seconds since the event before (None for the first)."""
    times = [datetime.fromisoformat(entry["at"]) for entry in loop]
    since = [None, *((later - earlier).total_seconds() for earlier, later in pairwise(times))]
    return [{**entry, "time": time, "since": gap} for entry, time, gap in zip(loop, times, since, strict=False)]


def _services(deployed: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return the counts of `AWS::S3::Bucket` and the like as service -> type -> count, in alphabetical order."""
    services: dict[str, dict[str, int]] = {}
    for name, count in sorted(deployed.items()):
        service, _, kind = name.removeprefix("AWS::").rpartition("::")
        services.setdefault(service, {})[kind] = count
    return services
