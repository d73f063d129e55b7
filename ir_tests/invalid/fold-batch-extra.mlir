// RUN: atoll-opt %s --passes "fold-batch" --verify-diagnostics --split-input-file

// What costs more than the plan allows: each step names what its examples wait for, the first that does, what that
// would cost, and what would allow it. With `extra=0` nothing may be done again or kept.

// The greatest of all examples.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = stablehlo.reduce(%0 init: %low) applies stablehlo.maximum across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}

// -----

// The least, by which examples are divided.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %high = stablehlo.constant dense<0x7F800000> : tensor<f32>
    // expected-error-re @below {{reduce goes over the whole batch, and divide at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = stablehlo.reduce(%0 init: %high) applies stablehlo.minimum across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.divide %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}

// -----

// One number of all that the model makes, through what is the same for all.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and multiply at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0, 1]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<f32>
    %2 = stablehlo.rsqrt %1 : tensor<f32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [] : (tensor<f32>) -> tensor<4x3xf32>
    %4 = stablehlo.multiply %0, %3 : tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// A sum of squares, in the last of two layers: half of the work would be done again at most, and all of it is.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %1 = stablehlo.tanh %0 : tensor<4x3xf32>
    %2 = stablehlo.dot_general %1, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %3 = stablehlo.multiply %2, %2 : tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and divide at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %5 = stablehlo.broadcast_in_dim %4, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %6 = stablehlo.divide %2, %5 : tensor<4x3xf32>
    return %6 : tensor<4x3xf32>
  }
}

// -----

// A statistic of the first of two layers: only that layer would be done again.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 50% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=50 in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    %4 = stablehlo.dot_general %3, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// One statistic after another: the first of them is named, and what both cost.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 200% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=200 in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    %4 = stablehlo.multiply %3, %3 : tensor<4x3xf32>
    %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %6 = stablehlo.broadcast_in_dim %5, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %7 = stablehlo.divide %3, %6 : tensor<4x3xf32>
    return %7 : tensor<4x3xf32>
  }
}

// -----

// A statistic of each of two layers.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 150% of the model's work would be done again, or 96 B of the batch kept on a device; allow it by extra=150 in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    %4 = stablehlo.dot_general %3, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %6 = stablehlo.broadcast_in_dim %5, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %7 = stablehlo.subtract %4, %6 : tensor<4x3xf32>
    return %7 : tensor<4x3xf32>
  }
}

// -----

// Whether any example is positive.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %no = stablehlo.constant dense<false> : tensor<i1>
    %zeros = stablehlo.constant dense<0.0> : tensor<4x3xf32>
    %1 = stablehlo.compare GT, %0, %zeros : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xi1>
    // expected-error-re @below {{reduce goes over the whole batch, and select at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %2 = stablehlo.reduce(%1 init: %no) applies stablehlo.or across dimensions = [0]
        : (tensor<4x3xi1>, tensor<i1>) -> tensor<3xi1>
    %3 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xi1>) -> tensor<4x3xi1>
    %4 = stablehlo.select %3, %0, %zeros : tensor<4x3xi1>, tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// Whether all are.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %yes = stablehlo.constant dense<true> : tensor<i1>
    %zeros = stablehlo.constant dense<0.0> : tensor<4x3xf32>
    %1 = stablehlo.compare GT, %0, %zeros : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xi1>
    // expected-error-re @below {{reduce goes over the whole batch, and select at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %2 = stablehlo.reduce(%1 init: %yes) applies stablehlo.and across dimensions = [0]
        : (tensor<4x3xi1>, tensor<i1>) -> tensor<3xi1>
    %3 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xi1>) -> tensor<4x3xi1>
    %4 = stablehlo.select %3, %0, %zeros : tensor<4x3xi1>, tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// Every example with every other, and the examples again.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{dot_general combines the examples of the batch with each other, so that 22% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=22 in the plan}}
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [1] : (tensor<4x3xf32>, tensor<4x3xf32>)
        -> tensor<4x4xf32>
    %2 = stablehlo.dot_general %1, %0, contracting_dims = [1] x [0] : (tensor<4x4xf32>, tensor<4x3xf32>)
        -> tensor<4x3xf32>
    %3 = stablehlo.add %2, %0 : tensor<4x3xf32>
    %4 = stablehlo.dot_general %3, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %5 = stablehlo.add %4, %0 : tensor<4x3xf32>
    return %5 : tensor<4x3xf32>
  }
}

// -----

