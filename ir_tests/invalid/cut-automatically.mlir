// RUN: atoll-opt %s --passes "cut-automatically" --verify-diagnostics --split-input-file

// The number of stages must be known.

// expected-error @below {{the module has no atoll.stages; run the passes of phase stage}}
module {
  func.func @main() {
    return
  }
}

// -----

// expected-error @below {{atoll.stages is 0; there is at least one stage}}
module attributes {atoll.stages = 0 : i32} {
  func.func @main() {
    return
  }
}

// -----

// expected-error @below {{atoll.stages is "two", which is no integer}}
module attributes {atoll.stages = "two"} {
  func.func @main() {
    return
  }
}
