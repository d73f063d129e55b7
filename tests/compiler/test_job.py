"""A job: what it accepts, what it is called, and every way to get it wrong."""

import functools
import inspect
from dataclasses import dataclass

import jax
import numpy
import pytest

from atoll import CompileError, Job

X = jax.ShapeDtypeStruct((3,), "float32")


def train_step(state, batch, rate=0.1):
    return state, batch


def here():
    """The place of the line that calls this."""
    frame = inspect.currentframe().f_back
    return f"{__file__}:{frame.f_lineno}"


def test_a_job_knows_where_it_was_made():
    job, place = Job(train_step, X, X), here()
    assert job.where == place


@pytest.mark.parametrize(
    ("given", "numbers"),
    [((), ()), (1, (1,)), (-1, (2,)), ([2, 0], (0, 2)), ((0, -3), (0,)), (numpy.int64(1), (1,)), (range(2), (0, 1))],
)
def test_argument_numbers_may_be_written_as_jax_takes_them(given, numbers):
    for option in ("donate_argnums", "static_argnums"):
        values = (1, 2, 3) if option == "static_argnums" else (X, X, X)
        assert getattr(Job(train_step, *values, **{option: given}), option) == numbers
    axes = Job(train_step, X, X, X, batch_argnums=given).batch_axes
    assert axes == tuple(0 if number in numbers else None for number in range(3))


@dataclass
class Unhashable:
    value: int = 0


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: Job(3), "a job needs a function, not int; pass the function first"),
        (lambda: Job(None, X), "a job needs a function, not NoneType; pass the function first"),
        (
            lambda: Job(train_step, X, batch_argnums=1),
            "batch_argnums has 1, but train_step is given 1 arguments; arguments are numbered from 0",
        ),
        (
            lambda: Job(train_step, X, donate_argnums=(0, -2)),
            "donate_argnums has -2, but train_step is given 1 arguments; arguments are numbered from 0",
        ),
        (
            lambda: Job(train_step, X, static_argnums="01"),
            "static_argnums must be argument numbers, not '01'; write a whole number or a tuple of them",
        ),
        (
            lambda: Job(train_step, X, batch_argnums=1.0),
            "batch_argnums must be argument numbers, not 1.0; write a whole number or a tuple of them",
        ),
        (
            lambda: Job(train_step, X, batch_argnums=True),
            "batch_argnums must be argument numbers, not True; write a whole number or a tuple of them",
        ),
        (
            lambda: Job(train_step, X, batch_argnums=None),
            "batch_argnums must be argument numbers, not None; write a whole number or a tuple of them",
        ),
        (
            lambda: Job(train_step, X, 3, batch_argnums=1, static_argnums=-1),
            "argument 1 is in static_argnums and in batch_argnums; "
            "a static argument is compiled in; take it out of one of them",
        ),
        (
            lambda: Job(train_step, X, 3, donate_argnums=(0, 1), static_argnums=1),
            "argument 1 is in static_argnums and in donate_argnums; "
            "a static argument is compiled in; take it out of one of them",
        ),
        (
            lambda: Job(train_step, X, Unhashable(), static_argnums=1),
            "static argument 1 is a Unhashable, which has no hash; "
            "make it hashable, such as a tuple or a frozen dataclass",
        ),
    ],
)
def test_a_bad_job_is_an_error_at_the_users_line(make, what):
    with pytest.raises(CompileError) as caught:
        make()
    place, _, sentence = caught.value.sentence.partition(": ")
    assert sentence == what
    assert place.startswith(f"{__file__}:")


def test_keyword_arguments_are_refused_by_python_itself():
    with pytest.raises(TypeError, match="unexpected keyword argument 'rate'"):
        Job(train_step, X, X, rate=0.1)


class Model:
    def __call__(self, x):
        return x

    def step(self, x, *rest):
        return x


@pytest.mark.parametrize(
    ("fn", "names"),
    [
        (train_step, ["state", "batch", "rate"]),
        (lambda x, *rest: x, ["x", "rest[0]", "rest[1]"]),
        (lambda *all_: all_, ["all_[0]", "all_[1]", "all_[2]"]),
        (Model().step, ["x", "rest[0]", "rest[1]"]),
        (functools.partial(train_step, 1), ["batch", "rate", "args[0]"]),
        (functools.partial(train_step, rate=3), ["state", "batch", "args[0]"]),
        (jax.jit(train_step), ["state", "batch", "rate"]),
        (jax.checkpoint(train_step), ["state", "batch", "rate"]),
        (max, ["args[0]", "args[1]", "args[2]"]),
        (Model(), ["x", "args[0]", "args[1]"]),
    ],
)
def test_arguments_are_called_what_the_function_calls_them(fn, names):
    assert Job(fn, X, X, X).argument_names() == names


@pytest.mark.parametrize(
    ("fn", "name"),
    [
        (train_step, "train_step"),
        (lambda x: x, "<lambda>"),
        (Model(), "Model"),
        (functools.partial(train_step, 1), "partial"),
        (jax.jit(train_step), "train_step"),
    ],
)
def test_a_job_has_the_functions_name(fn, name):
    assert Job(fn, X).name == name
