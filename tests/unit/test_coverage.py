"""docs/coverage.md tells the truth."""

from tests import coverage


def test_every_mark_names_a_requirement() -> None:
    known = {row.id for row in coverage.rows()}
    unknown = sorted(f"{place}: {row}" for row, place in coverage.shown() if row not in known)
    assert not unknown, "\n".join(unknown)


def test_the_page_is_what_the_marks_say() -> None:
    again = "`python -m tests.coverage > docs/coverage.md` writes it anew"
    assert coverage.PAGE.read_text() == coverage.markdown(), again
