"""What HLO, as XLA's compilers for TPUs print it, costs: by hand, on texts that were cut down from theirs."""

import pytest
from atoll.compiler.ahead.hlo_text import Hlo, shapes_in
from atoll.compiler.ahead.hlo_work import HloWork, work_of

HEAD = "HloModule jit_f, is_scheduled=true, entry_computation_layout={%s}, num_partitions=4\n\n"

LOOP = """\
%fused (param_0: f32[4,8,16], param_1: s32[]) -> bf16[8,16] {
  %param_0 = f32[4,8,16]{2,1,0:T(8,128)} parameter(0)
  %param_1 = s32[]{:T(128)S(6)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  %slice.1 = f32[1,8,16]{2,1,0:T(8,128)} dynamic-slice(%param_0, %param_1, %zero, %zero), dynamic_slice_sizes={1,8,16}
  ROOT %convert.1 = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} convert(%slice.1)
}

%condition (p.1: (s32[], f32[4,8,16], bf16[8,8])) -> pred[] {
  %limit = s32[]{:T(128)} constant(4)
  %p.1 = (s32[]{:T(128)}, f32[4,8,16]{2,1,0:T(8,128)}, /*index=2*/bf16[8,8]{1,0:T(8,128)(2,1)}) parameter(0)
  %i.1 = s32[]{:T(128)} get-tuple-element(%p.1), index=0
  ROOT %less = pred[]{:T(512)} compare(%i.1, %limit), direction=LT
}

%body (p.2: (s32[], f32[4,8,16], bf16[8,8])) -> (s32[], f32[4,8,16], bf16[8,8]) {
  %p.2 = (s32[]{:T(128)}, f32[4,8,16]{2,1,0:T(8,128)}, /*index=2*/bf16[8,8]{1,0:T(8,128)(2,1)}) parameter(0)
  %i.2 = s32[]{:T(128)} get-tuple-element(%p.2), index=0
  %weights = f32[4,8,16]{2,1,0:T(8,128)} get-tuple-element(%p.2), index=1
  %x = bf16[8,8]{1,0:T(8,128)(2,1)} get-tuple-element(%p.2), index=2
  %one = s32[]{:T(128)} constant(1)
  %next = s32[]{:T(128)} add(%i.2, %one)
  %layer = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} fusion(%weights, %i.2), kind=kLoop, calls=%fused
  %product = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} convolution(%x, %layer), dim_labels=bf_io->bf
  %summed = bf16[8,16]{1,0:T(8,128)(2,1)S(1)} all-reduce(%product), replica_groups=[2,2]<=[4], to_apply=%add
  ROOT %out = (s32[]{:T(128)}, f32[4,8,16]{2,1,0:T(8,128)}, bf16[8,8]{1,0:T(8,128)(2,1)}) tuple(%next, %weights, %x)
}

ENTRY %main (w: f32[4,8,16], x.1: bf16[8,8]) -> f32[4,8,16] {
  %zero.1 = s32[]{:T(128)} constant(0)
  %w = f32[4,8,16]{2,1,0:T(8,128)} parameter(0)
  %x.1 = bf16[8,8]{1,0:T(8,128)(2,1)} parameter(1)
  %start = s32[]{:T(128)} copy(%zero.1)
  %in = (s32[]{:T(128)}, f32[4,8,16]{2,1,0:T(8,128)}, bf16[8,8]{1,0:T(8,128)(2,1)}) tuple(%start, %w, %x.1)
  %while.1 = (s32[]{:T(128)}, f32[4,8,16]{2,1,0:T(8,128)}, bf16[8,8]{1,0:T(8,128)(2,1)}) while(%in), WHERE
  ROOT %done = f32[4,8,16]{2,1,0:T(8,128)} get-tuple-element(%while.1), index=1
}
"""
WHERE = "condition=%condition, body=%body"
HEAD_OF_LOOP = HEAD % "(f32[4,8,16]{2,1,0:T(8,128)}, bf16[8,8]{1,0:T(8,128)(2,1)})->f32[4,8,16]{2,1,0:T(8,128)}"


def test_arrays_take_whole_tiles():
    sizes = {
        "f32[4,8,16]{2,1,0:T(8,128)}": 4 * 8 * 128 * 4,
        "bf16[8,8]{1,0:T(8,128)(2,1)}": 8 * 128 * 2,
        "bf16[8,130]{0,1:T(8,128)(2,1)}": 136 * 128 * 2,  # transposed: the 8 lie next to each other
        "s32[]{:T(128)}": 512,
        "pred[5]{0:T(512)}": 512,
        "f32[3,5]{1,0}": 60,  # in no tiles
        "s4[8,128]{1,0:T(32,128)(8,1)}": 32 * 128 // 2,
    }
    assert {text: shape.bytes for text in sizes for shape in shapes_in(text)} == sizes


