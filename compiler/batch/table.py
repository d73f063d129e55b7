"""The table of rules, which is the whole of the proof."""

from atoll.compiler.batch import contraction, control, elementwise, indexing, libraries, reduction, shape
from atoll.compiler.batch.rule import Rule

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
