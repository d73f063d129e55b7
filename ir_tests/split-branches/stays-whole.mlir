// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// Effects and calls into Python happen once, with all around them.

// CHECK-COUNT-2: "stablehlo.case"
// CHECK-NOT: atoll.branches
func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>)
    -> (tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>) {
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
      %4 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%x) : (tensor<4xf32>) -> tensor<4xf32>
      stablehlo.return %4, %y : tensor<4xf32>, tensor<4xf32>
    }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
    stablehlo.return %3#0, %3#1 : tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1, %2#0, %2#1 : tensor<4xf32>, tensor<4xf32>, tensor<4xf32>, tensor<4xf32>
}
