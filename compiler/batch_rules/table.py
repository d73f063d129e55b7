"""The table of rules: what each says of its operations is all that the cut into microbatches relies on."""

from atoll.compiler.batch_rules import (
    collectives,
    contraction,
    control,
    elementwise,
    indexing,
    libraries,
    manual,
    ragged,
    reduction,
    shape,
)
from atoll.compiler.batch_rules.interpretation import Rule

ROWS: tuple[Rule, ...] = (
    *elementwise.RULES,
    *shape.RULES,
    *contraction.RULES,
    *ragged.RULES,
    *reduction.RULES,
    *indexing.RULES,
    *control.RULES,
    *manual.RULES,
    *collectives.RULES,
    *libraries.RULES,
)

RULES: dict[str, Rule] = {name: row for row in ROWS for name in row.operations}


def rows_of_rules() -> list[str]:
    """The rows of the table in the documents; operations with the same description share one."""
    by_saying: dict[str, list[str]] = {}
    for row in ROWS:
        by_saying.setdefault(row.says, []).extend(name.removeprefix("stablehlo.") for name in row.operations)
    return [f"| {', '.join(f'`{name}`' for name in sorted(names))} | {says} |" for says, names in by_saying.items()]
