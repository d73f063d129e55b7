// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// Effects happen once, along with everything around them, however deep they stand.

// CHECK-COUNT-3: "stablehlo.case"
// CHECK-NOT: atoll.branches
func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>)
    -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<3xf32>, tensor<4xf32>) {
  %0:2 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
  }, {
    %1 = stablehlo.custom_call @shout(%x) {has_side_effect = true} : (tensor<4xf32>) -> tensor<4xf32>
    stablehlo.return %1, %y : tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
  %2:2 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
  }, {
    %3:2 = "stablehlo.case"(%i) ({
      stablehlo.custom_call @xla_ffi_python_cpu_callback(%x) {has_side_effect = true} : (tensor<4xf32>) -> ()
      stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
    }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
    stablehlo.return %3#0, %3#1 : tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
  %low = stablehlo.constant dense<0.0> : tensor<f32>
  %high = stablehlo.constant dense<1.0> : tensor<f32>
  %size = stablehlo.constant dense<3> : tensor<1xi64>
  %4:2 = "stablehlo.case"(%i) ({
    %5 = stablehlo.rng %low, %high, %size, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>) -> tensor<3xf32>
    stablehlo.return %5, %y : tensor<3xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<3xf32>, tensor<4xf32>)
  return %0#0, %0#1, %2#0, %2#1, %4#0, %4#1 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<3xf32>, tensor<4xf32>
}
