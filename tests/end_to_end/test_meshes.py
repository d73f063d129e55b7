"""Code that brings its own mesh: of the context, of shardings, of arrays, of `shard_map`. The answer is `jax.jit`'s."""

import inspect

import flax.linen
import flax.nnx
import jax
import jax.numpy as jnp
import numpy
import pytest
import zoo
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from timed_harness import compiled_quickly  # noqa: F401 (a fixture)

import atoll

ISLANDS = "2 x cpu[data=2, model=2]"
X = zoo.normal(1, 8, 16)
WEIGHTS = {"first": zoo.normal(2, 16, 16, scale=0.3), "second": zoo.normal(3, 16, 16, scale=0.3)}


def own_mesh(kind=AxisType.Auto, **sizes):
    sizes = sizes or {"data": 2, "model": 2}
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=(kind,) * len(sizes))


def on(mesh):
    """The weights' and the batch's shardings on a mesh."""
    weights = {"first": NamedSharding(mesh, P(None, "model")), "second": NamedSharding(mesh, P())}
    return weights, NamedSharding(mesh, P("data"))


def explicit(weights, x):
    """As new code is written: results say how they are divided, and types do."""
    with jax.named_scope("first"):
        x = jnp.tanh(jnp.einsum("bi,io->bo", x, weights["first"], out_sharding=P("data", "model")))
        x = jax.sharding.reshard(x, P("data", None))
    with jax.named_scope("second"):
        return jnp.tanh(x @ weights["second"])


def mapped_on(mesh):
    """As faster code is written: the sum over an axis is the user's own, and knows which part it is for."""
    summed = tuple(axis for axis in mesh.axis_names if axis != "data")

    def part(x, w):
        return jax.lax.psum(x @ w, summed) + jax.lax.axis_index("data").astype(x.dtype)

    def fn(weights, x):
        with jax.named_scope("first"):
            specs = P("data", summed), P(summed)
            x = jnp.tanh(jax.shard_map(part, mesh=mesh, in_specs=specs, out_specs=P("data"))(x, weights["first"]))
        with jax.named_scope("second"):
            return jnp.tanh(x @ weights["second"])

    return fn


def constrained_to(sharding):
    def fn(weights, x):
        with jax.named_scope("first"):
            x = jax.lax.with_sharding_constraint(jnp.tanh(x @ weights["first"]), sharding)
        with jax.named_scope("second"):
            return jnp.tanh(x @ weights["second"])

    return fn


def stepping(fn):
    """A train step of a model."""

    def step(weights, x):
        loss, gradients = jax.value_and_grad(lambda weights: jnp.mean(fn(weights, x) ** 2))(weights)
        return jax.tree.map(lambda w, g: w - 0.1 * g, weights, gradients), loss

    return step


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        numpy.testing.assert_allclose(numpy.asarray(ours), numpy.asarray(theirs), rtol=1e-5, atol=1e-6)


def specs_of(step):
    return {buffer.spec for island in step.program.islands for buffer in island.buffers}


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("sizes", "islands", "plan"),
    [
        ({"data": 2, "model": 2}, ISLANDS, "microbatches=2"),
        # A mesh of all devices, of which each island has a part.
        ({"data": 4, "model": 2}, "4 x cpu[data=2, model=1]", "replicas=2"),
    ],
    ids=["microbatches", "replicas"],
)
def test_explicit_shardings(sizes, islands, plan):
    mesh = own_mesh(AxisType.Explicit, **sizes)
    step = stepping(explicit)
    with jax.set_mesh(mesh):
        args = jax.device_put((WEIGHTS, X), on(mesh))
        plan = atoll.Plan.parse(f'stages="first | second", schedule=1f1b, {plan}')
        with atoll.compile(step, *args, topology=islands, plan=plan, batch_argnums=1) as compiled:
            assert_same(compiled(*args), jax.jit(step)(*args))
            assert (("data",), ()) in specs_of(compiled)


STAGES = 'stages="first | second", '


