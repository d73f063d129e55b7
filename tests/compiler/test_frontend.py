"""Export: pytree paths, marks, dtypes, locations, and the errors that a user's function can cause."""

import collections
import dataclasses
import functools
import inspect
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.export
import jax.numpy as jnp
import numpy
import pytest
import standing_python
from atoll.compiler.export.frontend import export
from atoll.compiler.export.leaves import leaves_of
from atoll.compiler.mlir import bindings
from atoll.compiler.mlir.attributes import text_attribute
from atoll.compiler.mlir.bindings import ir, stablehlo
from atoll.compiler.mlir.functions import argument_attributes, arguments_of, operations_in, result_attributes, type_of
from atoll.compiler.mlir.ir_text import print_module
from atoll.compiler.mlir.locations import frames, place
from atoll.compiler.module.interface import batch_dimension
from atoll.compiler.module.main_function import entry_function
from atoll.compiler.module.marks import BATCH, DONATED, PATH
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text

from atoll import CompileError, Job


def shape(*sizes, dtype="float32"):
    return jax.ShapeDtypeStruct(sizes, dtype)


X = shape(4, 3)

Point = collections.namedtuple("Point", ["x", "y"])


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Layer:
    kernel: jax.Array
    bias: jax.Array
    name: str = dataclasses.field(default="dense", metadata={"static": True})


@jax.tree_util.register_pytree_node_class
class Unnamed:
    """A pytree that does not say what its children are called."""

    def __init__(self, *children):
        self.children = children

    def tree_flatten(self):
        return self.children, None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)


class Exported:
    """A job's module, taken apart."""

    def __init__(self, fn, *args, **options):
        self.job = Job(fn, *args, **options)
        self.module = export(self.job)
        self.main = entry_function(self.module)
        self.arguments = [text_attribute(one, PATH) for one in argument_attributes(self.main)]
        self.results = [text_attribute(one, PATH) for one in result_attributes(self.main)]
        self.inputs = [str(one) for one in type_of(self.main).inputs]
        self.outputs = [str(one) for one in type_of(self.main).results]

    def marked(self, mark):
        """The paths of the arguments that carry a mark."""
        with self.module.context:
            marks = argument_attributes(self.main)
            return [path for path, one in zip(self.arguments, marks, strict=True) if mark in one]


def identity(x):
    return x


@pytest.mark.parametrize(
    ("value", "paths"),
    [
        (X, [""]),
        ({"b": X, "a": X}, ["['a']", "['b']"]),
        ({1: X, 0: [X, (X,)]}, ["[0][0]", "[0][1][0]", "[1]"]),
        ([X, None, [], X], ["[0]", "[3]"]),
        (Point(X, {"z": X}), [".x", ".y['z']"]),
        (Layer(X, X), [".kernel", ".bias"]),
        (Unnamed(X, X), ["[<flat index 0>]", "[<flat index 1>]"]),
        (collections.OrderedDict(b=X, a=X), ["['b']", "['a']"]),
        (collections.defaultdict(list, a=X), ["['a']"]),
        ({"it's": X, "é\n": X}, ['["it\'s"]', "['é\\n']"]),
        (None, []),
    ],
)
def test_arguments_and_results_have_their_pytree_path(value, paths):
    found = Exported(identity, value)
    assert found.arguments == [f"x{path}" for path in paths]
    assert found.results == [f"result{path}" for path in paths]


def test_the_paths_of_a_job_are_those_of_its_leaves():
    def step(state, *rest):
        return rest, state

    found = Exported(step, {"w": X}, X, [X])
    assert found.arguments == ["state['w']", "rest[0]", "rest[1][0]"] == [leaf.path for leaf in leaves_of(found.job)]
    assert found.results == ["result[0][0]", "result[0][1][0]", "result[1]['w']"]


def test_batch_and_donation_are_marked():
    found = Exported(
        lambda state, x, y: (state, x + y["a"]), {"w": X}, X, {"a": X}, batch_argnums=(1, 2), donate_argnums=0
    )
    assert found.marked(BATCH) == ["x", "y['a']"]
    assert found.marked(DONATED) == ["state['w']"]
    assert "tf.aliasing_output" not in print_module(found.module)
    assert "jax.buffer_donor" not in print_module(found.module)


