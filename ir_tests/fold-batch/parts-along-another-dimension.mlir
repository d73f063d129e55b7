// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// A result that has the batch along another dimension is kept in parts along that one.

// CHECK: -> (tensor<3x2xf32> {atoll.parts = 4 : i32, atoll.parts_dimension = 1 : i32, atoll.path = "y"})
// CHECK: mpmd.for {{.*}} {atoll.parts = array<i64: 0>, iterations = 4 : ui32} (%arg1: tensor<3x2xf32>
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<3x8xf32> {atoll.path = "y"}) {
    %y = stablehlo.transpose %x, dims = [1, 0] : (tensor<8x3xf32>) -> tensor<3x8xf32>
    return %y : tensor<3x8xf32>
  }
}
