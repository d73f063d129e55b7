// RUN: atoll-opt %s --passes "inline-calls" --verify-diagnostics --split-input-file

// Calls that cannot be replaced by a body.

func.func @main() {
  // expected-error @below {{@main calls itself; write the recursion as a loop}}
  call @main() : () -> ()
  return
}

// -----

func.func @main() {
  call @even() : () -> ()
  return
}

func.func private @even() {
  call @odd() : () -> ()
  return
}

func.func private @odd() {
  // expected-error @below {{@even calls itself; write the recursion as a loop}}
  call @even() : () -> ()
  return
}

// -----

// Recursion is refused where nothing else calls it, too.

func.func @main() {
  return
}

func.func private @loop(%index: tensor<i32>) {
  "stablehlo.case"(%index) ({
    // expected-error @below {{@loop calls itself; write the recursion as a loop}}
    func.call @loop(%index) : (tensor<i32>) -> ()
    stablehlo.return
  }) : (tensor<i32>) -> ()
  return
}

// -----

func.func @main() {
  // expected-error @below {{@elsewhere is called but has no body; define it in this module}}
  call @elsewhere() : () -> ()
  return
}

func.func private @elsewhere()

// -----

func.func @main() {
  // expected-error @below {{@jumps has 2 blocks; use structured control flow}}
  call @jumps() : () -> ()
  return
}

func.func private @jumps() {
  cf.br ^end
^end:
  return
}

// -----

// The place is the user's, where the location carries one.

func.func @main() {
  // expected-error @unknown {{@elsewhere is called but has no body}}
  call @elsewhere() : () -> () loc("jit(step)/call"("train.py":7:3))
  return
}

func.func private @elsewhere()
