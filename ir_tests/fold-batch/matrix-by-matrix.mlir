// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What is computed matrix by matrix is computed for the matrices of one microbatch.

// CHECK: stablehlo.cholesky %arg0, lower = true : tensor<2x3x3xf32>
// CHECK: "stablehlo.triangular_solve"{{.*}} : (tensor<2x3x3xf32>, tensor<2x3x3xf32>) -> tensor<2x3x3xf32>
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x3x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8x3x3xf32> {atoll.path = "y"}) {
    %0 = stablehlo.cholesky %x, lower = true : tensor<8x3x3xf32>
    %1 = "stablehlo.triangular_solve"(%0, %x) <{left_side = true, lower = true, unit_diagonal = false,
        transpose_a = #stablehlo<transpose NO_TRANSPOSE>}> : (tensor<8x3x3xf32>, tensor<8x3x3xf32>) -> tensor<8x3x3xf32>
    return %1 : tensor<8x3x3xf32>
  }
}
