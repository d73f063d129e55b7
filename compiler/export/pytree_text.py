"""The structure of pytrees as text, so that a saved program knows what it is called with and what it returns.

No pickle: reading a text runs no code from the file. A node is described by the name of its class, `module:qualname`,
and by its static data as far as JSON can hold them. Arguments are only compared with their description, so any class
will do. A result's nodes have to be made anew: lists, tuples, dicts and None always can be; a subtree that some
argument has as well (the usual `state -> state`) is taken from the call's argument; any other class (a namedtuple, a
registered dataclass) is imported by its name when the program is loaded.
"""

import dataclasses
import enum
import importlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, TypeAlias

import jax
from atoll.compiler.errors import CompileError, UsageError
from atoll.compiler.files import TARGET_MODULE
from atoll.compiler.text.language import shown
from atoll.compiler.tracebacks import first_line

Tree: TypeAlias = Any  # jax.tree_util.PyTreeDef, which has no types

LEAF = "an array"
# The kind of a result's subtree that an argument has as well: its data are the argument's number, then that of a child,
# of a child of that, and so on.
_OF_ARGUMENT = "the argument's"

# Modules that were run as a file have a name that no other process knows them by.
_RUN_AS_FILES = ("__main__", TARGET_MODULE)
_PLAIN_CLASSES = {dict: "a dict", list: "a list", tuple: "a tuple", type(None): "None"}
_PLAIN_KINDS = {kind: plain for plain, kind in _PLAIN_CLASSES.items()}


@dataclass(frozen=True)
class TreeNode:
    """One node: its kind, its static data (a dict's keys, for instance) as JSON, and its children."""

    kind: str
    data: str = "null"
    children: tuple["TreeNode", ...] = ()

    @property
    def leaves(self) -> int:
        """How many arrays it has."""
        return 1 if self.kind == LEAF else sum(child.leaves for child in self.children)

    def to_json(self) -> Any:  # noqa: ANN401 (JSON)
        return [self.kind, self.data, [child.to_json() for child in self.children]]

    @classmethod
    def from_json(cls, value: Any) -> "TreeNode":  # noqa: ANN401 (JSON)
        kind, data, children = value
        return cls(kind, data, tuple(map(cls.from_json, children)))


# Describing.


def describe(tree: Tree) -> TreeNode:
    """The description that an argument is compared with."""
    made = tree.node_data()
    if made is None:
        return TreeNode(LEAF)
    kind, data = made
    return TreeNode(_kind_of(kind), json.dumps(static_data(data)), tuple(map(describe, tree.children())))


def describe_result(tree: Tree, arguments: Sequence[Tree | None], path: str) -> TreeNode:
    """The description that a result is made from; CompileError for a class that another process could not make."""
    addresses: dict[Tree, list[int]] = {}
    for number, argument in enumerate(arguments):
        for address, subtree in _classes_in(argument, [number]) if argument is not None else ():
            addresses.setdefault(subtree, address)
    return _describe_result(tree, addresses, path)


def _describe_result(tree: Tree, addresses: dict[Tree, list[int]], path: str) -> TreeNode:
    made = tree.node_data()
    if made is None:
        return TreeNode(LEAF)
    kind, data = made
    if tree in addresses:
        return TreeNode(_OF_ARGUMENT, json.dumps(addresses[tree]))
    text = json.dumps(static_data(data))
    if kind not in _PLAIN_CLASSES and name_of(kind) is None:
        raise _unsaveable(path, kind, "which cannot be imported by its name")
    if _tags(json.loads(text)) & {_ENUM, _FIELDS, _OTHER}:
        raise _unsaveable(path, kind, "whose static data a file cannot hold")
    steps = _steps(TreeNode(_kind_of(kind), text, (TreeNode(LEAF),) * len(tree.children())))
    children = zip(steps, tree.children(), strict=True)
    return TreeNode(
        _kind_of(kind), text, tuple(_describe_result(one, addresses, path + step) for step, one in children)
    )


def _unsaveable(path: str, kind: type, reason: str) -> CompileError:
    what = f"{path} is a {kind.__module__}.{kind.__qualname__}, {reason}, and no argument has the same structure"
    return CompileError(what, remedy="return a dict or a tuple there, or define its class at the top of a module")


