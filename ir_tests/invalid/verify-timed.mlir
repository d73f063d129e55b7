// RUN: atoll-opt %s --passes "verify-timed" --verify-diagnostics --split-input-file

// What can be wrong in a module whose batch is in parts.

// expected-error @below {{argument 0 of @main has no atoll.path}}
func.func @main(%x: tensor<2xf32>) -> (tensor<2xf32> {atoll.path = "y"}) {
  return %x : tensor<2xf32>
}

// -----

// expected-error @below {{argument 0 has atoll.parts but no atoll.batch; add atoll.batch to it}}
func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.parts = 2 : i32}) -> (tensor<2xf32> {atoll.path = "y"}) {
  return %x : tensor<2xf32>
}

// -----

// expected-error @below {{atoll.parts is "two", which is no integer; write atoll.parts = 0 : i32}}
func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = "two"})
    -> (tensor<2xf32> {atoll.path = "y"}) {
  return %x : tensor<2xf32>
}

// -----

func.func @main(
    %x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32},
    // expected-error @below {{argument 1 has 3 parts, and another has 2; give each batch argument one part a microbatch}}
    %y: tensor<2xf32> {atoll.path = "y", atoll.batch, atoll.parts = 3 : i32}) {
  return
}

// -----

// expected-error @below {{argument 0 has 0 parts; give each batch argument one part a microbatch}}
func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 0 : i32}) {
  return
}

// -----

module attributes {atoll.plan = "microbatches=4"} {
  // expected-error @below {{the batch is in 2 parts, and the plan asks for 4 microbatches; write microbatches=2 in the plan}}
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
    return
  }
}

// -----

