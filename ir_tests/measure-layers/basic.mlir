// RUN: atoll-opt %s --passes "measure-layers" | filecheck %s

// Two layers with a gradient. Each has a product forward. Of the two backward, that of the first layer makes the
// gradient of its weights, and that of the second what the first one needs. It keeps its result; 128 bytes cross.
// Besides its weights the first has its examples, and the gradient until the update takes it.

// CHECK:      atoll.layer_costs = "{\22islands\22: [0],
// CHECK-SAME: \22forward\22: {\22operations\22: 256.0, \22moved\22: 320.0, \22exchanged\22: 0.0, \22convolved\22: 0.0,
// CHECK-SAME: \22backward\22: {\22operations\22: 0.0,
// CHECK-SAME: \22weight\22: {\22operations\22: 256.0, \22moved\22: 320.0,
// CHECK-SAME: \22update\22: {\22operations\22: 16.0, \22moved\22: 192.0, \22exchanged\22: 0.0, \22convolved\22: 0.0,
// CHECK-SAME: \22state\22: 320.0, \22kept\22: 0.0, \22made\22: 0.0,
// CHECK-SAME: \22backward\22: {\22operations\22: 256.0, \22moved\22: 320.0,
// CHECK-SAME: \22weight\22: {\22operations\22: 0.0,
// CHECK-SAME: \22state\22: 128.0, \22kept\22: 64.0, \22made\22: 0.0,
// CHECK-SAME: \22sent\22: [0.0, 128],
// CHECK-SAME: \22has_backward\22: true
// CHECK-SAME: \22first\22
// CHECK-SAME: \22second\22
// CHECK-SAME: \22places\22: [1]
module attributes {atoll.plan = "stages=1", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4x4xf32> {atoll.batch}, %a: tensor<4x8xf32>, %b: tensor<8x4xf32>) -> tensor<4x8xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x8xf32>)
        -> tensor<4x8xf32> loc("jit(step)/jvp(first)/dot_general")
    %2 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x4xf32>)
        -> tensor<4x4xf32> loc("jit(step)/jvp(second)/dot_general")
    %3 = stablehlo.dot_general %2, %b, contracting_dims = [1] x [1] : (tensor<4x4xf32>, tensor<8x4xf32>)
        -> tensor<4x8xf32> loc("jit(step)/transpose(jvp(second))/dot_general")
    %4 = stablehlo.dot_general %x, %3, contracting_dims = [0] x [0] : (tensor<4x4xf32>, tensor<4x8xf32>)
        -> tensor<4x8xf32> loc("jit(step)/transpose(jvp(first))/dot_general")
    %5 = stablehlo.subtract %a, %4 : tensor<4x8xf32> loc("jit(step)/sub")
    return %5 : tensor<4x8xf32>
  }
}
