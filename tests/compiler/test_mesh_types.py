"""Types of the MPMD dialect, which are read as text."""

import pytest
from atoll.compiler.mlir.bindings import ir, new_context
from atoll.compiler.module.island_axes import axes_of
from atoll.compiler.module.mesh_types import MeshTypes, island_of, local_type, mesh_attribute, topology_attribute
from atoll.compiler.topology.topology import Topology

TENSORS = [
    "tensor<f32>",
    "tensor<4x0xi1>",
    "tensor<2xcomplex<f32>>",
    "tensor<8x16xbf16>",
    "tensor<?xf32, #stablehlo.bounds<4>>",
]
TOPOLOGY = Topology.parse("island a : cpu[1]; island b_2 : cpu[data=2, model=3]")


@pytest.mark.parametrize("text", TENSORS)
def test_what_is_put_on_an_island_is_found_there(text):
    context = new_context()
    tensor = ir.Type.parse(text, context)
    types = MeshTypes(TOPOLOGY, context)
    placed = types.on(1, tensor)
    assert island_of(placed) == "b_2"
    assert local_type(placed) == tensor == local_type(tensor)
    assert types.on(1, tensor) == placed != types.on(0, tensor)


def test_a_sharding_is_no_part_of_the_local_type():
    context = new_context()
    text = '!mpmd.mesh_tensor<"a", tensor<4x8xcomplex<f32>>, sharding=<@mesh, [{"data"}, {}]>>'
    placed = ir.Type.parse(text, context)
    assert island_of(placed) == "a"
    assert str(local_type(placed)) == "tensor<4x8xcomplex<f32>>"


def test_what_is_no_tensor():
    with pytest.raises(AssertionError, match="begins with no tensor"):
        local_type(ir.Type.parse("i32", new_context()))


def test_meshes():
    context = new_context()
    assert str(mesh_attribute(axes_of(TOPOLOGY.islands[1]), context)) == '#sdy.mesh<["data"=2, "model"=3]>'
    text = '#mpmd.topology<<"a" : <["devices"=1]>>, <"b_2" : <["data"=2, "model"=3]>>>'
    assert topology_attribute(TOPOLOGY, context) == ir.Attribute.parse(text, context)
