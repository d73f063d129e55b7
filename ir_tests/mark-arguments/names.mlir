// RUN: atoll-opt %s --passes "mark-arguments{batch=[batch]}" --split-input-file | filecheck %s

// Arguments have the names that jax wrote into their locations, results those in their attributes. A name in an option
// stands for all leaves of a pytree.

// CHECK:      module @jit_step {
// CHECK-NEXT:   @main(%arg0: tensor<4xf32> {atoll.donated, atoll.path = "state['w']"},
// CHECK-SAME:     %arg1: tensor<8xf32> {atoll.batch, atoll.path = "batch[0]"},
// CHECK-SAME:     %arg2: tensor<8xf32> {atoll.batch, atoll.path = "batch[1]"})
// CHECK-SAME:   -> (tensor<4xf32> {atoll.path = "result['w']"}, tensor<8xf32> {atoll.path = "result['y']"})
module @jit_step attributes {mhlo.num_partitions = 1 : i32, mhlo.num_replicas = 1 : i32} {
  func.func public @main(
      %w: tensor<4xf32> {tf.aliasing_output = 0 : i32} loc("state['w']"),
      %x: tensor<8xf32> loc("batch[0]"),
      %y: tensor<8xf32> loc("batch[1]"))
      -> (tensor<4xf32> {jax.result_info = "result['w']"}, tensor<8xf32> {jax.result_info = "['y']"}) {
    return %w, %y : tensor<4xf32>, tensor<8xf32>
  }
}

// -----

// What atoll exported keeps its names.
// CHECK: @main(%arg0: tensor<8xf32> {atoll.batch, atoll.path = "batch"}) -> (tensor<8xf32> {atoll.path = "result"})
func.func @main(%x: tensor<8xf32> {atoll.path = "batch"}) -> (tensor<8xf32> {atoll.path = "result"}) {
  return %x : tensor<8xf32>
}
