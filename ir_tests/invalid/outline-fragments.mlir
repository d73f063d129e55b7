// RUN: atoll-opt %s --passes "outline-fragments" --verify-diagnostics --split-input-file

// A module that is not placed.

// expected-error @below {{the module has no topology}}
module {
  func.func @main() {
    return
  }
}
