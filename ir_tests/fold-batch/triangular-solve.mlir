// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// With one triangle for all, each right-hand side is an example: columns, or rows if the triangle stands on the right.
// The triangle's own gradient is a sum over them.

// CHECK-LABEL: func @main
// CHECK: "stablehlo.triangular_solve"{{.*}}left_side = true{{.*}} (tensor<3x3xf32>, tensor<3x2xf32>)
// CHECK: "stablehlo.triangular_solve"{{.*}}left_side = false{{.*}} (tensor<3x3xf32>, tensor<2x3xf32>)
// CHECK: stablehlo.dot_general {{.*}} : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<3x3xf32>
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}, tensor<3x3xf32> {atoll.path = "g"}) {
    %0 = stablehlo.transpose %x, dims = [1, 0] : (tensor<4x3xf32>) -> tensor<3x4xf32>
    %1 = "stablehlo.triangular_solve"(%w, %0) <{left_side = true, lower = true, unit_diagonal = false,
        transpose_a = #stablehlo<transpose NO_TRANSPOSE>}> : (tensor<3x3xf32>, tensor<3x4xf32>) -> tensor<3x4xf32>
    %2 = stablehlo.transpose %1, dims = [1, 0] : (tensor<3x4xf32>) -> tensor<4x3xf32>
    %3 = "stablehlo.triangular_solve"(%w, %2) <{left_side = false, lower = true, unit_diagonal = false,
        transpose_a = #stablehlo<transpose NO_TRANSPOSE>}> : (tensor<3x3xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
    %4 = stablehlo.dot_general %2, %3, contracting_dims = [0] x [0]
        : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<3x3xf32>
    return %3, %4 : tensor<4x3xf32>, tensor<3x3xf32>
  }
}