@pytest.mark.one_in(2)
@pytest.mark.parametrize(
    ("sizes", "islands", "plan"),
    [
        ({"data": 2, "model": 2}, ISLANDS, f"{STAGES}schedule=1f1b, microbatches=2"),
        ({"data": 2, "model": 2}, ISLANDS, "stages=1, replicas=2, microbatches=2"),
        ({"stage": 1, "data": 2, "model": 2}, ISLANDS, f"{STAGES}microbatches=1"),
        # A mesh of all devices, of which each replica has a part.
        ({"data": 4, "model": 2}, ISLANDS, "stages=1, replicas=2"),
        ({"data": 2, "model": 2}, "4 x cpu[data=1, model=2]", f"{STAGES}replicas=2, microbatches=2"),
    ],
    ids=[
        "microbatches",
        "replicas",
        "with an axis of one device",
        "of all replicas",
        "of all replicas, with microbatches",
    ],
)
def test_shard_map_on_a_mesh_of_its_own(sizes, islands, plan):
    mesh = own_mesh(**sizes)
    step = stepping(mapped_on(mesh))
    weights, batch = on(mesh)
    options = {"in_shardings": (weights, batch), "out_shardings": (weights, None)}
    plan = atoll.Plan.parse(plan)
    with atoll.compile(step, WEIGHTS, X, topology=islands, plan=plan, batch_argnums=1, **options) as compiled:
        assert_same(compiled(WEIGHTS, X), jax.jit(step, **options)(WEIGHTS, X))
        assert {((), ("model",)), (("data",), ())} <= specs_of(compiled)


class Boxed(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, x):
        for name, axes in {"first": (None, "model"), "second": ("model", None)}.items():
            kernel = flax.linen.with_partitioning(flax.linen.initializers.lecun_normal(), axes)
            x = jnp.tanh(flax.linen.Dense(16, kernel_init=kernel, name=name)(x))
        return x


def test_flax_says_how_its_parameters_are_divided():
    mesh, model = own_mesh(), Boxed()
    variables = model.init(jax.random.key(0), X)
    step = stepping(lambda variables, x: model.apply(variables, x))
    shardings = flax.linen.get_sharding(variables, mesh), NamedSharding(mesh, P("data"))
    plan = atoll.Plan(stages="first | second")
    with atoll.compile(step, variables, X, topology=ISLANDS, plan=plan, in_shardings=shardings) as compiled:
        assert_same(compiled(variables, X), jax.jit(step)(variables, X))
        assert {((), ("model",)), (("model",), ()), (("data",), ("model",))} <= specs_of(compiled)


def test_nnx_creates_its_parameters_divided():
    with jax.set_mesh(own_mesh()):
        kernel = flax.nnx.with_partitioning(flax.nnx.initializers.lecun_normal(), (None, "model"))
        graph, weights = flax.nnx.split(flax.nnx.Linear(16, 16, kernel_init=kernel, rngs=flax.nnx.Rngs(0)))

        def fn(weights, x):
            return flax.nnx.merge(graph, weights)(x)

        with atoll.compile(fn, weights, X, topology="1 x cpu[data=2, model=2]") as compiled:
            assert_same(compiled(weights, X), jax.jit(fn)(weights, X))
            assert ((), ("model",)) in specs_of(compiled)


def test_examples_say_how_arguments_are_divided():
    args = jax.device_put((WEIGHTS, X), on(own_mesh()))
    fn = constrained_to(NamedSharding(own_mesh(), P("data", "model")))
    with atoll.compile(fn, *args, topology=ISLANDS) as step:
        assert_same(step(*args), jax.jit(fn)(*args))
        assert {((), ("model",)), (("data",), ()), (("data",), ("model",))} <= specs_of(step)
    # Shardings that are given count more; examples may also live where no island can divide them so.
    with atoll.compile(fn, *args, topology=ISLANDS, in_shardings=(None, P("model"))) as step:
        assert {((), ("model",)), (("model",), ())} <= specs_of(step)
    with atoll.compile(plain, *args, topology="1 x cpu[4]") as step:
        assert_same(step(*args), jax.jit(plain)(*args))
        assert specs_of(step) == {()}


def plain(weights, x):
    return jnp.tanh(x @ weights["first"]) @ weights["second"]


