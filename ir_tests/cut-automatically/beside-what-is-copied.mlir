// RUN: atoll-opt %s --passes "cut-automatically" | filecheck %s

// A model of two layers goes over %x and over %y, whose first layer takes a label as a number, which is copied to it.
// The label is on the stage of that layer, where the way over %y goes beside that over %x, and not on the last.

// CHECK:      slice %arg2 {{.*}} {atoll.stage = 0 : i32}
// CHECK:      multiply {{.*}} {atoll.stage = 0 : i32}
// CHECK-NEXT: dot_general {{.*}} {atoll.stage = 1 : i32}
module attributes {atoll.plan = "stages=2", atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<1x8xf32> {atoll.batch}, %y: tensor<1x8xf32> {atoll.batch}, %labels: tensor<2xi32>,
      %a: tensor<8x8xf32>, %b: tensor<8x8xf32>) -> tensor<1x8xf32> {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0] : (tensor<1x8xf32>, tensor<8x8xf32>)
        -> tensor<1x8xf32>
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0] : (tensor<1x8xf32>, tensor<8x8xf32>)
        -> tensor<1x8xf32>
    %label = stablehlo.slice %labels [0:1] : (tensor<2xi32>) -> tensor<1xi32>
    %number = stablehlo.convert %label : (tensor<1xi32>) -> tensor<1xf32>
    %wide = stablehlo.broadcast_in_dim %number, dims = [0] : (tensor<1xf32>) -> tensor<1x8xf32>
    %2 = stablehlo.dot_general %y, %a, contracting_dims = [1] x [0] : (tensor<1x8xf32>, tensor<8x8xf32>)
        -> tensor<1x8xf32>
    %3 = stablehlo.multiply %2, %wide : tensor<1x8xf32>
    %4 = stablehlo.dot_general %3, %b, contracting_dims = [1] x [0] : (tensor<1x8xf32>, tensor<8x8xf32>)
        -> tensor<1x8xf32>
    %5 = stablehlo.subtract %1, %4 : tensor<1x8xf32>
    return %5 : tensor<1x8xf32>
  }
}
