// RUN: atoll-opt %s --passes "fold-batch" --verify-diagnostics --split-input-file

// What a scope sees of each microbatch alone has to be the examples of that microbatch.

// Time first, and both axes made one: a half of it has no whole examples.

module attributes {
  atoll.plan = "microbatches=2, per_microbatch=\"norm\"",
  atoll.alone = {notes = [], parts = 2 : i32}
} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<f32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %1 = stablehlo.transpose %0, dims = [1, 0] : (tensor<4x3xf32>) -> tensor<3x4xf32>
    %2 = stablehlo.reshape %1 : (tensor<3x4xf32>) -> tensor<12xf32>
    // expected-remark @below {{examples are taken in 2 blocks}}
    // expected-error @below {{what per_microbatch is to do alone takes the examples in another order than microbatches have them; keep them along one axis, one after another, up to that scope}}
    %3 = stablehlo.reshape %2 {atoll.alone_cut} : (tensor<12xf32>) -> tensor<2x6xf32>
    %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.maximum across dimensions = [1]
        : (tensor<2x6xf32>, tensor<f32>) -> tensor<2xf32>
    %5 = stablehlo.reduce(%4 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
    return %5 : tensor<f32>
  }
}

// -----

// Examples that were mixed before.

module attributes {
  atoll.plan = "microbatches=2, per_microbatch=\"norm\"",
  atoll.alone = {notes = [], parts = 2 : i32}
} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    %1 = stablehlo.reverse %0, dims = [0] : tensor<4x3xf32>
    // expected-error @below {{what per_microbatch is to do alone takes the examples in another order}}
    %2 = stablehlo.reshape %1 {atoll.alone_cut} : (tensor<4x3xf32>) -> tensor<2x2x3xf32>
    %3 = stablehlo.reduce(%2 init: %zero) applies stablehlo.maximum across dimensions = [1]
        : (tensor<2x2x3xf32>, tensor<f32>) -> tensor<2x3xf32>
    %4 = stablehlo.reduce(%3 init: %zero) applies stablehlo.add across dimensions = [0]
        : (tensor<2x3xf32>, tensor<f32>) -> tensor<3xf32>
    return %4 : tensor<3xf32>
  }
}
