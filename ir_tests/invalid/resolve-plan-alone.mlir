// RUN: atoll-opt %s --passes "resolve-plan" --verify-diagnostics --split-input-file

// A module does scopes for each microbatch alone from the beginning: it does not say which of its numbers would be
// others.

// expected-error @unknown {{the module does nothing for each microbatch alone, and the plan has norm for each of 2 done so; give the plan with per_microbatch where the function is lowered}}
module attributes {atoll.plan = "microbatches=2, per_microbatch=\"norm\""} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    return %x : tensor<4xf32>
  }
}

// -----

// expected-error @unknown {{the module does scopes for each of 2 microbatches alone, and the plan has norm for each of 4 done so}}
module attributes {
  atoll.plan = "microbatches=4, per_microbatch=\"norm\"",
  atoll.alone = {notes = [], parts = 2 : i32}
} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    return %x : tensor<4xf32>
  }
}

// -----

// expected-error @unknown {{the module does scopes for each of 2 microbatches alone, and the plan has nothing done so}}
module attributes {
  atoll.plan = "microbatches=2",
  atoll.alone = {notes = [], parts = 2 : i32}
} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    return %x : tensor<4xf32>
  }
}
