"""How long `atoll opt` takes on a module of 100,000 operations, part by part.

The operations are what is there after inlining: 100 private functions, half their operations in the regions of a loop,
each called from two places. Beside it stands what MLIR itself takes to parse, run CSE on and print the same module.
All in seconds of processor time, which hardly depend on what else the machine does.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from atoll.compiler.mlir.bindings import ir
from atoll.compiler.mlir.functions import functions_in, operations_in
from atoll.compiler.mlir.ir_text import parse_file, print_module
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text
from rows import Row, tell

OPERATIONS, FUNCTIONS, CALLS = 100_000, 100, 200
LIMIT = 10.0  # seconds


def module_text() -> str:
    """The module, with locations as jax writes them."""
    lines = ["func.func @main(%v0: tensor<8x8xf32>, %n: tensor<i32>) -> tensor<8x8xf32> {"]
    for call in range(CALLS):
        signature = "(tensor<8x8xf32>, tensor<i32>) -> tensor<8x8xf32>"
        location = f'loc("jit(step)/layer_{call}/jit(f)"("train.py":{call + 1}:1))'
        lines.append(f"  %v{call + 1} = call @f{call % FUNCTIONS}(%v{call}, %n) : {signature} {location}")
    lines.append(f"  return %v{CALLS} : tensor<8x8xf32>\n}}")
    for function in range(FUNCTIONS):
        lines += function_lines(function, OPERATIONS // CALLS)
    return "\n".join(lines)


def function_lines(number: int, operations: int) -> list[str]:
    half = (operations - 4) // 2
    return [
        f"func.func private @f{number}(%a0: tensor<8x8xf32>, %n: tensor<i32>) -> tensor<8x8xf32> {{",
        *chain("a", half, number),
        f"  %r:2 = stablehlo.while(%i = %n, %b0 = %a{half}) : tensor<i32>, tensor<8x8xf32>",
        "  cond {",
        "    %more = stablehlo.compare LT, %i, %n : (tensor<i32>, tensor<i32>) -> tensor<i1>",
        "    stablehlo.return %more : tensor<i1>",
        "  } do {",
        *chain("b", half, number),
        f"    stablehlo.return %i, %b{half} : tensor<i32>, tensor<8x8xf32>",
        "  }",
        "  return %r#1 : tensor<8x8xf32>\n}",
    ]


def chain(name: str, length: int, line: int) -> list[str]:
    return [
        f"  %{name}{index + 1} = stablehlo.multiply %{name}{index}, %{name}0 : tensor<8x8xf32> "
        f'loc("mul"("model.py":{line + 1}:{index + 1}))'
        for index in range(length)
    ]


class Clock:
    """Prints how long each part took."""

    def __init__(self) -> None:
        self.started = time.process_time()
        self.total = 0.0

    def part(self, name: str) -> None:
        now = time.process_time()
        print(f"  {name:<14}{now - self.started:7.2f} s")
        self.total += now - self.started
        self.started = time.process_time()


def measure_ours(file: Path) -> float:
    clock = Clock()
    module = parse_file(file)
    clock.part("parse")
    run_passes(module, steps_of_text("inline-calls, symbol-dce"))
    clock.part("inline-calls")
    module.operation.verify()
    clock.part("verify")
    print_module(module)
    clock.part("print")
    count = len(operations_in(functions_in(module)["main"], ir.OpView))
    print(f"  {'together':<14}{clock.total:7.2f} s for {count:,} operations")
    return clock.total


def measure_mlirs(file: Path) -> float:
    """The same module, already flat, through MLIR alone."""
    flat = file.with_name("flat.mlir")
    module = parse_file(file)
    run_passes(module, steps_of_text("inline-calls, symbol-dce"))
    flat.write_text(print_module(module))
    del module
    clock = Clock()
    module = parse_file(flat)
    clock.part("parse")
    run_passes(module, steps_of_text("cse"))
    clock.part("cse")
    print_module(module)
    clock.part("print")
    print(f"  {'together':<14}{clock.total:7.2f} s")
    return clock.total


def measure_command(file: Path) -> float:
    """The processor time of the command as a user runs it, which a busy machine stretches less than the wall's.

    Before anything else, as its peak memory would count what this process has.
    """
    command = [sys.executable, "-m", "atoll", "opt", str(file), "--passes", "inline-calls, symbol-dce"]
    subprocess.run([*command, "-o", str(file.with_name("out.mlir"))], check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(
        f"the command as a whole: {seconds:.2f} s of processor time (limit {LIMIT:.0f} s), peak memory {peak:.0f} MiB"
    )
    return seconds


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "module.mlir")
        file.write_text(module_text())
        whole = measure_command(file)
        print("in parts:")
        ours = measure_ours(file)
        print("MLIR alone, on the same module without its calls:")
        mlirs = measure_mlirs(file)
    tell(Row("inline and print 100,000 operations", "s", ours, {"MLIR alone": mlirs}))
    tell(Row("`atoll opt` on 100,000 operations", "s", whole, {"limit": LIMIT}))
    print(f"atoll takes {ours / mlirs:.1f} times as long as MLIR alone")
    return 0 if whole < LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