def _classes_in(tree: Tree, address: list[int]) -> Iterator[tuple[list[int], Tree]]:
    """The subtrees that are not of a plain kind, outer ones first, each with its address."""
    made = tree.node_data()
    if made is None:
        return
    if made[0] not in _PLAIN_CLASSES:
        yield address, tree
    for index, child in enumerate(tree.children()):
        yield from _classes_in(child, [*address, index])


# Making anew.


class Maker:
    """Makes the tree that was described, from subtrees of the arguments where the description says so.

    UsageError at once, rather than at a call, if a class that it needs is not there.

    takes: the numbers of those arguments.
    """

    def __init__(self, node: TreeNode, path: str) -> None:
        self._node = node
        self._path = path
        self._classes: dict[str, Any] = dict(_PLAIN_KINDS)
        self._import(node, path)
        self.takes = frozenset(_taken(node))

    def _import(self, node: TreeNode, path: str) -> None:
        if node.kind in (LEAF, _OF_ARGUMENT):
            return
        if node.kind not in self._classes:
            try:
                self._classes[node.kind] = _resolve(node.kind)
            except (ImportError, AttributeError) as error:
                what = f"{path} of the saved program is a {node.kind}, which cannot be imported: {first_line(error)}"
                raise UsageError(what, remedy="make its module importable here, with that class in it") from None
        for step, child in zip(_steps(node), node.children, strict=True):
            self._import(child, path + step)

    def tree(self, arguments: Sequence[Tree | None]) -> Tree:
        """The structure, for a call with arguments of these structures."""
        return self._tree(self._node, arguments, self._path)

    def _tree(self, node: TreeNode, arguments: Sequence[Tree | None], path: str) -> Tree:
        if node.kind == LEAF:
            return _LEAF_TREE
        if node.kind == _OF_ARGUMENT:
            number, *address = json.loads(node.data)
            subtree = arguments[number]
            for index in address:
                assert subtree is not None
                subtree = subtree.children()[index]
            assert subtree is not None
            return subtree
        parts = zip(_steps(node), node.children, strict=True)
        children = [self._tree(child, arguments, path + step) for step, child in parts]
        data = (self._classes[node.kind], _restored(json.loads(node.data)))
        try:
            return jax.tree_util.PyTreeDef.from_node_data_and_children(jax.tree_util.default_registry, data, children)
        except (TypeError, ValueError) as error:
            what = f"{path} of the saved program is a {node.kind}, which is no pytree node here"
            raise UsageError(what, remedy="import what registers it with jax before loading") from error


def _taken(node: TreeNode) -> Iterator[int]:
    """The numbers of the arguments that have subtrees of a result."""
    if node.kind == _OF_ARGUMENT:
        yield json.loads(node.data)[0]
    for child in node.children:
        yield from _taken(child)


_LEAF_TREE = jax.tree.structure(0)


# Comparing.


def difference(expected: TreeNode, found: TreeNode, path: str) -> str:
    """The first place where two descriptions differ, in a sentence; empty if they do not."""
    if expected.kind != found.kind:
        return f"{path} is {found.kind}, not {expected.kind}"
    if len(expected.children) != len(found.children) or expected.data != found.data:
        return f"{path} is {_text(found)}, not {_text(expected)}"
    for step, one, other in zip(_steps(expected), expected.children, found.children, strict=True):
        if told := difference(one, other, path + step):
            return told
    return ""


def unlike_data(expected: Tree, found: Tree, path: str) -> str:
    """Where two structures that are described alike, but not equal, hold unlike static data, in a sentence.

    Functions are alike by name and equal only to themselves: an optimizer that is made twice is two.
    """
    steps, pairs = _steps(describe(expected)), zip(expected.children(), found.children(), strict=True)
    for step, (one, other) in zip(steps, pairs, strict=True):
        if one != other:
            return unlike_data(one, other, path + step)
    made, other_made = expected.node_data(), found.node_data()
    assert made is not None
    assert other_made is not None
    kind, data = made
    pieces = zip(data, other_made[1], strict=True) if isinstance(data, tuple) else [(data, other_made[1])]
    unlike = dict.fromkeys(type(one).__name__ for one, other in pieces if one is not other and one != other)
    held = " and another ".join(unlike)
    return f"{path} is {_kind_of(kind)} that holds another {held}, made alike, but functions equal only themselves"


