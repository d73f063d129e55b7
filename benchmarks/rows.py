"""What benchmarks find, for the one table of `make bench`. Each script also prints its own, which says more."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

# The file that `table.py` has a script write its rows to. Without it nothing is written.
FILE = "BENCHMARK_ROWS"


@dataclass(frozen=True)
class Row:
    """case: what was measured. value: of atoll, in `unit`.

    beside: by name the value of what did the same in the same run: `jax.jit`, work by hand, another system, a limit.
    more_is_better: as of a rate.
    """

    case: str
    unit: str
    value: float
    beside: Mapping[str, float] = field(default_factory=dict)
    more_is_better: bool = False

    def ratio(self, name: str) -> float:
        """How many times as long as the other atoll takes, whichever way it is measured."""
        other = self.beside[name]
        return other / self.value if self.more_is_better else self.value / other


def tell(row: Row) -> None:
    if FILE in os.environ:
        with Path(os.environ[FILE]).open("a") as file:
            print(json.dumps(asdict(row)), file=file)


def told(file: Path) -> list[Row]:
    return [Row(**json.loads(line)) for line in file.read_text().splitlines()]