// What the model makes, in the opposite order, beside itself.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reverse combines the examples of the batch with each other, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = stablehlo.reverse %0, dims = [0] : tensor<4x3xf32>
    %2 = stablehlo.add %0, %1 : tensor<4x3xf32>
    return %2 : tensor<4x3xf32>
  }
}

// -----

// Sorted, beside itself.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{sort combines the examples of the batch with each other, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = "stablehlo.sort"(%0) <{dimension = 0 : i64}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4x3xf32>) -> tensor<4x3xf32>
    %2 = stablehlo.subtract %0, %1 : tensor<4x3xf32>
    return %2 : tensor<4x3xf32>
  }
}

// -----

// Running sums over the examples, beside them.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce_window combines the examples of the batch with each other, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = "stablehlo.reduce_window"(%0, %zero) <{
        window_dimensions = array<i64: 4, 1>, padding = dense<[[3, 0], [0, 0]]> : tensor<2x2xi64>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %sum = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %sum : tensor<f32>
    }) : (tensor<4x3xf32>, tensor<f32>) -> tensor<4x3xf32>
    %2 = stablehlo.subtract %0, %1 : tensor<4x3xf32>
    return %2 : tensor<4x3xf32>
  }
}

// -----

// The first example, taken from each.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{slice combines the examples of the batch with each other, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = stablehlo.slice %0 [0:1, 0:3] : (tensor<4x3xf32>) -> tensor<1x3xf32>
    %2 = stablehlo.reshape %1 : (tensor<1x3xf32>) -> tensor<3xf32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %4 = stablehlo.subtract %0, %3 : tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// An operation of which nothing is known, beside what it takes.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{custom_call combines the examples of the batch with each other, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1 = stablehlo.custom_call @mystery(%0) : (tensor<4x3xf32>) -> tensor<4x3xf32>
    %2 = stablehlo.add %0, %1 : tensor<4x3xf32>
    return %2 : tensor<4x3xf32>
  }
}

// -----

// With replicas the remedy names both, and the bytes are those of each.

module attributes {atoll.plan = "microbatches=2, replicas=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 24 B of the batch kept on a device; allow it by extra=100 in the plan, .*or set replicas=1 and microbatches=1}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}

// -----

// A product over the examples, in which both sides are what the model makes.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{dot_general goes over the whole batch, and dot_general at .*:[0-9]+ needs its result for every example, so that 34% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=34 in the plan}}
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [0] x [0] : (tensor<4x3xf32>, tensor<4x3xf32>)
        -> tensor<3x3xf32>
    %2 = stablehlo.dot_general %0, %1, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    return %2 : tensor<4x3xf32>
  }
}

// -----

// A sum over the batch in each turn of a loop that is not over the batch, which the examples need behind it.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %start = stablehlo.constant dense<0> : tensor<i32>
    // expected-error-re @below {{while goes over the whole batch, and multiply at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device; allow it by extra=100 in the plan}}
    %1:2 = stablehlo.while(%i = %start, %s = %zero) : tensor<i32>, tensor<f32>
    cond {
      %end = stablehlo.constant dense<2> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %part = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0, 1]
          : (tensor<4x3xf32>, tensor<f32>) -> tensor<f32>
      %sum = stablehlo.add %s, %part : tensor<f32>
      stablehlo.return %next, %sum : tensor<i32>, tensor<f32>
    }
    %2 = stablehlo.broadcast_in_dim %1#1, dims = [] : (tensor<f32>) -> tensor<4x3xf32>
    %3 = stablehlo.multiply %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}

// -----

// A bound on work, and one on bytes: neither leaves room.

module attributes {atoll.plan = "microbatches=2, extra=\"20%, 16 B\""} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 48 B of the batch kept on a device, and the plan allows 20% and 16 B; allow it by extra="100%, 16 B" or extra="20%, 48 B" in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}

// -----

// Half as many bytes are kept by each of two replicas, and that is more than it may.

module attributes {atoll.plan = "microbatches=2, replicas=2, extra=\"20%, 16 B\""} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 24 B of the batch kept on a device, and the plan allows 20% and 16 B; allow it by extra="100%, 16 B" or extra="20%, 24 B" in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}

// -----

// There is room for what one of two layers makes: what the other one makes is made again.

module attributes {atoll.plan = "microbatches=2, extra=\"20%, 48 B\""} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 50% of the model's work would be done again and 48 B of the batch kept, or 96 B of the batch kept on a device, and the plan allows 20% and 48 B; allow it by extra="50%, 48 B" or extra="20%, 96 B" in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    %4 = stablehlo.dot_general %3, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %6 = stablehlo.broadcast_in_dim %5, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %7 = stablehlo.subtract %4, %6 : tensor<4x3xf32>
    return %7 : tensor<4x3xf32>
  }
}

