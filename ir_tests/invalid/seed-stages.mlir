// RUN: atoll-opt %s --passes "seed-stages" --verify-diagnostics --split-input-file

// Without a topology it is not known how many stages there are.

// expected-error @below {{the module has no topology; give one: --topology "2 x cpu[4]"}}
module {
  func.func @main() {
    return
  }
}

// -----

// expected-error @below {{the module has no topology}}
module attributes {atoll.plan = "placement={\"a\": \"island0\"}"} {
  func.func @main() {
    return
  }
}
