"""Which results a training loop hands back as arguments of the next step."""

from collections.abc import Mapping, Sequence

from atoll.compiler.plan.scope_patterns import path_components
from atoll.runtime.program import Input, Output

_Path = tuple[str, ...]


def fed_back(inputs: Sequence[Input], outputs: Sequence[Output]) -> dict[int, int]:
    """For each donated input that a result replaces, the number of that output.

    A donated argument is replaced as a whole: by the first result, `result` or `result[0]`, that has all its leaves,
    with the same shapes and dtypes, and replaces no other argument yet.
    """
    donated = _grouped({number: one for number, one in enumerate(inputs) if one.donated}, 1)
    results = {**_grouped(dict(enumerate(outputs)), 1), **_grouped(dict(enumerate(outputs)), 2)}
    replaced: dict[int, int] = {}
    used: set[int] = set()
    for argument in donated.values():
        for result in results.values():
            pairs = {number: result.get(path) for path, number in argument.items()}
            if all(
                other is not None and other not in used and _is_like(inputs[number], outputs[other])
                for number, other in pairs.items()
            ):
                found = {number: other for number, other in pairs.items() if other is not None}
                replaced |= found
                used |= set(found.values())
                break
    return replaced


def _grouped(values: Mapping[int, Input | Output], length: int) -> dict[_Path, dict[_Path, int]]:
    """The numbers of the values, by the first components of their paths and then by the others."""
    groups: dict[_Path, dict[_Path, int]] = {}
    for number, one in values.items():
        path = path_components(one.path)
        if len(path) >= length:
            groups.setdefault(path[:length], {})[path[length:]] = number
    return groups


def _is_like(one: Input, other: Output) -> bool:
    return (one.shape, one.dtype) == (other.shape, other.dtype)
