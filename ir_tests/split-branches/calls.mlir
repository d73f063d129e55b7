// RUN: atoll-opt %s --passes "split-branches" | filecheck %s

// A call of Python that says that it only computes is a costly operation like others: one piece has it.
// CHECK:      "stablehlo.case"
// CHECK:        custom_call @xla_ffi_python_cpu_callback
// CHECK:      atoll.branches = 0
// CHECK:      "stablehlo.case"
// CHECK-NOT:    custom_call
// CHECK:      atoll.branches = 0
func.func @main(%i: tensor<i32>, %x: tensor<4xf32>, %y: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
  %0:2 = "stablehlo.case"(%i) ({
    stablehlo.return %x, %y : tensor<4xf32>, tensor<4xf32>
  }, {
    %1 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%x) : (tensor<4xf32>) -> tensor<4xf32>
    %2 = stablehlo.negate %y : tensor<4xf32>
    stablehlo.return %1, %2 : tensor<4xf32>, tensor<4xf32>
  }) : (tensor<i32>) -> (tensor<4xf32>, tensor<4xf32>)
  return %0#0, %0#1 : tensor<4xf32>, tensor<4xf32>
}