def test_a_static_argument_is_compiled_in_and_shifts_no_mark():
    def step(depth, x, mode, y):
        return x * depth + y if mode == "add" else x

    found = Exported(step, 3, X, "add", X, static_argnums=(0, 2), batch_argnums=(1, -1), donate_argnums=3)
    assert found.arguments == found.marked(BATCH) == ["x", "y"]
    assert found.marked(DONATED) == ["y"]


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (2, "tensor<i32>"),
        (2.0, "tensor<f32>"),
        (True, "tensor<i1>"),
        (1j, "tensor<complex<f32>>"),
        (numpy.float64(2), "tensor<f32>"),
        (numpy.arange(3), "tensor<3xi32>"),
        (numpy.zeros((2,), "uint8"), "tensor<2xui8>"),
        (shape(2, dtype="bfloat16"), "tensor<2xbf16>"),
        (shape(2, dtype="int4"), "tensor<2xi4>"),
        (shape(2, dtype="float8_e4m3fn"), "tensor<2xf8E4M3FN>"),
        (shape(0, 3), "tensor<0x3xf32>"),
    ],
)
def test_arguments_have_the_dtype_that_jax_gives_them(value, type_):
    found = Exported(identity, value)
    assert found.inputs == found.outputs == [type_]


def test_python_scalars_are_weak():
    found = Exported(lambda x, scalar: x * scalar, shape(3, dtype="bfloat16"), 2.0)
    assert found.inputs == ["tensor<3xbf16>", "tensor<f32>"]
    assert found.outputs == ["tensor<3xbf16>"]


def test_locations_have_no_frames_of_our_own():
    text = print_module(export(Job(lambda x: jnp.sin(x), X)), debug_info=True)
    files = {Path(name) for name in re.findall(r'loc\("(/[^"]*)":', text)}
    own = Path(bindings.__file__).resolve().parents[2]
    assert Path(__file__) in files
    assert not any(file.is_relative_to(own / folder) for file in files for folder in ("atoll", "compiler"))


@pytest.mark.parametrize(("implementation", "words"), [("threefry2x32", 2), ("rbg", 4)])
def test_a_typed_key_is_one_argument(implementation, words):
    key = jax.random.key(0, impl=implementation)
    found = Exported(lambda key, keys: (jax.random.split(key), keys), key, jax.random.split(key, 5), batch_argnums=1)
    assert found.arguments == ["key", "keys"]
    assert found.inputs == [f"tensor<{words}xui32>", f"tensor<5x{words}xui32>"]
    assert found.outputs == [f"tensor<2x{words}xui32>", f"tensor<5x{words}xui32>"]


def test_x64_is_the_users_choice():
    program = (
        "import jax, numpy; jax.config.update('jax_enable_x64', True)\n"
        "from atoll import Job\n"
        "from atoll.compiler.export.frontend import export\n"
        "from atoll.compiler.mlir.ir_text import print_module\n"
        "print(print_module(export(Job(lambda x, y: x * y, numpy.zeros(3), 2.0))))"
    )
    command, settings = ["python", "-c", program], standing_python.settings()
    done = subprocess.run(command, env=settings, capture_output=True, text=True, check=True)
    assert '(%arg0: tensor<3xf64> {atoll.path = "x"}, %arg1: tensor<f64> {atoll.path = "y"})' in done.stdout


def test_what_the_function_ignores_is_still_an_argument():
    found = Exported(lambda used, ignored: used + 1, X, {"a": X, "b": X})
    assert found.arguments == ["used", "ignored['a']", "ignored['b']"]


def test_a_result_may_be_an_argument_twice():
    found = Exported(lambda x, y: (x, x, y), X, X)
    assert found.results == ["result[0]", "result[1]", "result[2]"]


@pytest.mark.parametrize(
    ("fn", "args", "counts"),
    [
        (lambda: jnp.ones(3), (), (0, 1)),
        (lambda: None, (), (0, 0)),
        (lambda x: None, (X,), (1, 0)),
        (lambda x: {"a": [], "b": x}, (X,), (1, 1)),
        (lambda x: 3, (X,), (1, 1)),
        (lambda x: numpy.ones(3), (X,), (1, 1)),
    ],
)
def test_functions_of_and_to_nothing(fn, args, counts):
    found = Exported(fn, *args)
    assert (len(found.arguments), len(found.results)) == counts


