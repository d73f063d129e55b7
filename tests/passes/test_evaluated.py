"""What numpy makes of StableHLO is what XLA makes of it, at the edges of operations too, where they could differ."""

import jax
import jax.numpy as jnp
import numpy
import pytest
from atoll.runtime.fragment import Fragment, lower_code
from atoll.runtime.program import Buffer, Code
from evaluated import Module
from evaluated_reading import UnknownError
from evaluating import EVALUATING
from jax import lax
from timed_harness import QUICKLY, difference

RANDOM = numpy.random.default_rng(0)
FLOATS = numpy.array([0.0, -0.0, 0.5, -1.5, 2.5, 1e-30, -3e38, numpy.inf, -numpy.inf, numpy.nan, 7, 1e10], "float32")
INTS = numpy.array([0, 1, -1, 7, -7, 2, -2, 2**31 - 1, -(2**31), 31, 32, 40], "int32")
WORDS = INTS.astype("uint32")
COMPLEX = numpy.array([0, 1 + 2j, -3j, 0.5 - 0.5j], "complex64")
X = RANDOM.standard_normal((4, 6)).astype("float32")
IMAGES = RANDOM.standard_normal((2, 7, 6, 4)).astype("float32")
KERNEL = RANDOM.standard_normal((3, 2, 4, 8)).astype("float32")
PLACES = numpy.array([[0, 2], [3, 4], [-1, 1], [9, 0], [3, 4]], "int32")
EQUALS = numpy.array([[3, 1, 3, 0, 1, 2], [5, 5, 5, 5, 5, 5]], "int32")


def convolution(x, k, **options):
    return lax.conv_general_dilated(
        x,
        k,
        options.pop("strides", (1, 1)),
        options.pop("padding", "SAME"),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        **options,
    )


def largest_of_windows(x, padding="SAME"):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 3, 2, 1), (1, 2, 2, 1), padding)


def rows_at(x, places, mode):
    """Windows of one row and three columns."""
    return lax.gather(x, places, lax.GatherDimensionNumbers((1,), (0,), (0, 1)), (1, 3), mode=mode)


