// RUN: atoll-opt %s --passes "verify-staged" --verify-diagnostics --split-input-file

// Stages and sweeps that do not come one after another, or are missing.

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

// -----

module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @below {{an operation has no stage or no sweep; add atoll.stage and atoll.sweep}}
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32} : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @below {{atoll.stage is "zero", which is no integer; write atoll.stage = 0 : i32}}
    %0 = stablehlo.negate %x {atoll.stage = "zero", atoll.sweep = 0 : i32} : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @below {{there is no stage 2 of sweep 0; stages are 0 to 1}}
    %0 = stablehlo.negate %x {atoll.stage = 2 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @below {{there is no stage 0 of sweep -1}}
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = -1 : i32} : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    // expected-error @below {{stage 0 in sweep 0 needs a value of stage 1 in sweep 0}}
    %1 = stablehlo.negate %0 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}

// -----

// What a region takes counts like an operand.
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>, %p: tensor<i1>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    // expected-error @below {{stage 1 in sweep 0 needs a value of stage 1 in sweep 1}}
    %1 = "stablehlo.if"(%p) ({
      stablehlo.return %0 : tensor<4xf32>
    }, {
      stablehlo.return %x : tensor<4xf32>
    }) {atoll.stage = 1 : i32, atoll.sweep = 0 : i32} : (tensor<i1>) -> tensor<4xf32>
    return %1 : tensor<4xf32>
  }
}

// -----

// The pieces of an argument say what they are.
// expected-error @+2 {{atoll.piece of argument 0 of @main is 3 : i32; write atoll.piece = array<i64: DIMENSION, START, WHOLE>}}
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%w: tensor<4xf32> {atoll.path = "w", atoll.piece = 3 : i32}) -> tensor<4xf32> {
    return %w : tensor<4xf32>
  }
}

// -----

// What is made of an exchange is in a later fragment than what is exchanged.
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.negate %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %1 = stablehlo.custom_call @atoll.exchange(%0)
        {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>) -> tensor<4xf32>
    // expected-error @below {{stage 0 in sweep 0 needs a value of stage 0 in sweep 0, which comes no sooner; move it to a later sweep}}
    %2 = stablehlo.negate %1 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}

// -----

// An exchange has one operand, and stands after the loops.
module attributes {atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    // expected-error @below {{an exchange has 2 operands and 1 results; write one of each}}
    %0 = stablehlo.custom_call @atoll.exchange(%x, %x)
        {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>, tensor<4xf32>)
        -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2", atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<4xf32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    %0 = mpmd.for (%zero) {atoll.role = "F", iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      // expected-error @below {{replicas exchange before a loop ends; move it behind the last loop}}
      %1 = stablehlo.custom_call @atoll.exchange(%x)
          {atoll.exchange = "add", atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : (tensor<4xf32>) -> tensor<4xf32>
      %2 = stablehlo.add %s, %1 {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %2 : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2", atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<4xf32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    // expected-error @below {{a loop over microbatches has no atoll.role; run order-sweeps}}
    %0 = mpmd.for (%zero) {iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %1 : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2", atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<4xf32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    // expected-error @below {{atoll.role is 'forward'; write a letter for each sweep: atoll.role = "FB"}}
    %0 = mpmd.for (%zero) {atoll.role = "forward", iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %1 : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2", atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<4xf32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    // expected-error @below {{atoll.role is 1 : i32; write a letter for each sweep: atoll.role = "FB"}}
    %0 = mpmd.for (%zero) {atoll.role = 1 : i32, iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
      mpmd.return %1 : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2", atoll.stages = 1 : i32} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch, atoll.parts = 2 : i32}) -> tensor<4xf32> {
    %zero = stablehlo.constant {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} dense<0.0> : tensor<4xf32>
    // expected-error @below {{atoll.role is "F", and the loop goes over the stages in 2 sweeps; write a letter for each}}
    %0 = mpmd.for (%zero) {atoll.role = "F", iterations = 2 : ui32} (%s: tensor<4xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %s, %x {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
      mpmd.return %1 : tensor<4xf32>
    } : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// The loop would be on one stage, whatever was asked for.
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x"}) -> (tensor<4xf32> {atoll.path = "result"}) {
    // expected-error @below {{atoll.layers is left on stablehlo.while, which nothing reads from here on; run the passes that lead to phase staged, or take it away}}
    %0 = stablehlo.while(%h = %x) : tensor<4xf32> attributes {atoll.layers = array<i64: 0, 1>, atoll.stage = 0 : i32, atoll.sweep = 0 : i32}
    cond {
      %more = stablehlo.constant dense<false> : tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      stablehlo.return %h : tensor<4xf32>
    }
    return %0 : tensor<4xf32>
  }
}