class Callable:
    def __call__(self, x):
        return jnp.sin(x)

    def method(self, x):
        return jnp.sin(x)


@jax.custom_vjp
def custom(x):
    return jnp.sin(x)


custom.defvjp(lambda x: (jnp.sin(x), x), lambda x, g: (g * jnp.cos(x),))


def test_a_host_callback_stays_at_its_line():
    def step(x):
        jax.debug.print("{}", x)
        return x

    module = export(Job(step, X))
    run_passes(module, steps_of_text("normalize"))
    (callback,) = operations_in(entry_function(module), stablehlo.CustomCallOp)
    assert place(callback.location) == line_of(step, 1)


@pytest.mark.parametrize(
    "fn",
    [
        jnp.sin,
        jax.jit(jnp.sin),
        jax.jit(lambda x: jnp.sin(x), donate_argnums=0),
        jax.checkpoint(jnp.sin),
        custom,
        functools.partial(lambda a, x: jnp.sin(x), 1),
        functools.partial(lambda x, a: jnp.sin(x), a=1),
        Callable(),
        Callable().method,
        jax.vmap(jnp.sin),
        lambda x: jnp.sin(x),
    ],
)
def test_anything_that_jax_calls_can_be_exported(fn):
    found = Exported(fn, X)
    assert "stablehlo.sine" in print_module(found.module)
    assert len(found.arguments) == 1


def test_constants_that_the_function_closes_over_are_no_arguments():
    constant = jnp.arange(1000.0)
    found = Exported(lambda x: x + constant, shape(1000))
    assert found.arguments == ["x"]


def test_the_module_is_a_copy_that_may_be_changed():
    def step(x):
        return x * 2

    first = Exported(step, X)
    for operation in operations_in(first.main, stablehlo.MulOp):
        operation.operation.attributes["changed"] = ir.UnitAttr.get(context=first.module.context)
    assert "changed" not in print_module(Exported(step, X).module)


def test_nothing_of_jaxs_own_marks_is_left():
    text = print_module(Exported(lambda x: (x, x + 1), X, donate_argnums=0).module)
    assert "jax." not in text
    assert "mhlo." not in text


def line_of(fn, offset):
    return f"{__file__}:{inspect.getsourcelines(fn)[1] + offset}"


def test_locations_carry_the_users_file_and_line():
    def step(x):
        return jnp.sin(x)

    module = export(Job(step, X))
    (sine,) = operations_in(entry_function(module), stablehlo.SineOp)
    assert place(sine.location) == line_of(step, 1)
    assert f'"{__file__}"' in print_module(module, debug_info=True)


def test_atolls_own_frames_are_not_in_locations():
    module = export(Job(jnp.sin, X))
    (sine,) = operations_in(entry_function(module), stablehlo.SineOp)
    files = {frame.filename for frame in frames(sine.location)}
    assert not any("/compiler/frontend.py" in file for file in files)


def test_an_argument_is_located_by_its_path():
    found = Exported(lambda p: p["w"] + 1, {"w": X})
    assert str(arguments_of(found.main)[0].location) == "loc(\"p['w']\")"


# Errors


def fails_in_tracing(x):
    y = x + 1
    return y @ jnp.ones((7, 7))


def calls_what_fails(x):
    return jax.vmap(fails_in_tracing)(x)


def recurses(x):
    return recurses(x)


def branches(x):
    return 1 if x.sum() > 0 else 2


def returns_a_string(x):
    return "no array"


def exits(x):
    sys.exit("enough")


def only_by_keyword(*, x):
    return x


def ordered(x):
    jax.debug.print("{}", x, ordered=True)
    return x


def failure(fn, *args, **options):
    with pytest.raises(CompileError) as caught:
        export(Job(fn, *args, **options))
    assert len(caught.value.sentence.splitlines()) == 1, "an error is one sentence"
    return caught.value


