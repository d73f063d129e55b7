// RUN: atoll-opt %s --passes "fold-batch" | filecheck %s

// Constants whose numbers stand at the end of the file, as other compilers write them, are constants like all others:
// one that counts the rows is each example's own, and one that is the same everywhere is so in each microbatch.

// CHECK:      [[ALIKE:%.*]] = stablehlo.constant dense<(1.000000e+00,2.000000e+00)> : tensor<2xcomplex<f32>>
// CHECK:      stablehlo.add {{%.*}}, [[ALIKE]] : tensor<2xcomplex<f32>>
// CHECK:      [[ASKED:%.*]] = stablehlo.concatenate
// CHECK:      [[STARTS:%.*]] = stablehlo.select
// CHECK-NEXT: [[OWN:%.*]] = stablehlo.subtract [[ASKED]], [[STARTS]] : tensor<2x2xi32>
// CHECK-NEXT: "stablehlo.gather"({{%.*}}, [[OWN]])
module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(
      %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %z: tensor<4xcomplex<f32>> {atoll.path = "z", atoll.batch},
      %labels: tensor<4x1xi32> {atoll.path = "l", atoll.batch})
      -> (tensor<4xf32> {atoll.path = "y"}, tensor<4xcomplex<f32>> {atoll.path = "w"}) {
    %alike = stablehlo.constant dense_resource<alike> : tensor<4xcomplex<f32>>
    %w = stablehlo.add %z, %alike : tensor<4xcomplex<f32>>
    %rows = stablehlo.constant dense_resource<"the rows"> : tensor<4x1xi32>
    %places = stablehlo.concatenate %rows, %labels, dim = 1 : (tensor<4x1xi32>, tensor<4x1xi32>) -> tensor<4x2xi32>
    %y = "stablehlo.gather"(%x, %places) <{dimension_numbers = #stablehlo.gather<collapsed_slice_dims = [0, 1],
        start_index_map = [0, 1], index_vector_dim = 1>, slice_sizes = array<i64: 1, 1>}> : (tensor<4x3xf32>,
        tensor<4x2xi32>) -> tensor<4xf32>
    return %y, %w : tensor<4xf32>, tensor<4xcomplex<f32>>
  }
}

{-#
  dialect_resources: {
    builtin: {
      "the rows": "0x0400000000000000010000000200000003000000",
      alike: "0x040000000000803F000000400000803F000000400000803F000000400000803F00000040"
    }
  }
#-}