// -----

// A decision has to be kept, even if nothing is done again.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %zeros = stablehlo.constant dense<0.0> : tensor<4x3xf32>
    %positive = stablehlo.compare GT, %0, %zeros : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xi1>
    %1 = stablehlo.convert %positive : (tensor<4x3xi1>) -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 12 B of the batch would be kept on a device; allow it by extra="0%, 12 B" in the plan}}
    %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %4 = stablehlo.subtract %1, %3 : tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// Such a decision takes more room than there is, whatever may be done again.

module attributes {atoll.plan = "microbatches=2, extra=\"100%, 8 B\""} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %zeros = stablehlo.constant dense<0.0> : tensor<4x3xf32>
    %positive = stablehlo.compare GT, %0, %zeros : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xi1>
    %1 = stablehlo.convert %positive : (tensor<4x3xi1>) -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 12 B of the batch would be kept on a device, and the plan allows 100% and 8 B; allow it by extra="100%, 12 B" in the plan}}
    %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %4 = stablehlo.subtract %1, %3 : tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// Beside a decision what it decides about is made again, or kept too.

module attributes {atoll.plan = "microbatches=2, extra=\"20%, 12 B\""} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %zeros = stablehlo.constant dense<0.0> : tensor<4x3xf32>
    %positive = stablehlo.compare GT, %0, %zeros : (tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xi1>
    %ones = stablehlo.constant dense<1.0> : tensor<4x3xf32>
    %1 = stablehlo.select %positive, %0, %ones : (tensor<4x3xi1>, tensor<4x3xf32>, tensor<4x3xf32>) -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again and 12 B of the batch kept, or 48 B of the batch kept on a device, and the plan allows 20% and 12 B; allow it by extra="100%, 12 B" or extra="20%, 48 B" in the plan}}
    %2 = stablehlo.reduce(%1 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %3 = stablehlo.broadcast_in_dim %2, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %4 = stablehlo.subtract %1, %3 : tensor<4x3xf32>
    return %4 : tensor<4x3xf32>
  }
}

// -----

// Similarities that each example needs in two forms, by its row and by its column, are made twice, or whole and kept.

module attributes {atoll.plan = "microbatches=2, extra=\"20%, 56 B\""} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %low = stablehlo.constant dense<0xFF800000> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{dot_general combines the examples of the batch with each other, so that 58% of the model's work would be done again and 48 B of the batch kept, or 112 B of the batch kept on a device, and the plan allows 20% and 56 B; allow it by extra="58%, 56 B" or extra="20%, 112 B" in the plan}}
    %1 = stablehlo.dot_general %0, %0, contracting_dims = [1] x [1] : (tensor<4x3xf32>, tensor<4x3xf32>)
        -> tensor<4x4xf32>
    %2 = stablehlo.reduce(%1 init: %low) applies stablehlo.maximum across dimensions = [0]
        : (tensor<4x4xf32>, tensor<f32>) -> tensor<4xf32>
    %3 = stablehlo.reduce(%1 init: %low) applies stablehlo.maximum across dimensions = [1]
        : (tensor<4x4xf32>, tensor<f32>) -> tensor<4xf32>
    %4 = stablehlo.add %2, %3 : tensor<4xf32>
    %5 = stablehlo.broadcast_in_dim %4, dims = [0] : (tensor<4xf32>) -> tensor<4x3xf32>
    %6 = stablehlo.multiply %0, %5 : tensor<4x3xf32>
    return %6 : tensor<4x3xf32>
  }
}

// -----

// Devices that divide the examples each keep their part, so that the plan is for that part.

module attributes {atoll.plan = "microbatches=2, extra=\"20%, 16 B\"", atoll.topology = "1 x cpu[data=2]"} {
  sdy.mesh @mesh = <["data"=2]>
  func.func @main(
      %w: tensor<3x3xf32> {atoll.path = "w"},
      %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch, sdy.sharding = #sdy.sharding<@mesh, [{"data"}, {}]>})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error-re @below {{reduce goes over the whole batch, and subtract at .*:[0-9]+ needs its result for every example, so that 100% of the model's work would be done again, or 24 B of the batch kept on a device, and the plan allows 20% and 16 B; allow it by extra="100%, 16 B" or extra="20%, 24 B" in the plan}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}
