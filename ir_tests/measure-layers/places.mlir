// RUN: atoll-opt %s --passes "measure-layers{places=[2]}" | filecheck %s

// Least crosses after the first product, but layers begin where another count has them begin.

// CHECK:      atoll.layer_costs = "{\22islands\22: [0],
// CHECK-SAME: \22sent\22: [0.0, 128],
// CHECK-SAME: \22places\22: [2]
module attributes {atoll.plan = "stages=1", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<4x4xf32> {atoll.batch}, %a: tensor<4x2xf32>, %b: tensor<2x8xf32>, %c: tensor<8x4xf32>)
      -> tensor<4x4xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x2xf32>)
        -> tensor<4x2xf32> loc("jit(step)/first/dot_general")
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x8xf32>)
        -> tensor<4x8xf32> loc("jit(step)/second/dot_general")
    %2 = stablehlo.dot_general %1, %c, contracting_dims = [1] x [0] : (tensor<4x8xf32>, tensor<8x4xf32>)
        -> tensor<4x4xf32> loc("jit(step)/third/dot_general")
    return %2 : tensor<4x4xf32>
  }
}