PROGRAMS = {
    "unary": (
        lambda x: [
            one(x)
            for one in (
                *(jnp.abs, jnp.sign, jnp.floor, jnp.ceil, jnp.round, jnp.exp, jnp.expm1, jnp.log, jnp.log1p, jnp.tanh),
                *(jnp.sin, jnp.cos, jnp.sqrt, lax.rsqrt, jnp.cbrt, jax.nn.sigmoid, jnp.isfinite, jax.scipy.special.erf),
                *(lambda x: lax.round(x), lambda x: lax.reduce_precision(x, 5, 10), lax.erf_inv),
            )
        ],
        (numpy.clip(FLOATS, -50, 50),),
    ),
    "binary": (
        lambda x, y: [x + y, x * y, x - y, x / y, jnp.maximum(x, y), jnp.minimum(x, y), lax.rem(x, y), x < y, x == y],
        (FLOATS, FLOATS[::-1].copy()),
    ),
    "powers": (lambda x, y: [x**y, lax.atan2(x, y)], (numpy.abs(FLOATS[2:6]), FLOATS[1:5])),
    "integers": (
        lambda x, y: [
            *(lax.div(x, y), lax.rem(x, y), x * y, x + y, x - y, x & y, x | y, x ^ y, ~x, -x, jnp.sign(x), x < y),
            *(lax.shift_left(x, y), lax.shift_right_logical(x, y), lax.shift_right_arithmetic(x, y)),
            *(lax.population_count(x), lax.clz(x), x.astype("float32"), x.astype("int8"), x.astype(bool)),
            lax.bitcast_convert_type(x, "uint8"),
        ],
        (INTS, INTS[::-1].copy()),
    ),
    "words": (
        lambda x, y: [lax.div(x, y), lax.rem(x, y), x - y, lax.shift_right_logical(x, y), x < y, x.astype("float32")],
        (WORDS, WORDS[::-1].copy()),
    ),
    "to_integers": (lambda x: [x.astype("int32"), x.astype("uint8"), x.astype(bool)], (FLOATS,)),
    "complex": (
        lambda x: [x * x, x + 1j, jnp.conj(x), jnp.abs(x), x.real, x.imag, jnp.exp(x), x == x[::-1], jnp.fft.fft(x)],
        (COMPLEX,),
    ),
    "fourier": (lambda x: [jnp.fft.rfft2(x), jnp.fft.irfft(jnp.fft.rfft(x)), jnp.fft.ifft(x)], (X,)),
    "selecting": (
        lambda x, b: [jnp.where(b, x, -x), lax.clamp(-0.5, x, 0.5), lax.select(b[0, 0], x, -x)],
        (X, X > 0),
    ),
    "shapes": (
        lambda x: [
            *(x.T, x[1:4:2, ::3], x[::-1], jnp.roll(x, 2, 1), jnp.concatenate([x, x[:, :1]], 1), jnp.zeros((0, 3))),
            *(lax.pad(x, 9.0, ((1, -2, 2), (-1, 3, 0))), lax.broadcast_in_dim(x, (6, 2, 4), (2, 0))),
            *(lax.iota("int32", 5), lax.broadcasted_iota("float32", (2, 3), 1)),
        ],
        (X,),
    ),
    "dynamic": (
        lambda x, i: [
            *(lax.dynamic_slice(x, (i[0], i[1]), (2, 3)), lax.dynamic_slice(x, (i[1], i[2]), (2, 3))),
            lax.dynamic_update_slice(x, 2 * x[:2, :3], (i[2], i[0])),
        ],
        (X, numpy.array([1, -5, 9], "int32")),
    ),
    "reductions": (
        lambda x: [
            *(jnp.sum(x), jnp.sum(x, 0), jnp.max(x, 1), jnp.min(x), jnp.prod(x, 1), jnp.any(x > 1), jnp.all(x > -9, 0)),
            *(
                jnp.argmax(x, 1),
                jnp.argmin(x, 0),
                jnp.var(x, 0),
                jnp.sum(x[:0], 0),
                jnp.cumsum(x, 1),
                jnp.cumprod(x, 0),
            ),
            *(jnp.sum(x.astype("int32"), 0), jax.nn.logsumexp(x, 1), jnp.argmax(jnp.zeros((3, 4)), 1)),
        ],
        (X,),
    ),
    "windows": (
        lambda x: [
            *(
                largest_of_windows(x),
                largest_of_windows(x, "VALID"),
                jax.grad(lambda x: jnp.sum(largest_of_windows(x) ** 2))(x),
            ),
            lax.reduce_window(x, 0.0, lax.add, (1, 2, 2, 1), (1, 1, 1, 1), "VALID", (1, 2, 1, 1), (1, 1, 2, 1)),
        ],
        (IMAGES,),
    ),
    "products": (
        lambda x, y: [
            *(x @ x.T, jnp.einsum("ij,ik->jk", x, x), jnp.einsum("bhwc,bhwd->hcd", y, y), jnp.dot(x[0], x[1])),
            *(
                jnp.einsum("ij,kl->iljk", x, x),
                (10 * x).astype("int32") @ x.T.astype("int32"),
                x[:0] @ x.T,
                x[:, :0] @ x.T[:0],
            ),
        ],
        (X, IMAGES),
    ),
    "convolutions": (
        lambda x, k: [
            *(
                convolution(x, k),
                convolution(x, k, strides=(2, 1), padding="VALID"),
                convolution(x, k, rhs_dilation=(2, 1)),
            ),
            *(
                convolution(x, k, padding=((1, 2), (0, 1)), lhs_dilation=(1, 2)),
                convolution(x, k[:, :, :2], feature_group_count=2),
            ),
            *jax.grad(lambda x, k: jnp.sum(convolution(x, k, strides=(2, 2)) ** 2), (0, 1))(x, k),
            *jax.grad(lambda x, k: jnp.sum(convolution(x, k[:, :, :2], feature_group_count=2) ** 2), (0, 1))(x, k),
        ],
        (IMAGES, KERNEL),
    ),
    "sorting": (
        lambda x, k: [
            *(jnp.sort(x, 0), jnp.argsort(x, 1), lax.sort((k, x[:2]), dimension=1, num_keys=1), lax.top_k(x, 3)),
            *(jnp.argsort(k, 1), jnp.sort(jnp.array([1.0, jnp.nan, -0.0, 0.0, -jnp.inf])), jnp.sort(-k, 1)),
        ],
        (X, EQUALS),
    ),
    "gathering": (
        lambda x, p: [
            *(
                x[p[:2, 0]],
                x[:, p[:2, 1]],
                x.at[p[:, 0], p[:, 1]].get(mode="fill"),
                jnp.take_along_axis(x, p[:4, :1], 1),
            ),
            *(rows_at(x, p, mode) for mode in ("clip", "fill")),
            jax.vmap(lambda row, i: lax.dynamic_slice(row, (i,), (2,)))(x, p[:4, 1]),
            *(jnp.take(x[:, 0], p[0, 1], mode="clip"), x[:, 0].at[p[2, 1]].get(mode="fill")),
        ],
        (X, PLACES),
    ),
    "scattering": (
        lambda x, p: [
            *(x.at[p[:, 0], p[:, 1]].add(1.5), x.at[p[:, 0]].set(2.0, mode="drop"), x.at[p[:, 0], p[:, 1]].max(0.7)),
            *(x.at[p[:, 0], p[:, 1]].multiply(3.0), x.at[1:3, 2].set(9.0), x.at[p[:2, 0]].add(x[:2])),
            jax.vmap(lambda row, i: row.at[i].add(1.0))(x, p[:4, 1]),
            *(x[:, 0].at[p[0, 1]].add(2.0), x[:, 0].at[p[3, 0]].set(2.0)),
            jax.vmap(lambda row, i: lax.dynamic_update_slice(row, row[:2], (i,)))(x, p[:4, 1]),
        ],
        (X, PLACES),
    ),
    "control_flow": (
        lambda x, i: [
            lax.fori_loop(0, 3, lambda n, y: y * x + n, x),
            lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + i[0], c[1] + x), (0, x)),
            *(lax.switch(one, [lambda: x, lambda: -x, lambda: x + 1]) for one in (i[0], i[1], i[2])),
            *lax.scan(lambda c, row: (jnp.tanh(c + row), c * 2), x[0], x),
            lax.map(jax.jit(jnp.cumsum), x),
        ],
        (X, numpy.array([1, -3, 9], "int32")),
    ),
    "random": (
        lambda key: [
            *(jax.random.normal(key, (5,)), jax.random.bits(key, (3, 3)), jax.random.permutation(key, 9)),
            *(jax.random.categorical(key, jnp.zeros((4, 3))), jax.random.split(key)),
        ],
        (numpy.array([3, 4], "uint32"),),
    ),
}


