"""What benchmarks write down: medians, their ratio, whether the goal is reached, in one line and one file."""

import json
from pathlib import Path

import pytest

from benchmarks.figures import Figure, write


def test_a_figure_is_a_line_and_an_entry_of_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = [
        Figure("rows", "rows/s", [900, 4000, 1500], "a peer", [500, 400], (">=", 3)),
        Figure("start-up", "s", [2.5, 2.25]),
    ]
    assert write("any", figures, tmp_path)
    assert capsys.readouterr().out == (
        "rows 1,500 rows/s | a peer 450 | 3.33 (>= 3) | 3 runs 900 to 4,000, peer 400 to 500\n"
        "start-up 2.38 s | no peer | - (no goal) | 2 runs 2.25 to 2.5\n"
    )
    assert json.loads((tmp_path / "any.json").read_text()) == [
        {
            "figure": "rows",
            "value": 1500,
            "unit": "rows/s",
            "peer": "a peer",
            "peer_value": 450,
            "ratio": 1500 / 450,
            "goal": ">= 3",
            "runs": {"value": [900, 4000, 1500], "peer_value": [500, 400]},
        },
        {
            "figure": "start-up",
            "value": 2.375,
            "unit": "s",
            "peer": None,
            "peer_value": None,
            "ratio": None,
            "goal": None,
            "runs": {"value": [2.5, 2.25], "peer_value": []},
        },
    ]


def test_a_missed_goal_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not write("any", [Figure("bytes", "B", [30], "CSV", [100], ("<=", 0.1))], tmp_path)
    assert "0.30 (<= 0.1, MISSED)" in capsys.readouterr().out
    assert not write("any", [Figure("backlog", "records", [7], goal=("<=", 5))], tmp_path)
