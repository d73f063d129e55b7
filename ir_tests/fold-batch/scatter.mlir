// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// What examples add to one array, such as the gradient of an embedding, is a sum; what each puts into its own row is
// computed for one microbatch.

// CHECK:      mpmd.for
// CHECK:        [[NONE:%.*]] = stablehlo.constant dense<0.000000e+00> : tensor<7x3xf32>
// CHECK-NEXT:   [[PART:%.*]] = "stablehlo.scatter"([[NONE]], %arg0, %arg1)
// CHECK:        [[OWN:%.*]] = "stablehlo.scatter"(%arg2, %arg0, %arg3)
// CHECK:        }) : (tensor<2x5xf32>, tensor<2x1xi32>, tensor<2xf32>) -> tensor<2x5xf32>
// CHECK-NEXT:   [[SUM:%.*]] = stablehlo.add %arg4, [[PART]]
// CHECK-NEXT:   mpmd.return [[SUM]], [[OWN]]
module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(
      %tokens: tensor<8x1xi32> {atoll.path = "tokens", atoll.batch}, %g: tensor<8x3xf32>
          {atoll.path = "g", atoll.batch},
      %x: tensor<8x5xf32> {atoll.path = "x", atoll.batch}, %h: tensor<8xf32> {atoll.path = "h", atoll.batch})
      -> (tensor<7x3xf32> {atoll.path = "gradient"}, tensor<8x5xf32> {atoll.path = "own"}) {
    %none = stablehlo.constant dense<0.0> : tensor<7x3xf32>
    %gradient = "stablehlo.scatter"(%none, %tokens, %g) <{
        scatter_dimension_numbers = #stablehlo.scatter<update_window_dims = [1], inserted_window_dims = [0],
        scatter_dims_to_operand_dims = [0], index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %sum = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %sum : tensor<f32>
    }) : (tensor<7x3xf32>, tensor<8x1xi32>, tensor<8x3xf32>) -> tensor<7x3xf32>
    %own = "stablehlo.scatter"(%x, %tokens, %h) <{
        scatter_dimension_numbers = #stablehlo.scatter<inserted_window_dims = [1], input_batching_dims = [0],
        scatter_indices_batching_dims = [0], scatter_dims_to_operand_dims = [1], index_vector_dim = 1>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      stablehlo.return %b : tensor<f32>
    }) : (tensor<8x5xf32>, tensor<8x1xi32>, tensor<8xf32>) -> tensor<8x5xf32>
    return %gradient, %own : tensor<7x3xf32>, tensor<8x5xf32>
  }
}