@pytest.fixture(scope="module")
def compiled():
    """What XLA makes of all programs, which are compiled together."""
    arguments = {name: args for name, (_, args) in PROGRAMS.items()}
    together = jax.jit(lambda given: {name: PROGRAMS[name][0](*args) for name, args in given.items()})
    return together.lower(arguments).compile(QUICKLY)(arguments)


def module_of(fn, *arguments):
    return Module(Fragment.of(jax.jit(fn, keep_unused=True).lower(*arguments).compiler_ir(), ()).bytecode)


@pytest.mark.parametrize("name", PROGRAMS)
def test_same_as_xla(name, compiled):
    fn, arguments = PROGRAMS[name]
    found = module_of(fn, *arguments)(*arguments)
    expected = [numpy.asarray(one) for one in jax.tree.leaves(compiled[name])]
    told = [difference(one, numpy.asarray(other)) for one, other in zip(expected, found, strict=True)]
    assert not any(told), [(number, one, expected[number], found[number]) for number, one in enumerate(told) if one]


@pytest.mark.parametrize(
    "fn",
    [jnp.linalg.cholesky, lambda x: x.astype("bfloat16"), lambda x: lax.sort(x, num_keys=1) @ jnp.linalg.inv(x)],
)
def test_what_numpy_is_not_told_how_to_do(fn):
    with pytest.raises(UnknownError):
        module_of(fn, X[:, :4])


def code_of(fn, *arguments):
    lowered = jax.jit(fn, keep_unused=True).lower(*arguments)
    results = tuple(Buffer(one.shape, one.dtype.name) for one in jax.tree.leaves(lowered.out_info))
    return Code("code", Fragment.of(lowered.compiler_ir(), ()).bytecode, results)


@pytest.mark.parametrize("lower", [EVALUATING.lower, lower_code], ids=["numpy", "xla"])
def test_donated_arrays_are_gone_and_others_stay(lower):
    mesh = jax.make_mesh((1,), ("d",), devices=jax.devices()[1:2])
    inputs = [Buffer(X.shape, "float32")] * 2
    given = [jax.device_put(one, jax.sharding.NamedSharding(mesh, jax.P())) for one in (X, 2 * X)]
    with jax.set_mesh(None):
        call = lower(code_of(lambda x, y: (x + y, y), X, X), inputs, [0], mesh, ())().call
    total, same = call(*given)
    assert given[0].is_deleted()
    numpy.testing.assert_array_equal(total, 3 * X)
    numpy.testing.assert_array_equal(same, given[1])
    assert total.sharding.device_set == {jax.devices()[1]}
