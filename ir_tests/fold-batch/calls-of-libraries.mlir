// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A call of a library that says that it treats matrices one by one gets those of one microbatch, and its sharding rule
// is adapted.

// CHECK: custom_call @lapack_sgeqrf_ffi(%arg0) {mhlo.frontend_attributes = {num_batch_dims = "1"},
// CHECK-SAME: sdy.sharding_rule = #sdy.op_sharding_rule<([i, j, k])->([i, j, k], [i, l]) {i=2, j=3, k=3, l=3}, custom>
// CHECK-SAME: (tensor<2x3x3xf32>) -> (tensor<2x3x3xf32>, tensor<2x3xf32>)
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x3x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<8x3x3xf32> {atoll.path = "q"}, tensor<8x3xf32> {atoll.path = "tau"}) {
    %0:2 = stablehlo.custom_call @lapack_sgeqrf_ffi(%x) {
        mhlo.frontend_attributes = {num_batch_dims = "1"},
        sdy.sharding_rule = #sdy.op_sharding_rule<([i, j, k])->([i, j, k], [i, l]) {i=8, j=3, k=3, l=3}, custom>
    } : (tensor<8x3x3xf32>) -> (tensor<8x3x3xf32>, tensor<8x3xf32>)
    return %0#0, %0#1 : tensor<8x3x3xf32>, tensor<8x3xf32>
  }
}
