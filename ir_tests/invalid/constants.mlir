// RUN: atoll-opt %s --passes "cse" --verify-diagnostics --split-input-file

// Constants without their numbers, or in a form that only MLIR reads.

func.func @main() -> tensor<2xf32> {
  // expected-error @below {{they were left out when the module was printed; print it with all of them, or save it as}}
  %0 = stablehlo.constant dense_resource<__elided__> : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @main() -> tensor<2xf32> {
  // expected-error @below {{takes its numbers from the resource w, which the module does not have; save the module as}}
  %0 = stablehlo.constant dense_resource<w> : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

func.func @main() -> tensor<2xf32> {
  // expected-error @below {{resource w has 4 bytes, which are not the numbers of a tensor<2xf32>; print the module anew}}
  %0 = stablehlo.constant dense_resource<w> : tensor<2xf32>
  return %0 : tensor<2xf32>
}

{-#
  dialect_resources: {
    builtin: {
      w: "0x040000000000803F"
    }
  }
#-}

// -----

func.func @main() -> tensor<2xf32> {
  // expected-error @below {{a constant is written as sparse<...>; write all of its numbers, as dense<...>}}
  %0 = stablehlo.constant sparse<[[0]], [1.0]> : tensor<2xf32>
  return %0 : tensor<2xf32>
}
