"""How the fragments of a program are compiled."""

import threading

import jax
import numpy
import pytest
from atoll.compiler.errors import CompileError
from atoll.runtime.controller import Controller
from atoll.runtime.devices import Devices
from atoll.runtime.fragment import lower_code


def finishing_with(extra):
    """Devices that compile as jax's do, and do something more before that, on the thread that compiles."""

    def lower(code, *rest):
        finish = lower_code(code, *rest)

        def finish_with_extra():
            extra(code)
            return finish()

        return finish_with_extra

    return Devices(lower=lower)


def test_fragments_are_compiled_at_the_same_time(make_train_program, make_meshes, values, reference_step):
    """Each of six waits for another one that is being compiled."""
    two = threading.Barrier(2)
    devices = finishing_with(lambda _: two.wait(60))
    with Controller(make_train_program(), make_meshes(), devices=devices) as controller:
        found = controller.start(values)
        assert controller.compilations == 6
    for one, wanted in zip(found, reference_step(*values), strict=True):
        numpy.testing.assert_allclose(one, wanted, rtol=1e-5)


def test_an_error_of_xla_names_the_fragment(make_train_program, make_meshes, values):
    def fail(code):
        if code.name == "backward_left":
            raise RuntimeError("out of registers")

    sentence = (
        r"^train.py:3: fragment backward_left \(first\) of task B0 cannot be compiled for island left: "
        "out of registers$"
    )
    with Controller(make_train_program(), make_meshes(), devices=finishing_with(fail)) as controller:
        for _ in range(2):
            with pytest.raises(CompileError, match=sentence):
                controller.start(values)
    assert not any(one.name.startswith("atoll compiles") for one in threading.enumerate())


def test_what_the_caller_has_set_for_his_thread_holds(make_train_program, make_meshes):
    seen = set()

    def lower(*given):
        seen.add(jax.config.jax_enable_x64)
        return lower_code(*given)

    with (
        Controller(make_train_program(), make_meshes(), devices=Devices(lower=lower)) as controller,
        jax.enable_x64(True),
    ):
        controller.compile()
    assert seen == {True}
