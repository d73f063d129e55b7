"""How a program is called: between the caller's pytrees and the program's flat inputs and outputs."""

import json
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import jax
from atoll.compiler.errors import CompileError, with_article
from atoll.compiler.export.batch_axes import axes_of
from atoll.compiler.export.feed import Feed
from atoll.compiler.export.job import Job
from atoll.compiler.export.pytree_text import (
    Maker,
    Tree,
    TreeNode,
    describe,
    describe_result,
    difference,
    is_told_apart,
    static_data,
    unlike_data,
)
from atoll.compiler.tracebacks import caller
from atoll.runtime.program import Program


class Calling(ABC):
    """What a program is called with: how many arguments, and the structure of each."""

    def __init__(
        self, name: str, names: Sequence[str], static: Collection[int] = (), batch: Collection[int] = ()
    ) -> None:
        """static: the numbers of the arguments that were compiled in. batch: of those whose leaves are examples, row by
        row."""
        self.name = name
        self.names = tuple(names)
        self.static_numbers = frozenset(static)
        self.batch_numbers = frozenset(batch)

    def flatten(self, args: Sequence[Any]) -> tuple[list[Any], Tree]:
        """The leaves of a call's arguments, and the structure of the results; an error if the arguments do not fit."""
        if len(args) != len(self.names):
            what = f"{self.name} was compiled for {len(self.names)} arguments and is called with {len(args)}"
            raise CompileError(what, caller(), "call it with the arguments it was compiled for")
        leaves: list[Any] = []
        trees: list[Tree | None] = []
        for number, argument in enumerate(args):
            if number in self.static_numbers:
                self._check_static(number, argument)
                trees.append(None)
                continue
            if isinstance(argument, Feed):
                found, tree = self._flatten_feed(number, argument, len(leaves))
            else:
                found, tree = jax.tree.flatten(argument)
                self._check(number, tree)
            leaves += found
            trees.append(tree)
        return leaves, self._results(trees)

    def flatten_some(self, args: Sequence[Any]) -> list[Any]:
        """The leaves of some arguments: `...` for each of one that is `...`, or that is left out at the end."""
        if len(args) > len(self.names):
            what = f"{self.name} was compiled for {len(self.names)} arguments and is given {len(args)}"
            raise CompileError(what, caller(), "give some or all of the arguments it was compiled for")
        leaves: list[Any] = []
        for number, argument in enumerate([*args, *[...] * (len(self.names) - len(args))]):
            if number in self.static_numbers:
                if argument is not ...:
                    self._check_static(number, argument)
            elif argument is ...:
                leaves += [...] * self._count_leaves(number)
            else:
                found, tree = jax.tree.flatten(argument)
                self._check(number, tree)
                leaves += found
        return leaves

    def _flatten_feed(self, number: int, feed: Feed, first: int) -> tuple[list[Any], Tree | None]:
        """As often as the argument has leaves, what stands for each of them."""
        name = self.names[number]
        if number not in self.batch_numbers:
            what = f"argument {name} is given by a feed, but not all of it has the batch on axis 0"
            raise CompileError(what, caller(), "pass arrays, or compile with the argument in batch_argnums")
        count = self._count_leaves(number)
        return [feed.fed(name, first, first + count)] * count, self._tree_of_feed(number)

    @abstractmethod
    def to_text(self) -> str:
        """The text for a file, from which `Described` is read; CompileError if a file cannot describe it."""

    def _check_static(self, number: int, argument: object) -> None:
        raise NotImplementedError  # for a calling without static arguments

    @abstractmethod
    def _check(self, number: int, tree: Tree) -> None: ...

    @abstractmethod
    def _count_leaves(self, number: int) -> int: ...

    def _tree_of_feed(self, number: int) -> Tree | None:
        """The structure of an argument, if results need it."""
        raise NotImplementedError  # for a calling without batch arguments

    @abstractmethod
    def _results(self, arguments: Sequence[Tree | None]) -> Tree: ...

    def _wrong_structure(self, number: int, told: str) -> CompileError:
        what = f"argument {self.names[number]} has another structure than {self.name} was compiled for"
        return CompileError(f"{what}: {told}", caller(), "pass what it was compiled for, or compile again")

    def _wrong_static(self, number: int, found: object, expected: object) -> CompileError:
        what = f"static argument {self.names[number]} is {found}, compiled for {expected}"
        return CompileError(what, caller(), "compile again for another static argument")


