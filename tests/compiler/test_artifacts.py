"""Files in which other programs keep StableHLO."""

import random

import jax
import jax.export
import jax.numpy as jnp
import pytest
from atoll.compiler.errors import CompileError
from atoll.compiler.mlir.artifacts import exported_module, is_portable
from atoll.compiler.mlir.ir_text import parse_file, parse_text, to_bytecode


@jax.tree_util.register_pytree_node_class
class Own:
    """A class that only this file knows, as those of optimizers are."""

    def __init__(self, w):
        self.w = w

    def tree_flatten(self):
        return (self.w,), None

    @classmethod
    def tree_unflatten(cls, _, leaves):
        return cls(*leaves)


def exported():
    function = jax.jit(lambda state, x: jnp.tanh(x @ state["w"]).sum())
    return jax.export.export(function)({"w": jnp.ones((4, 4))}, jnp.ones((8, 4)))


@pytest.mark.parametrize("orders", [0, 1, 2])
def test_the_function_itself_is_read_and_not_its_gradient(orders):
    made = exported()
    content = bytes(made.serialize(vjp_order=orders))
    assert not is_portable(content)
    assert exported_module(content) == made.mlir_module_serialized


def test_classes_of_the_users_need_not_be_known(tmp_path):
    jax.export.register_pytree_node_serialization(
        Own, serialized_name="Own", serialize_auxdata=lambda _: b"", deserialize_auxdata=lambda _: None
    )
    made = jax.export.export(jax.jit(lambda state: state.w * 2))(Own(jnp.ones(4)))
    content = bytes(made.serialize()).replace(b"Own", b"Mum")  # a name that is not registered
    with pytest.raises(ValueError, match="Mum"):
        jax.export.deserialize(bytearray(content))
    (tmp_path / "own.bin").write_bytes(content)
    assert "multiply" in str(parse_file(tmp_path / "own.bin"))


def test_other_bytes_are_no_such_files():
    made = exported()
    content, draw = bytes(made.serialize()), random.Random(0)
    bytecode = to_bytecode(parse_text(made.mlir_module()))
    assert not is_portable(bytecode)
    assert exported_module(bytecode) is None
    for _ in range(500):
        damaged = bytearray(content[: draw.choice((len(content), draw.randrange(len(content))))])
        for _ in range(draw.randrange(8)):
            if damaged:
                damaged[draw.randrange(min(len(damaged), 200))] = draw.randrange(256)
        found = exported_module(bytes(damaged))
        assert found is None or is_portable(found)


def test_a_damaged_artifact_is_a_sentence():
    made = exported()
    with pytest.raises(CompileError, match="write the file again, whole and for no newer StableHLO"):
        parse_text(made.mlir_module_serialized[:100])