@pytest.mark.parametrize(
    ("fn", "culprit", "offset", "what"),
    [
        (fails_in_tracing, fails_in_tracing, 2, "TypeError: "),
        (calls_what_fails, fails_in_tracing, 2, "TypeError: "),
        (recurses, recurses, 1, "RecursionError: maximum recursion depth exceeded"),
        (branches, branches, 1, "TracerBoolConversionError: "),
        (exits, exits, 1, "SystemExit: enough"),
    ],
)
def test_a_function_that_fails_is_an_error_at_the_line_that_fails(fn, culprit, offset, what):
    error = failure(fn, X)
    assert str(error).startswith(f"{line_of(culprit, offset)}: {fn.__name__} cannot be traced: {what}")
    assert error.sentence.endswith("; correct the function; it fails under jax.jit as well")
    assert error.__cause__ is not None


def keeps_a_value(x, kept):
    kept.append(x * 2)
    return x


def test_a_value_that_was_kept_from_another_trace_is_refused_at_the_line_that_uses_it():
    kept = []
    export(Job(lambda x: keeps_a_value(x, kept), X))

    def uses_it(x):
        return x + kept[0]

    error = failure(uses_it, X)
    assert str(error).startswith(f"{line_of(uses_it, 1)}: uses_it uses a value that jax traced for another call ")


@pytest.mark.parametrize("fn", [returns_a_string, only_by_keyword, lambda: 1, lambda x, y: x])
def test_a_function_that_cannot_be_called_so_is_an_error_at_the_job(fn):
    error = failure(fn, X)
    assert error.where.startswith(f"{__file__}:")
    assert "cannot be traced" in error.what


def generates(x):
    yield x


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError("no")


def raises_the_unspeakable(x):
    raise UnspeakableError


def raises_a_heading(x):
    raise TypeError("they differ:\n\n  * one has type f32;\n  * so they do not match")


@pytest.mark.parametrize(
    ("fn", "what"),
    [
        (generates, "TypeError: "),
        (raises_the_unspeakable, "UnspeakableError: no message; correct"),
        (raises_a_heading, "TypeError: they differ:  * one has type f32; correct"),
    ],
)
def test_strange_functions_are_errors_as_well(fn, what):
    assert f"{fn.__name__} cannot be traced: {what}" in str(failure(fn, X))


def test_a_symbolic_shape_is_refused():
    error = failure(identity, jax.ShapeDtypeStruct(jax.export.symbolic_shape("b, 3"), "float32"))
    assert (error.what, error.remedy) == ("x has the symbolic shape (b, 3)", "give it a shape of numbers")


def test_an_ordered_effect_is_refused_at_its_line():
    error = failure(ordered, X)
    assert (
        error.sentence == f"{line_of(ordered, 1)}: ordered has an ordered side effect; make it unordered: ordered=False"
    )


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("text", "a.b[0] is a str"),
        (object(), "a.b[0] is an object"),
        (numpy.array(["text"]), "a.b[0] is a ndarray of <U4"),
        (numpy.array([object()]), "a.b[0] is a ndarray of object"),
        (b"bytes", "a.b[0] is a bytes"),
        (print, "a.b[0] is a function"),
        (jax.nn.relu, "a.b[0] is a function"),
    ],
)
def test_what_is_no_array_is_named_by_its_path(value, what):
    nested = collections.namedtuple("nested", ["b"])([value])
    error = failure(lambda a: a, nested)
    assert error.what == f"{what}, which jax does not take for an array"
    assert error.remedy.startswith(
        "pass the arrays alone: arrays, rest = eqx.partition(a, eqx.is_array) of Equinox, or "
    )
    assert error.where.startswith(f"{__file__}:")


@pytest.mark.parametrize(("value", "kind"), [("text", "a str"), (jax.nn.relu, "a function"), (2**80, "an int")])
def test_what_is_no_array_by_itself_may_be_static(value, kind):
    error = failure(lambda a: a, value)
    assert error.what == f"a is {kind}, which jax does not take for an array"
    assert error.remedy == "pass arrays or jax.ShapeDtypeStruct, or name the argument in static_argnums"
    assert failure(lambda a: a, [2**80]).remedy == error.remedy


def test_a_result_that_is_no_array_is_left_out():
    error = failure(lambda x: {"w": x, "activation": jax.nn.relu}, X)
    assert (
        error.remedy
        == "return arrays alone, as eqx.filter(result, eqx.is_array) of Equinox leaves them; jax.jit asks the same"
    )