class Traced(Calling):
    """For a job that was traced in this process: structures are compared as jax compares them."""

    def __init__(self, job: Job, traced: jax.stages.Traced) -> None:
        super().__init__(job.name, job.argument_names(), job.static_argnums, _in_rows(job))
        self._static = {number: job.args[number] for number in job.static_argnums}
        self._trees: list[Tree | None] = [
            None if number in self._static else jax.tree.structure(argument) for number, argument in enumerate(job.args)
        ]
        self._result: Tree = jax.tree.structure(traced.out_info)

    def to_text(self) -> str:
        statics = {number: self._static_text(number, value) for number, value in self._static.items()}
        trees = [None if tree is None else describe(tree).to_json() for tree in self._trees]
        result = describe_result(self._result, self._trees, "result").to_json()
        content = {
            "name": self.name,
            "names": self.names,
            "static": statics,
            "batch": sorted(self.batch_numbers),
            "trees": trees,
            "result": result,
        }
        return json.dumps(content, separators=(",", ":"))

    def _static_text(self, number: int, value: object) -> str:
        data = static_data(value)
        if not is_told_apart(data):
            kind = with_article(type(value).__name__)
            what = f"static argument {self.names[number]} is {kind}, which a file cannot describe"
            raise CompileError(what, remedy="make it of numbers, strings, tuples, dataclasses or named functions")
        return json.dumps(data)

    def _check_static(self, number: int, argument: object) -> None:
        if argument != self._static[number]:
            raise self._wrong_static(number, repr(argument), repr(self._static[number]))

    def _check(self, number: int, tree: Tree) -> None:
        expected = self._trees[number]
        if tree != expected:
            assert expected is not None
            told = difference(describe(expected), describe(tree), self.names[number])
            raise self._wrong_structure(number, told or unlike_data(expected, tree, self.names[number]))

    def _count_leaves(self, number: int) -> int:
        tree = self._trees[number]
        assert tree is not None
        return int(tree.num_leaves)

    def _tree_of_feed(self, number: int) -> Tree | None:
        return self._trees[number]

    def _results(self, arguments: Sequence[Tree | None]) -> Tree:  # noqa: ARG002 (known beforehand)
        return self._result


def _in_rows(job: Job) -> list[int]:
    """The arguments whose leaves all have the batch on axis 0."""
    numbers = [number for number in range(len(job.args)) if number not in job.static_argnums]
    return [number for number in numbers if set(axes_of(job, number)) == {0}]


class Described(Calling):
    """For a program from a file: structures are compared by their descriptions.

    What a description cannot hold, such as a function in a node's static data, is compared by its name alone.
    """

    def __init__(self, text: str) -> None:
        content = json.loads(text)
        self._static: Mapping[int, str] = {int(number): one for number, one in content["static"].items()}
        super().__init__(content["name"], content["names"], self._static, content.get("batch", ()))
        self._text = text
        self._nodes = [None if one is None else TreeNode.from_json(one) for one in content["trees"]]
        self._accepted: list[Tree | None] = [None] * len(self._nodes)
        self._maker = Maker(TreeNode.from_json(content["result"]), "result")
        self._last: tuple[Sequence[Tree | None], Tree] | None = None

    def to_text(self) -> str:
        return self._text

    def _check_static(self, number: int, argument: object) -> None:
        found = json.dumps(static_data(argument))
        if found != self._static[number]:
            raise self._wrong_static(number, found, self._static[number])

    def _check(self, number: int, tree: Tree) -> None:
        accepted = self._accepted[number]
        if accepted is not None and tree == accepted:
            return
        expected = self._nodes[number]
        assert expected is not None
        if told := difference(expected, describe(tree), self.names[number]):
            raise self._wrong_structure(number, told)
        self._accepted[number] = tree

    def _count_leaves(self, number: int) -> int:
        node = self._nodes[number]
        assert node is not None
        return node.leaves

    def _tree_of_feed(self, number: int) -> Tree | None:
        node = self._nodes[number]
        assert node is not None
        if self._accepted[number] is None and number in self._maker.takes:
            try:
                self._accepted[number] = Maker(node, self.names[number]).tree(())
            except ValueError:
                what = f"results are like argument {self.names[number]}, whose static data the file cannot hold"
                raise CompileError(what, caller(), "pass it without a feed, at least once") from None
        return self._accepted[number]

    def _results(self, arguments: Sequence[Tree | None]) -> Tree:
        last = self._last
        if last is None or last[0] != arguments:
            self._last = last = (arguments, self._maker.tree(arguments))
        return last[1]


class Flat(Calling):
    """For a program that comes from a module: takes one array for each input, and returns a list of its outputs."""

    def __init__(self, program: Program) -> None:
        super().__init__("the program", [one.path for one in program.inputs])
        self._result: Tree = jax.tree.structure([0] * len(program.outputs))

    def to_text(self) -> str:
        return ""

    def _check(self, number: int, tree: Tree) -> None:
        if tree.node_data() is not None:
            raise self._wrong_structure(number, f"{self.names[number]} is {describe(tree).kind}, not an array")

    def _count_leaves(self, number: int) -> int:  # noqa: ARG002 (it is the same for all)
        return 1

    def _results(self, arguments: Sequence[Tree | None]) -> Tree:  # noqa: ARG002 (known beforehand)
        return self._result
