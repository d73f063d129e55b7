"""Reads the name stack of a location: which part of the user's model it is, and in which direction.

jax wraps the scope that was open when a function was differentiated: `jit(step)/transpose(jvp(layer_3))/mlp/mul` is
the backward pass of `layer_3/mlp`. Without any scope of the user's the wrappers still stand: `transpose(jvp())`.
What `jax.checkpoint` computes again starts over: `transpose(jvp(a))/b/jvp(a)/b/checkpoint/rematted_computation/sin`.
"""

import functools
import re
from dataclasses import dataclass
from enum import StrEnum

_WRAPPER = re.compile(r"(jvp|transpose|vmap)\((.*)\)", re.DOTALL)  # a scope may have any character
# What jax begins a stack with.
_TRANSFORMED = re.compile(r"(jit|jvp|transpose|vmap|pmap)\(")
# Names that jax puts between the user's scopes; which of them it puts there depends on its version.
_NO_SCOPE = re.compile(r"jit\(.*\)|checkpoint|closed_call|eval_jaxpr|")
# What jax calls the part of a `jax.checkpoint` that is computed a second time.
_REMATERIALISED = "rematted_computation"


class Role(StrEnum):
    """What an operation is for."""

    FORWARD = "forward"
    REMATERIALISED = "rematerialised"
    BACKWARD = "backward"
    UPDATE = "update"


@dataclass(frozen=True)
class Scope:
    """A place in the user's model."""

    role: Role
    path: tuple[str, ...]  # the scopes, outermost first, without the primitive


def read_scope(stack: str) -> Scope:
    """The scope that a name stack describes."""
    return scopes_around(stack)[-1]


@functools.lru_cache(maxsize=1 << 16)  # a large program says the same few scopes again and again
def scopes_around(stack: str) -> tuple[Scope, ...]:
    """What each beginning of a name stack describes, from that of nothing to the scope itself.

    What is differentiated within a scope starts over, so that the scope is in a beginning of the stack alone.
    """
    seen: set[str] = set()
    path: list[str] = []
    around = [Scope(_role(seen), ())]
    parts = _components(stack)
    if not _WRAPPER.fullmatch(parts[-1]):  # a shared constant may have no primitive
        parts.pop()
    for part in parts:
        while match := _WRAPPER.fullmatch(part):
            seen.add(match[1])
            part = match[2]
            if match[1] == "jvp":
                path.clear()
        if part == _REMATERIALISED:
            seen.add(part)
        else:  # a scope may itself be called `a/b`, which a wrapper keeps in one piece
            path += [name for name in part.split("/") if not _NO_SCOPE.fullmatch(name)]
        around.append(Scope(_role(seen), tuple(path)))
    return tuple(around)


def is_told(stack: str) -> bool:
    """Whether jax wrote the name stack, which then tells the role."""
    return bool(_TRANSFORMED.match(stack))


def _role(seen: set[str]) -> Role:
    if _REMATERIALISED in seen:
        return Role.REMATERIALISED
    if "transpose" in seen:
        return Role.BACKWARD
    return Role.FORWARD if "jvp" in seen else Role.UPDATE


def _components(stack: str) -> list[str]:
    """The stack split at the slashes that stand outside of parentheses."""
    parts, depth = [""], 0
    for character in stack:
        depth = max(0, depth + (character == "(") - (character == ")"))
        if character == "/" and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return parts