def test_a_mesh_that_jax_asks_for_is_that_of_the_arrays():
    """`jax.jit` would fail where no mesh is set; the islands' has no explicit axes."""
    args = jax.device_put((WEIGHTS, X), on(own_mesh(AxisType.Explicit)))
    with jax.set_mesh(own_mesh(AxisType.Explicit)):
        expected = jax.jit(explicit)(*args)
    with atoll.compile(explicit, *args, topology=ISLANDS) as step:
        assert_same(step(*args), expected)


def test_the_mesh_of_a_job_is_the_one_that_was_set_when_it_was_made():
    with jax.set_mesh(own_mesh(AxisType.Explicit)):
        job = atoll.Job(explicit, WEIGHTS, X)
    assert "sdy.sharding_constraint" in atoll.lower(job, topology=ISLANDS).ir("stablehlo")


def sentence(fn, within=lambda call: call, **options):
    """The error for a function; it must not say that `jax.jit` fails, as that need not be."""
    with pytest.raises(atoll.CompileError) as caught:
        within(lambda: atoll.lower(fn, WEIGHTS, X, topology=ISLANDS, **options))()
    assert caught.value.where.startswith(f"{__file__}:")
    assert "fails under jax.jit" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"data": 4, "model": 2}, "the mesh (data=4, model=2), and the islands' is (data=2, model=2)"),
        ({"model": 2, "data": 2}, "the mesh (model=2, data=2), and the islands' is (data=2, model=2)"),
        ({"data": 1, "model": 1}, "a mesh of one device, and the islands' is (data=2, model=2)"),
    ],
    ids=str,
)
def test_a_shard_map_for_other_devices_is_refused_at_its_line(sizes, told):
    fn = mapped_on(own_mesh(**sizes))
    error = sentence(fn)
    lines, first = inspect.getsourcelines(mapped_on)
    assert int(error.where.rpartition(":")[2]) in range(first, first + len(lines))
    assert f"shard_map is written for {told}; give " in str(error)


def test_shardings_that_islands_cannot_follow_are_refused():
    given = NamedSharding(own_mesh(rows=4), P("rows"))
    told = (
        "the islands have no axis rows: the mesh is (rows=4), and that of the islands (data=2, model=2); give them one"
    )
    assert told in str(sentence(plain, in_shardings=(None, given)))
    assert told in str(sentence(plain, out_shardings=given))


def test_where_no_mesh_suits_it_is_said_to_set_one():
    assert sentence(explicit).sentence.endswith(
        "or compile it under jax.set_mesh(mesh), with the mesh that it is written for"
    )


def test_meshes_of_one_function_have_the_same_devices():
    elsewhere = jax.make_mesh((2, 2), ("data", "model"), (AxisType.Auto,) * 2, devices=jax.devices()[4:8])
    both = constrained_to(NamedSharding(elsewhere, P("data")))
    error = sentence(lambda weights, x: mapped_on(own_mesh())(weights, both(weights, x)))
    assert error.sentence.endswith("; give all meshes that it speaks of the same devices in the same order")


def test_a_function_is_not_compiled_inside_another():
    error = sentence(plain, within=jax.jit)
    assert error.what == "plain is compiled inside a function that jax traces"
    assert error.remedy == "compile it before, outside of jax.jit, jax.grad and the like"


def test_calls_of_the_host_are_lowered_for_the_users_own_devices():
    """Which jax needs then, and which the function speaks of."""
    devices = numpy.array(jax.devices()[:4])[::-1].reshape(2, 2)
    mesh = jax.sharding.Mesh(devices, ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    seen = []

    def fn(weights, x):
        jax.debug.callback(lambda total: seen.append(float(total)), x.sum())
        return mapped_on(mesh)(weights, x)

    args = jax.device_put((WEIGHTS, X), on(mesh))
    with atoll.compile(fn, *args, topology=ISLANDS) as step:
        assert_same(step(*args), jax.jit(fn)(*args))
    jax.effects_barrier()
    assert seen == pytest.approx([float(X.sum())] * 2, rel=1e-5)