def test_a_loop_counts_as_often_as_it_runs():
    hlo = Hlo.parse(HEAD_OF_LOOP + LOOP.replace("WHERE", WHERE))
    assert [shape.bytes for shape in (*hlo.arguments, *hlo.results)] == [16384, 2048, 16384]
    costs = work_of(hlo)
    assert costs.flops == 4 * (2 * 8 * 8 * 16)
    assert costs.collective_bytes == 4 * (8 * 128 * 2)  # a product in its tiles
    # In each trip a layer of the weights, and the activations; and the counter, which chooses the layer, is added to,
    # and is compared. Before, it is copied.
    counter = 512
    assert costs.hbm_bytes == 2 * counter + 4 * (8 * 128 * 4 + 8 * 128 * 2 + (1 + 3 + 3) * counter)
    assert costs.unknown_loops == 0


@pytest.mark.parametrize(
    ("line", "changed", "trips"),
    [
        ("constant(4)", "constant(7)", 7),
        ("direction=LT", "direction=NE", None),
        ("%one = s32[]{:T(128)} constant(1)", "%one = s32[]{:T(128)} constant(2)", None),
        ("add(%i.2, %one)", "add(%one, %i.2)", 4),
        ("add(%i.2, %one)", "multiply(%i.2, %one)", None),
        ("%zero.1 = s32[]{:T(128)} constant(0)", "%zero.1 = s32[]{:T(128)} constant(3)", 1),
        ("%zero.1 = s32[]{:T(128)} constant(0)", "%zero.1 = s32[]{:T(128)} parameter(2)", None),
        (WHERE, WHERE + ', backend_config={"known_trip_count":{"n":"9"}}', 9),
    ],
)
def test_how_often_a_loop_runs(line, changed, trips):
    text = LOOP.replace("WHERE", WHERE)
    assert line in text
    costs = work_of(Hlo.parse(HEAD_OF_LOOP + text.replace(line, changed)))
    assert costs.flops == (trips or 1) * 2 * 8 * 8 * 16
    assert costs.unknown_loops == (trips is None)


@pytest.mark.parametrize(
    ("image", "kernel", "made", "text", "flops"),
    [
        # A product, as most are written.
        ("[2,64,128]", "[128,32,1]", "[2,64,32]", "window={size=1}, dim_labels=0bf_io0->0bf", 2 * 2 * 64 * 128 * 32),
        # One with heads: the padding that a window of all heads meets does not count.
        (
            "[2,64,128,1]",
            "[1,128,4,32]",
            "[2,64,4,32]",
            "window={size=1x4 pad=0_0x3_3 rhs_reversal=0x1}, dim_labels=0bf1_0i1o->0b1f",
            2 * 2 * 64 * 128 * 4 * 32,
        ),
        # One whose batch is a dilated dimension: each example meets its own factor.
        (
            "[2,64,32]",
            "[2,64,32]",
            "[2,64,64]",
            "window={size=2 lhs_dilate=2}, dim_labels=0bf_0oi->0bf",
            2 * 2 * 64 * 32 * 64,
        ),
    ],
)
def test_products_are_convolutions(image, kernel, made, text, flops):
    body = f"""\
ENTRY %main (a: f32{image}, b: f32{kernel}) -> f32{made} {{
  %a = f32{image}{{2,1,0}} parameter(0)
  %b = f32{kernel}{{2,1,0}} parameter(1)
  ROOT %c = f32{made}{{2,1,0}} convolution(%a, %b), {text}
}}
"""
    costs = work_of(Hlo.parse(HEAD % f"(f32{image}, f32{kernel})->f32{made}" + body))
    assert costs.flops == flops


def test_what_is_updated_in_place_is_not_moved():
    text = """\
ENTRY %main (a: f32[8,8,128], b: f32[1,8,128]) -> f32[8,8,128] {
  %a = f32[8,8,128]{2,1,0:T(8,128)} parameter(0)
  %b = f32[1,8,128]{2,1,0:T(8,128)} parameter(1)
  %zero = s32[]{:T(128)} constant(0)
  ROOT %c = f32[8,8,128]{2,1,0:T(8,128)} dynamic-update-slice(%a, %b, %zero, %zero, %zero)
}
"""
    hlo = Hlo.parse(HEAD % "(f32[8,8,128]{2,1,0:T(8,128)}, f32[1,8,128]{2,1,0:T(8,128)})->f32[8,8,128]{2,1,0}" + text)
    assert work_of(hlo) == HloWork(hbm_bytes=2 * 8 * 128 * 4)


def test_a_gather_counts_by_what_it_brings():
    text = """\
ENTRY %main (a: bf16[8,128]) -> bf16[32,128] {
  %a = bf16[8,128]{1,0:T(8,128)(2,1)} parameter(0)
  %s = (bf16[8,128]{1,0:T(8,128)(2,1)}, bf16[32,128]{1,0:T(8,128)(2,1)}) all-gather-start(%a), replica_groups=[1,4]<=[4]
  ROOT %d = bf16[32,128]{1,0:T(8,128)(2,1)} all-gather-done(%s)
}
"""
    assert work_of(Hlo.parse(HEAD % "(bf16[8,128])->bf16[32,128]" + text)).collective_bytes == 32 * 128 * 2
