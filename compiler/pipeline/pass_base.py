"""What a pass is. `docs/adding-a-pass.md` walks through a new one."""

import abc
from dataclasses import dataclass

from atoll.compiler.mlir.bindings import ir


class Pass(abc.ABC):
    """One rewrite or check of a module.

    A pass is a frozen dataclass in a file of its own under `passes/`; the file's name with dashes is the pass's
    name, and the fields are its options. It either does its work or raises `diagnostics.refuse(...)`.
    """

    @classmethod
    def name(cls) -> str:
        return cls.__module__.rpartition(".")[2].replace("_", "-")

    @classmethod
    def summary(cls) -> str:
        """The first line of the docstring."""
        return (cls.__doc__ or "").strip().partition("\n")[0]

    @abc.abstractmethod
    def run(self, module: ir.Module) -> None:
        """Rewrite the module in place."""


@dataclass(frozen=True)
class NativePass:
    """A pass of MLIR's, Shardy's or StableHLO's own: its name, and the text MLIR's pass manager reads for it."""

    name: str
    text: str


Step = Pass | NativePass


def step_name(step: Step) -> str:
    return step.name if isinstance(step, NativePass) else step.name()
