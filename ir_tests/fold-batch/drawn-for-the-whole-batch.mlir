// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s
// RUN: atoll-opt %s --passes "fold-batch" --verify-diagnostics

// No rule says how to draw a block alone: all is drawn once, each microbatch takes its own block, and the module says
// so.

// CHECK:      atoll.notes = [{at = ["{{.*}}whole-batch.mlir", {{[0-9]+}}, 21], bytes = 96 : i64,
// CHECK-SAME:   kind = "whole-batch", operation = "rng_bit_generator"}]
// CHECK:      {{%.*}}, [[DRAWN:%.*]] = stablehlo.rng_bit_generator
// CHECK:      mpmd.for
// CHECK:        [[OWN:%.*]] = stablehlo.dynamic_slice [[DRAWN]], {{%.*}}, {{%.*}}, sizes = [2, 3]
// CHECK:        stablehlo.xor %arg1, [[OWN]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%key: tensor<2xui64> {atoll.path = "key"}, %x: tensor<8x3xui32> {atoll.path = "x", atoll.batch})
      -> (tensor<8x3xui32> {atoll.path = "y"}) {
    // expected-remark @below {{computed for the whole batch, as no rule makes only a part of it: rng_bit_generator, 96 bytes}}
    %next, %drawn = stablehlo.rng_bit_generator %key, algorithm = THREE_FRY : (tensor<2xui64>)
        -> (tensor<2xui64>, tensor<8x3xui32>)
    %y = stablehlo.xor %x, %drawn : tensor<8x3xui32>
    return %y : tensor<8x3xui32>
  }
}