func.func @main(
  // expected-error @below {{argument 0 carries the batch but has no atoll.parts; add atoll.parts to it}}
  %x: tensor<2xf32> {atoll.path = "x", atoll.batch}
) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  %0 = mpmd.for (%zero) {iterations = 2 : ui32} (%sum: tensor<2xf32>, %index: tensor<ui32>) {
    %next = stablehlo.add %sum, %x : tensor<2xf32>
    mpmd.return %next : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  // expected-error @below {{a loop has 3 iterations, and the batch is in 2 parts; write iterations = 2 : ui32}}
  %0 = mpmd.for (%zero) {iterations = 3 : ui32} (%sum: tensor<2xf32>, %index: tensor<ui32>) {
    %next = stablehlo.add %sum, %x : tensor<2xf32>
    mpmd.return %next : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(
    %x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32},
    %p: tensor<i1> {atoll.path = "p"}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  %0 = "stablehlo.if"(%p) ({
    // expected-error @below {{a loop over microbatches stands in another operation; move it to @main}}
    %1 = mpmd.for (%zero) {iterations = 2 : ui32} (%sum: tensor<2xf32>, %index: tensor<ui32>) {
      %next = stablehlo.add %sum, %x : tensor<2xf32>
      mpmd.return %next : tensor<2xf32>
    } : tensor<2xf32>
    stablehlo.return %1 : tensor<2xf32>
  }, {
    stablehlo.return %zero : tensor<2xf32>
  }) : (tensor<i1>) -> tensor<2xf32>
  return
}

// -----

func.func @main(
    %x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32},
    %w: tensor<2xf32> {atoll.path = "w"}) {
  // expected-error @below {{the initial value of result 0 is no splat constant; begin with what changes nothing, such as zeros}}
  %0 = mpmd.for (%w) {iterations = 2 : ui32} (%sum: tensor<2xf32>, %index: tensor<ui32>) {
    %next = stablehlo.add %sum, %x : tensor<2xf32>
    mpmd.return %next : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %one = stablehlo.constant dense<1.0> : tensor<2xf32>
  // expected-error @below {{result 0 begins with something that stablehlo.add does not leave as it is; begin with dense<0.000000e+00>}}
  %0 = mpmd.for (%one) {iterations = 2 : ui32} (%sum: tensor<2xf32>, %index: tensor<ui32>) {
    %next = stablehlo.add %sum, %x : tensor<2xf32>
    mpmd.return %next : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  // expected-error @below {{result 0 is neither kept as parts nor what was before, combined with something; make it by one stablehlo.add, maximum, minimum, `and` or `or`, or write a part of it by one stablehlo.dynamic_update_slice, and use what was before nowhere else}}
  %0 = mpmd.for (%zero) {iterations = 2 : ui32} (%last: tensor<2xf32>, %index: tensor<ui32>) {
    %next = stablehlo.subtract %last, %x : tensor<2xf32>
    mpmd.return %next : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  // expected-error @below {{atoll.parts of a loop has 1, and the loop has 1 results; name some of its results by their numbers, from 0 on}}
  %0 = mpmd.for (%zero) {iterations = 2 : ui32, atoll.parts = array<i64: 1>}
      (%sum: tensor<2xf32>, %index: tensor<ui32>) {
    %next = stablehlo.add %sum, %x : tensor<2xf32>
    mpmd.return %next : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  // expected-error @below {{result 0 is kept as parts, and the part before is used; use only what is of one microbatch, or take it out of atoll.parts}}
  %0 = mpmd.for (%zero) {iterations = 2 : ui32, atoll.parts = array<i64: 0>}
      (%sum: tensor<2xf32>, %index: tensor<ui32>) {
    %next = stablehlo.add %sum, %x : tensor<2xf32>
    mpmd.return %next : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  // expected-error @below {{result 0 is kept as parts, and not made in the loop; return it from @main directly}}
  %0 = mpmd.for (%zero) {iterations = 2 : ui32, atoll.parts = array<i64: 0>}
      (%last: tensor<2xf32>, %index: tensor<ui32>) {
    mpmd.return %x : tensor<2xf32>
  } : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  // expected-error @below {{stablehlo.negate takes argument 0, of which each microbatch has a part; move it into a loop}}
  %0 = stablehlo.negate %x : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  %0 = mpmd.for (%zero) {iterations = 2 : ui32, atoll.parts = array<i64: 0>}
      (%last: tensor<2xf32>, %index: tensor<ui32>) {
    %y = stablehlo.negate %x : tensor<2xf32>
    mpmd.return %y : tensor<2xf32>
  } : tensor<2xf32>
  // expected-error @below {{stablehlo.negate takes result 0 of a loop, of which each microbatch has a part; move it into a loop}}
  %1 = stablehlo.negate %0 : tensor<2xf32>
  return
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
    -> (tensor<2xf32> {atoll.path = "y"}) {
  // expected-error @below {{result 0 of @main is in parts, which its attributes deny; add atoll.parts and atoll.parts_dimension}}
  return %x : tensor<2xf32>
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x"})
    -> (tensor<2xf32> {atoll.path = "y", atoll.parts = 2 : i32, atoll.parts_dimension = 0 : i32}) {
  // expected-error @below {{result 0 of @main is not in parts, which its attributes deny; remove atoll.parts and atoll.parts_dimension}}
  return %x : tensor<2xf32>
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
    -> (tensor<2xf32> {atoll.path = "y", atoll.parts = 2 : i32, atoll.parts_dimension = 1 : i32}) {
  // expected-error @below {{result 0 of @main has 2 parts along dimension 1; it has 2, along one of its 1 dimensions}}
  return %x : tensor<2xf32>
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2"} {
  // expected-error @below {{the batch is in 2 parts, and the plan asks for 2 microbatches in each of 2 replicas; write microbatches=1 in the plan}}
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32})
      -> (tensor<2xf32> {atoll.path = "y", atoll.parts = 2 : i32, atoll.parts_dimension = 0 : i32}) {
    return %x : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2"} {
  // expected-error @below {{the batch is whole, and the plan asks for 2 replicas; run fold-batch}}
  func.func @main(%x: tensor<2xf32> {atoll.path = "x"}) -> (tensor<2xf32> {atoll.path = "y"}) {
    return %x : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2"} {
  // expected-error @below {{the batch is in 3 parts, and the plan asks for 1 microbatches in each of 2 replicas; write replicas that divide 3}}
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 3 : i32})
      -> (tensor<2xf32> {atoll.path = "y", atoll.parts = 3 : i32, atoll.parts_dimension = 0 : i32}) {
    return %x : tensor<2xf32>
  }
}

// -----

func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) {
  %zero = stablehlo.constant dense<0.0> : tensor<2xf32>
  // expected-error @below {{atoll.parts is 0 : i32, which is no list of integers; write atoll.parts = array<i64: 0, 1>}}
  %0 = mpmd.for (%zero) {iterations = 2 : ui32, atoll.parts = 0 : i32} (%sum: tensor<2xf32>, %index: tensor<ui32>) {
    mpmd.return %x : tensor<2xf32>
  } : tensor<2xf32>
  return
}
