"""The table of rules, which is the whole of the proof."""

from atoll.compiler.batch_rules import contraction, control, elementwise, indexing, libraries, reduction, shape
from atoll.compiler.batch_rules.interpretation import Rule

ROWS: tuple[Rule, ...] = (
    *elementwise.RULES,
    *shape.RULES,
    *contraction.RULES,
    *reduction.RULES,
    *indexing.RULES,
    *control.RULES,
    *libraries.RULES,
)

RULES: dict[str, Rule] = {name: row for row in ROWS for name in row.operations}


def rows_of_rules() -> list[str]:
    """The rows of the table in the documents: operations that the same is said of in one."""
    by_saying: dict[str, list[str]] = {}
    for row in ROWS:
        by_saying.setdefault(row.says, []).extend(name.removeprefix("stablehlo.") for name in row.operations)
    return [f"| {', '.join(f'`{name}`' for name in sorted(names))} | {says} |" for says, names in by_saying.items()]
