// RUN: atoll-opt %s --passes "drop-dead-arguments" --verify-diagnostics --split-input-file
// RUN: atoll-opt %s --passes "verify-stablehlo" --verify-diagnostics --split-input-file

// Every pass works on @main, which must be a function of one block.

// expected-error @below {{the module has no function @main; name the entry function @main}}
module @jit_step {
  func.func @step() {
    return
  }
}

// -----

// expected-error @below {{@main must have one block; use structured control flow}}
func.func @main() {
  cf.br ^end
^end:
  return
}

// -----

// expected-error @below {{@main must have one block}}
func.func private @main()