def _text(node: TreeNode) -> str:
    data = json.loads(node.data)
    if node.kind == "a dict":
        return f"a dict with the keys {', '.join(map(str, data[1:]))}" if len(data) > 1 else "an empty dict"
    if node.kind in _PLAIN_KINDS or data is None:
        return f"{node.kind} of {len(node.children)}"
    return f"{node.kind} with the static data {node.data}"


def _steps(node: TreeNode) -> list[str]:
    """How a path goes on to each child."""
    if node.kind == "a dict":
        return [f"[{key!r}]" for key in json.loads(node.data)[1:]]
    return [f"[{index}]" for index in range(len(node.children))]


# Static data.

_NAME, _ENUM, _FIELDS, _OTHER = "name", "enum", "fields", "other"
_SEQUENCES: dict[type, str] = {tuple: "tuple", list: "list"}


def static_data(value: object) -> Any:  # noqa: ANN401 (JSON)
    """What JSON can hold of a value: all of it, or enough to tell it from others, or at least its class."""
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) in _SEQUENCES:
        assert isinstance(value, (tuple, list))
        return [_SEQUENCES[type(value)], *map(static_data, value)]
    if type(value) is dict:
        return ["dict", *(static_data(one) for pair in value.items() for one in pair)]
    if (name := name_of(value)) is not None:
        return [_NAME, name]
    kind = _kind_of(type(value))
    if isinstance(value, enum.Enum):
        return [_ENUM, kind, value.name]
    if dataclasses.is_dataclass(value):
        compared = [field.name for field in dataclasses.fields(value) if field.compare]
        return [_FIELDS, kind, *(static_data(getattr(value, name, None)) for name in compared)]
    return [_OTHER, kind, str(getattr(value, "__qualname__", ""))]


def is_told_apart(data: Any) -> bool:  # noqa: ANN401 (JSON)
    """Whether static data say everything that a comparison needs."""
    return _OTHER not in _tags(data)


def _tags(data: Any) -> set[str]:  # noqa: ANN401 (JSON)
    if not isinstance(data, list):
        return set()
    found = {data[0]} if data and isinstance(data[0], str) else set()
    return found.union(*map(_tags, data[1:]))


def _restored(data: Any) -> Any:  # noqa: ANN401 (what `static_data` was given)
    if not isinstance(data, list):
        return data
    tag, *parts = data
    match tag:
        case "tuple":
            return tuple(map(_restored, parts))
        case "list":
            return list(map(_restored, parts))
        case "dict":
            return dict(zip(map(_restored, parts[::2]), map(_restored, parts[1::2]), strict=True))
        case "name":
            return _resolve(parts[0])
        case _:
            raise ValueError(f"unknown static data {shown(tag)}")


# Names.


def _kind_of(kind: type) -> str:
    return _PLAIN_CLASSES.get(kind) or f"{_module_name(kind.__module__)}:{kind.__qualname__}"


def name_of(value: object) -> str | None:
    """`module:qualname` of a class or function, if it can be imported by that; else None."""
    module, path = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(path, str) or module not in sys.modules:
        return None
    found: object = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part, None)
    return f"{_module_name(module)}:{path}" if found is value else None


def _resolve(name: str) -> Any:  # noqa: ANN401 (a class or a function)
    module, _, path = name.partition(":")
    running = [one for one in _RUN_AS_FILES if one in sys.modules and _module_name(one) == module]
    found: Any = sys.modules[running[0]] if running else importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _module_name(module: str) -> str:
    """The name to import a module by, even if it was run as a file: `train` for `python train.py`."""
    loaded = sys.modules.get(module) if module in _RUN_AS_FILES else None
    if not isinstance(loaded, ModuleType):
        return module
    spec = getattr(loaded, "__spec__", None)
    if module == "__main__" and spec is not None:
        return str(spec.name.removesuffix(".__main__"))
    file = getattr(loaded, "__file__", None)
    return Path(file).stem if file else module
