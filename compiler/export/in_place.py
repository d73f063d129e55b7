"""Notices what a function does to its arguments in place, which is lost unless the function returns them."""

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import jax
from atoll.compiler.export.job import Job

log = logging.getLogger(__name__)

_CONTAINERS = (dict, list, tuple, type(None))


def watched(job: Job) -> Callable[..., Any]:
    """The job's function. If it is given objects, such as modules of NNX, it warns of what happens to them in vain.

    What is in dicts and lists alone is not looked at, so that of functions of these jax knows again what it has traced.
    """
    numbers = [number for number in range(len(job.args)) if number not in job.static_argnums]
    objects = [number for number in numbers if _has_objects(job.args[number])]
    if not objects:
        return job.fn

    @functools.wraps(job.fn)
    def watching(*args: Any) -> Any:  # noqa: ANN401 (pytrees)
        given = {number: _leaves(args[number]) for number in objects}
        result = job.fn(*args)
        kept = {id(leaf) for leaf in jax.tree.leaves(result)}
        for number, before in given.items():
            for path in _changed(before, _leaves(args[number]), kept):
                _warn(job, job.argument_names()[number], path)
                return result
        return result

    return watching


def _has_objects(argument: Any) -> bool:  # noqa: ANN401 (a pytree)
    def is_object(node: Any) -> bool:  # noqa: ANN401 (what a pytree is made of)
        return not isinstance(node, _CONTAINERS) and not jax.tree_util.all_leaves([node])

    return any(map(is_object, jax.tree.leaves(argument, is_leaf=is_object)))


def _leaves(argument: Any) -> dict[str, Any]:  # noqa: ANN401 (a pytree)
    """Those that an object holds, by path, and not those that it makes anew whenever it is asked for them."""
    held, again = (jax.tree_util.tree_flatten_with_path(argument)[0] for _ in range(2))
    return {
        jax.tree_util.keystr(path): leaf for (path, leaf), (_, same) in zip(held, again, strict=True) if leaf is same
    }


def _changed(before: dict[str, Any], after: dict[str, Any], kept: set[int]) -> Iterator[str]:
    """The paths of what is another now, and is no result either."""
    for path, leaf in after.items():
        if leaf is not before.get(path) and id(leaf) not in kept:
            yield path


def _warn(job: Job, name: str, path: str) -> None:
    log.warning(
        "%s: %s changes %s in place and does not return it, so that it stays as it was, as under jax.jit; return %s "
        "too, and go on with what the step returns, or part it from its arrays, as nnx.split does",
        job.where,
        job.name,
        name + path,
        name,
    )
