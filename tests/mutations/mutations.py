"""Faults that tests must find: one line each is changed, and a named test fails.

A test that is deleted or made faster may not take with it what only it found. So each of these faults has been put into
the code and found by the test named `killed_by`; `before` is the test that found it when it was written. `run.py` does
it again.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """A fault: in a file a line, or a part of one that stands there once, is replaced."""

    name: str
    file: str
    old: str
    new: str
    killed_by: str = ""
    before: str = ""


RULES = "compiler/batch_rules"

MUTATIONS = (
    # Rules of the batch.
    Mutation(
        "contracted-dimensions-take-the-largest",
        f"{RULES}/contraction.py",
        'Factor(pair, (None,), "add") for pair in contracting',
        'Factor(pair, (None,), "max") for pair in contracting',
    ),
    Mutation("free-dimensions-are-numbered-from-0", f"{RULES}/contraction.py", "result = len(batching)", "result = 0"),
    Mutation(
        "a-kernel-gradient-sums-the-outputs",
        f"{RULES}/contraction.py",
        'Factor((image, numbers.kernel_input_feature_dimension), (None,), "add")',
        'Factor((image, kernel), (None,), "add")',
    ),
    Mutation(
        "a-sum-begins-in-every-microbatch",
        f"{RULES}/reduction.py",
        'base = 1 if kind == "add" else None',
        "base = None",
    ),
    Mutation("windows-ignore-padding", f"{RULES}/reduction.py", " and padding == [0, 0]", ""),
    Mutation(
        "sorting-keeps-examples-apart",
        f"{RULES}/reduction.py",
        "for one in range(rank) if one != sorted_]",
        "for one in range(rank)]",
    ),
    Mutation(
        "a-reshape-is-off-by-one-dimension",
        f"{RULES}/shape.py",
        "math.prod(node.operand_shape()[:one]): one",
        "math.prod(node.operand_shape()[: one + 1]): one",
    ),
    Mutation(
        "a-slice-may-take-steps",
        f"{RULES}/shape.py",
        "if (starts[one], limits[one], strides[one]) == (0, size, 1)",
        "if (starts[one], limits[one]) == (0, size)",
    ),
    Mutation(
        "padding-between-examples-is-ignored",
        f"{RULES}/shape.py",
        "if amounts == (0, 0, 0)]",
        "if amounts[:2] == (0, 0)]",
    ),
    Mutation("joined-examples-are-apart", f"{RULES}/shape.py", 'if one != node.integer("dimension")]', "if one != -1]"),
    Mutation(
        "reversed-examples-are-in-order",
        f"{RULES}/shape.py",
        "for one in range(len(node.result_shape())) if one not in reversed_]",
        "for one in range(len(node.result_shape()))]",
    ),
    Mutation(
        "an-iota-counts-on-by-one",
        f"{RULES}/shape.py",
        "local.offset(type_.get_dim_size(form.dimension), location)",
        "local.offset(1, location)",
    ),
    Mutation(
        "a-gather-takes-any-window",
        f"{RULES}/indexing.py",
        "zip(kept, offsets, strict=True) if sizes[one] == operand[one]",
        "zip(kept, offsets, strict=True)",
    ),
    Mutation("a-scatter-adds-to-each-microbatch", f"{RULES}/indexing.py", "(None,), kind, base=0)", "(None,), kind)"),
    Mutation(
        "a-moving-slice-keeps-examples-apart",
        f"{RULES}/indexing.py",
        "(one,)) for one, (whole, taken) in enumerate(sizes) if whole == taken]",
        "(one,)) for one, (whole, taken) in enumerate(sizes)]",
    ),
    Mutation(
        "a-loop-may-end-by-the-batch",
        f"{RULES}/control.py",
        "if condition.state(predicate) != SAME:",
        "if condition.state(predicate) is None:",
    ),
    Mutation("a-choice-may-be-made-by-the-batch", f"{RULES}/control.py", "if states[0] != SAME:", "if not states:"),
    Mutation(
        "a-divisor-may-be-a-partial-sum",
        f"{RULES}/elementwise.py",
        "None if is_whole else Linear(alone=(0,))",
        "None if is_whole else Linear(alone=(0, 1))",
    ),
    Mutation(
        "narrowing-keeps-the-largest",
        f"{RULES}/elementwise.py",
        '("add", "max", "min") if is_exact else ("add",)',
        '("add", "max", "min")',
    ),
    Mutation(
        "differences-are-linear-in-each",
        f"{RULES}/elementwise.py",
        '("stablehlo.subtract", "stablehlo.complex"),\n        "every example by itself",\n        every_dimension,\n        lambda _: Linear(together=(0, 1))',
        '("stablehlo.subtract", "stablehlo.complex"),\n        "every example by itself",\n        every_dimension,\n        lambda _: Linear(alone=(0, 1))',
    ),
    Mutation(
        "what-joins-once-joins-in-all-others",
        f"{RULES}/local_block.py",
        'comparison_direction EQ>")}\n        is_first',
        'comparison_direction NE>")}\n        is_first',
    ),
    Mutation(
        "blocks-begin-too-late",
        f"{RULES}/local_block.py",
        "factor = self.number(size, ",
        "factor = self.number(size + 1, ",
    ),
    # Loops over microbatches.
    Mutation(
        "an-accumulator-forgets",
        "passes/time/folding/rewrite.py",
        "yielded.append(inner.combine(state.kind, carried, partial, _producer_location(scope, value)))",
        "yielded.append(partial)",
    ),
    Mutation(
        "what-a-sum-begins-with-is-lost",
        "passes/time/folding/rewrite.py",
        "    if base is not None:\n        joined = outer.get",
        "    if base is not None and not base:\n        joined = outer.get",
    ),
    Mutation(
        "narrow-floats-add-up-narrowly",
        "passes/time/folding/rewrite.py",
        "if not widens or not isinstance",
        "if widens or not isinstance",
    ),
    Mutation(
        "sums-are-complete-a-loop-early",
        "passes/time/folding/levels.py",
        "return 1 + level[value, scope.completed[value]]",
        "return level[value, scope.completed[value]]",
    ),
    Mutation(
        "mixed-examples-pass",
        "passes/time/folding/levels.py",
        "            raise _mixing(scope, value)",
        "            return",
    ),
    # Stages and layers.
    Mutation(
        "rows-may-be-anywhere",
        "passes/stage/layers/loop.py",
        "    if starts not in (forward, forward[::-1]):\n",
        "    if not starts:\n",
    ),
    Mutation(
        "a-reverse-range-begins-at-its-start",
        "passes/stage/layers/chunks.py",
        "loop.iterations - layers.stop if loop.is_reverse else layers.start",
        "layers.start",
    ),
    Mutation(
        "a-reverse-row-is-off-by-one",
        "passes/stage/layers/chunks.py",
        "_number(self.iterations - 1, row.type)",
        "_number(self.iterations, row.type)",
    ),
    Mutation(
        "gradients-that-others-wait-for-run-late",
        "passes/stage/split_backward.py",
        "(index in needed or stages[producer] != stages[index])",
        "index in needed",
    ),
    # Schedules.
    Mutation(
        "a-backward-task-comes-a-turn-late",
        "compiler/schedules/order.py",
        "        row.append(task)\n        row += forward[ahead + index : ahead + index + 1]",
        "        row += forward[ahead + index : ahead + index + 1]\n        row.append(task)",
    ),
    Mutation(
        "backward-tasks-do-not-wait",
        "compiler/schedules/walk.py",
        "return (forward,) if stage == stages - 1 else (forward, (BACKWARD, stage + 1, microbatch))",
        "return (forward,)",
    ),
    Mutation("weight-tasks-free-nothing", "compiler/schedules/filling.py", "        self._kept -= 1\n", ""),
    # Replicas.
    Mutation(
        "an-exchange-is-missing",
        "compiler/emit/loop_rows.py",
        "        for exchange in self.begins.get(task, ()):\n            exchange.begin(self.replica)\n",
        "",
    ),
    Mutation(
        "replicas-take-the-same-microbatches",
        "compiler/emit/emit.py",
        "return range(replica * count, (replica + 1) * count)",
        "return range(count)",
    ),
    Mutation(
        "a-replica-is-not-added",
        "compiler/emit/exchange_code.py",
        "for value in values[1:]:",
        "for value in values[2:]:",
    ),
    Mutation(
        "all-replicas-take-the-first-share",
        "compiler/emit/exchange_code.py",
        "return replica * size, (replica + 1) * size",
        "return 0, size",
    ),
    Mutation("packed-sums-overlap", "compiler/emit/exchange_code.py", "        start = stop\n", ""),
    Mutation(
        "a-ring-adds-its-own-slice-twice",
        "compiler/emit/exchange_forms.py",
        "code, [others, slices[got]], [part])",
        "code, [slices[got], slices[got]], [part])",
    ),
    Mutation(
        "a-sum-of-one-replica-may-be-used",
        "compiler/replicas/check_exchanges.py",
        "if users and (len(users) > 1 or",
        "if users and (len(users) > 9 and",
    ),
    # Programs.
    Mutation(
        "arguments-that-are-kept-are-donated",
        "compiler/emit/stream.py",
        "if (self.name, buffer) not in donated}",
        "if not self.name}",
    ),
    Mutation("what-is-taken-twice-is-donated", "compiler/emit/stream.py", "and one.inputs.count(buffer) == 1}", "}"),
    Mutation(
        "a-reshard-forgets-the-major-axis",
        "compiler/emit/resharding.py",
        "number = number * size +",
        "number = number +",
    ),
    Mutation(
        "the-parts-of-a-result-lie-together",
        "compiler/module/interface.py",
        "start[parts_dimension(marks)] += part * shape",
        "start[parts_dimension(marks)] += shape",
    ),
    Mutation(
        "uneven-dimensions-are-divided",
        "compiler/module/shardings.py",
        "kept.append(known if size % prod(sizes[axis] for axis in known) == 0 else ())",
        "kept.append(known)",
    ),
    # The runtime.
    Mutation(
        "a-step-that-is-asked-for-twice-runs-twice",
        "runtime/worker.py",
        "if step != self.begun + 1:",
        "if step > self.begun + 1:",
    ),
    Mutation(
        "receives-of-the-step-before-count",
        "runtime/worker.py",
        "self._step + 1, 0, 0",
        "self._step + 1, 0, self._passed",
    ),
    Mutation("memory-is-never-given-back", "runtime/store.py", "        self._live -= size", "        self._live -= 0"),
    Mutation("other-versions-are-read", "runtime/program_file.py", "if version != VERSION:", "if version > VERSION:"),
    # Texts.
    Mutation("a-megabyte-is-a-mebibyte", "compiler/text/quantities.py", '"MB": 10**6,', '"MB": 2**20,'),
)