@pytest.mark.parametrize(
    ("batch", "what"),
    [
        ({"a": shape(4), "b": shape(5)}, "x['a'] has 4 examples on axis 0 and x['b'] has 5"),
        ({"a": shape(4), "b": shape()}, "x['b'] has no axis 0 for the batch"),
        ({"a": shape(4), "b": 3}, "x['b'] has no axis 0 for the batch"),
        ([shape(4), 3], "x[1] has no axis 0 for the batch"),
    ],
)
def test_a_batch_has_one_size(batch, what):
    error = failure(lambda x: x, batch, batch_argnums=0)
    assert error.what == what
    assert error.remedy == "name the axis of each leaf in batch_axes, None for a leaf without a batch"


def test_several_rows_of_an_example_are_to_be_on_an_axis_of_their_own():
    error = failure(lambda x: x, {"labelled": shape(4), "unlabelled": shape(12)}, batch_argnums=0)
    assert error.what == "x['labelled'] has 4 examples on axis 0 and x['unlabelled'] has 12"
    assert error.remedy == (
        "give x['unlabelled'] two axes, 4 examples of 3 each, if these belong together; "
        "or name the axis of each leaf in batch_axes, None for a leaf without a batch"
    )


@pytest.mark.parametrize(("batch", "kind"), [([1.0, 2.0], "list"), ([[1, 2], [3, 4]], "list"), ((True,), "tuple")])
def test_a_batch_in_lists_is_to_be_an_array(batch, kind):
    error = failure(lambda x: x, batch, batch_argnums=0)
    assert error.what.startswith(f"x is a {kind} of numbers, each of which jax takes for an array")
    assert error.remedy == "pass numpy.array(x)"


@pytest.mark.parametrize(
    ("axes", "marks"),
    [
        ((None, 0), {"x['a']": 0, "x['b']": 0}),
        ((None, {"a": 1, "b": None, "c": 7}), {"x['a']": 1}),
        ([None, {"a": -2, "b": 0, "c": None}], {"x['a']": 0, "x['b']": 0}),
        ((1, None), {"w": 1}),
        (0, {"w": 0, "x['a']": 0, "x['b']": 0}),
        (None, {}),
    ],
)
def test_batch_axes_are_a_prefix_of_the_arguments(axes, marks):
    args = shape(3, 3), {"a": shape(3, 3), "b": shape(3), "c": None}
    module = export(Job(lambda w, x: (w, x), *args, batch_axes=axes))
    attributes = argument_attributes(entry_function(module))
    found = {text_attribute(one, PATH): batch_dimension(one) for one in attributes}
    assert {path: axis for path, axis in found.items() if axis is not None} == marks


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"batch_axes": (0,)}, "batch_axes has 1 entries, but <lambda> is given 2 arguments"),
        ({"batch_axes": (None, {"a": 0})}, "batch_axes of x does not fit the argument: pytree structure error: .*"),
        ({"batch_axes": (None, {"a": "b", "b": 0})}, "batch_axes of x has 'b'"),
        ({"batch_axes": (None, True)}, "batch_axes of x has True"),
        ({"batch_axes": (None, 1)}, r"x\['b'\] has no axis 1 for the batch"),
        ({"batch_axes": (-3, None)}, "w has no axis -1 for the batch"),
        ({"batch_axes": (None, 0), "batch_argnums": 0}, "batch_argnums and batch_axes are both given"),
        ({"batch_axes": (0, 0), "static_argnums": 1}, "argument 1 is in static_argnums and in batch_axes"),
        (
            {"batch_axes": (1, {"a": 0, "b": 0})},
            r"w has 5 examples on axis 1 and x\['a'\] has 4 on axis 0",
        ),
    ],
)
def test_batch_axes_that_do_not_fit(options, what):
    error = failure(lambda w, x: (w, x), shape(3, 5), {"a": shape(4, 2), "b": shape(4)}, **options)
    assert re.fullmatch(what, error.what)
    assert error.where.startswith(__file__)


def test_an_array_that_was_donated_elsewhere_is_only_a_shape_here():
    array = jnp.ones(3)
    array.delete()
    assert Exported(identity, array).inputs == ["tensor<3xf32>"]
