// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// Cheap work on arrays that very many results share is a piece of its own: copies of it would multiply.

// CHECK:      [[SHARED:%.*]] = "stablehlo.case"
// CHECK:        add %arg1, %arg1
// CHECK-NOT:  add
// CHECK:        sine [[SHARED]]
// CHECK:        sign [[SHARED]]
func.func @main(%i: tensor<i32>, %x: tensor<4xf32>)
    -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
    tensor<4xf32>, tensor<4xf32>) {
  %0:9 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %x, %x, %x, %x, %x, %x, %x, %x : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }, {
    %s = stablehlo.add %x, %x : tensor<4xf32>
    %v0 = stablehlo.sine %s : tensor<4xf32>
    %v1 = stablehlo.cosine %s : tensor<4xf32>
    %v2 = stablehlo.tanh %s : tensor<4xf32>
    %v3 = stablehlo.abs %s : tensor<4xf32>
    %v4 = stablehlo.negate %s : tensor<4xf32>
    %v5 = stablehlo.exponential %s : tensor<4xf32>
    %v6 = stablehlo.floor %s : tensor<4xf32>
    %v7 = stablehlo.ceil %s : tensor<4xf32>
    %v8 = stablehlo.sign %s : tensor<4xf32>
    stablehlo.return %v0, %v1, %v2, %v3, %v4, %v5, %v6, %v7, %v8 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
        tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
      tensor<4xf32>, tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1, %0#2, %0#3, %0#4, %0#5, %0#6, %0#7, %0#8 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>,
      tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
