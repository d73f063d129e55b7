// RUN: atoll-opt %s --passes "inline-calls, symbol-dce" --verify-diagnostics --split-input-file

// Text that is no module, and names that nothing could print.

func.func @main() {
  // expected-error @below {{use of undeclared SSA value name}}
  return %x : tensor<f32>
}

// -----

// expected-error @below {{is not UTF-8; rename the function}}
func.func private @"\FF"() {
  call @"\FF"() : () -> ()
  return
}

func.func @main() {
  return
}
