"""`python -m checks.rules > docs/rules.md` writes the table of the rules."""

from checks.rules import PACK, RULES
from checks.rules.rule import Rule


def table() -> str:
    """docs/rules.md."""
    heads = ("Rule", "What holds", "Why", "Fix")
    lines = [
        "# The rules for data and ML resources",
        "",
        f"{len(RULES)} rules; `python -m checks.rules > docs/rules.md` writes this page.",
        "`python -m checks cdk.out` runs them on any assembly. In another app:",
        "",
        "```python",
        "from checks.plugin import DataAndMlChecks",
        "",
        "Validations.of(app).add_plugins(DataAndMlChecks())",
        "```",
        "",
        "A finding of severity high or medium fails `cdk synth`, a low one warns. To accept one:",
        f'`Validations.of(construct).acknowledge(Acknowledgment(id="{PACK}::<rule>", reason="..."))`.',
        "Where a rule needs a literal and the template has an intrinsic function, the worst is assumed; an intrinsic",
        "function that names a key is a key. The templates of nested stacks are not read: `nested-stack` names each.",
        "",
        f"| {' | '.join(heads)} |",
        f"|{' --- |' * len(heads)}",
        *(_row(each) for each in RULES),
    ]
    return "\n".join(lines) + "\n"


def _row(rule: Rule) -> str:
    source = f" [AWS]({rule.source})" if rule.source else ""
    cells = (f"`{rule.id}` {rule.severity}", rule.what, rule.why + source, rule.fix)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(table(), end="")
