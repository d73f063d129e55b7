// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Cutting, joining, padding and reversing along other dimensions is done for one microbatch; limits and sizes along the
// batch become those of a microbatch.

// CHECK:      mpmd.for
// CHECK:        [[HALF:%.*]] = stablehlo.slice %arg0 [0:2, 0:6:2] : (tensor<2x6xf32>) -> tensor<2x3xf32>
// CHECK-NEXT:   [[ONE:%.*]] = stablehlo.dynamic_slice %arg0, {{%.*}}, %arg1, sizes = [2, 1]
// CHECK-NEXT:   [[BOTH:%.*]] = stablehlo.concatenate [[HALF]], [[ONE]], dim = 1 : {{.*}} -> tensor<2x4xf32>
// CHECK-NEXT:   [[MORE:%.*]] = stablehlo.pad [[BOTH]], {{%.*}}, low = [0, 1], {{.*}} -> tensor<2x5xf32>
// CHECK-NEXT:   [[BACK:%.*]] = stablehlo.reverse [[MORE]], dims = [1] : tensor<2x5xf32>
// CHECK-NEXT:   [[PUT:%.*]] = stablehlo.dynamic_update_slice %arg0, [[ONE]], {{%.*}}, %arg1
// CHECK-NEXT:   mpmd.return [[BACK]], [[PUT]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x6xf32> {atoll.path = "x", atoll.batch}, %i: tensor<i32> {atoll.path = "i"})
      -> (tensor<8x5xf32> {atoll.path = "y"}, tensor<8x6xf32> {atoll.path = "put"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<f32>
    %half = stablehlo.slice %x [0:8, 0:6:2] : (tensor<8x6xf32>) -> tensor<8x3xf32>
    %one = stablehlo.dynamic_slice %x, %zero, %i, sizes = [8, 1] : (tensor<8x6xf32>, tensor<i32>, tensor<i32>)
        -> tensor<8x1xf32>
    %joined = stablehlo.concatenate %half, %one, dim = 1 : (tensor<8x3xf32>, tensor<8x1xf32>) -> tensor<8x4xf32>
    %padded = stablehlo.pad %joined, %none, low = [0, 1], high = [0, 0], interior = [0, 0]
        : (tensor<8x4xf32>, tensor<f32>) -> tensor<8x5xf32>
    %back = stablehlo.reverse %padded, dims = [1] : tensor<8x5xf32>
    %put = stablehlo.dynamic_update_slice %x, %one, %zero, %i
        : (tensor<8x6xf32>, tensor<8x1xf32>, tensor<i32>, tensor<i32>) -> tensor<8x6xf32>
    return %back, %put : tensor<8x5xf32>, tensor<8x6xf32>
  }
}
