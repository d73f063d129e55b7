// RUN: atoll-opt %s --passes "fold-batch" --verify-diagnostics --split-input-file

// Programs that cannot run on one microbatch after another: each names the operation that is in the way.

// An operation of which nothing is known.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    // expected-error @below {{custom_call combines the examples of the batch with each other; keep the examples apart up to a sum or mean over them, or set microbatches=1}}
    %0 = stablehlo.custom_call @mystery(%x) : (tensor<4x3xf32>) -> tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    // expected-error @below {{get_dimension_size has no rule that says what it does with a batch}}
    %0 = stablehlo.get_dimension_size %x, dim = 0 : (tensor<4xf32>) -> tensor<i32>
    %1 = stablehlo.convert %0 : (tensor<i32>) -> tensor<f32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [] : (tensor<f32>) -> tensor<4xf32>
    return %2 : tensor<4xf32>
  }
}

// -----

// Along the batch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    // expected-error @below {{reverse combines the examples of the batch with each other}}
    %0 = stablehlo.reverse %x, dims = [0] : tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// Windows of one example, after the examples have moved on by one.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    // expected-error @below {{reduce_window combines the examples of the batch with each other}}
    %0 = "stablehlo.reduce_window"(%x, %zero) <{
        window_dimensions = array<i64: 1, 1>, padding = dense<[[1, -1], [0, 0]]> : tensor<2x2xi64>}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %sum = stablehlo.add %a, %b : tensor<f32>
      stablehlo.return %sum : tensor<f32>
    }) : (tensor<4x3xf32>, tensor<f32>) -> tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// Rows between the examples.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<10x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    // expected-error @below {{pad combines the examples of the batch with each other}}
    %0 = stablehlo.pad %x, %zero, low = [0, 0], high = [0, 0], interior = [2, 0]
        : (tensor<4x3xf32>, tensor<f32>) -> tensor<10x3xf32>
    return %0 : tensor<10x3xf32>
  }
}

// -----

// Some of the examples.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}, %i: tensor<i32> {atoll.path = "i"})
      -> (tensor<2x3xf32> {atoll.path = "y"}) {
    // expected-error @below {{dynamic_slice combines the examples of the batch with each other}}
    %0 = stablehlo.dynamic_slice %x, %i, %i, sizes = [2, 3] : (tensor<4x3xf32>, tensor<i32>, tensor<i32>)
        -> tensor<2x3xf32>
    return %0 : tensor<2x3xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}, %i: tensor<1xi32> {atoll.path = "i"})
      -> (tensor<2x3xf32> {atoll.path = "y"}) {
    // expected-error @below {{gather combines the examples of the batch with each other}}
    %0 = "stablehlo.gather"(%x, %i) <{
        dimension_numbers = #stablehlo.gather<offset_dims = [0, 1], start_index_map = [0]>,
        slice_sizes = array<i64: 2, 3>}> : (tensor<4x3xf32>, tensor<1xi32>) -> tensor<2x3xf32>
    return %0 : tensor<2x3xf32>
  }
}

// -----

// A Gram matrix.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x4xf32> {atoll.path = "y"}) {
    // expected-error @below {{dot_general brings every example of the batch together with every other}}
    %0 = stablehlo.dot_general %x, %x, contracting_dims = [1] x [1] : (tensor<4x3xf32>, tensor<4x3xf32>)
        -> tensor<4x4xf32>
    return %0 : tensor<4x4xf32>
  }
}

// -----

// Blocks that do not stay contiguous.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<3x4xf32> {atoll.path = "y"}) {
    // expected-error @below {{reshape combines the examples of the batch with each other}}
    %0 = stablehlo.reshape %x : (tensor<4x3xf32>) -> tensor<3x4xf32>
    return %0 : tensor<3x4xf32>
  }
}

// -----

// Statistics of what a model computes, used for every example: the model would have to run twice, or be kept.

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  func.func @main(%w: tensor<3x3xf32> {atoll.path = "w"}, %x: tensor<4x3xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x3xf32>, tensor<3x3xf32>)
        -> tensor<4x3xf32>
    // expected-error @below {{the examples of the batch are mixed: reduce goes over the whole batch, and subtract at}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4x3xf32>, tensor<f32>)
        -> tensor<3xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<3xf32>) -> tensor<4x3xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x3xf32>
    return %3 : tensor<4x3xf32>
  }
}

// -----

// A loop whose end depends on what is in the batch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xi1> {atoll.path = "x", atoll.batch}) -> (tensor<4xi1> {atoll.path = "y"}) {
    // expected-error @below {{while goes on or ends by what is in the batch}}
    %0 = stablehlo.while(%y = %x) : tensor<4xi1>
    cond {
      %yes = stablehlo.constant dense<true> : tensor<i1>
      %all = stablehlo.reduce(%y init: %yes) applies stablehlo.and across dimensions = [0] : (tensor<4xi1>, tensor<i1>)
          -> tensor<i1>
      stablehlo.return %all : tensor<i1>
    } do {
      %not = stablehlo.not %y : tensor<4xi1>
      stablehlo.return %not : tensor<4xi1>
    }
    return %0 : tensor<4xi1>
  }
}

// -----

// A batch twice, one after another, meets one of which each example is there twice.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %tiled = stablehlo.concatenate %x, %x, dim = 0 : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32>
    %each = stablehlo.broadcast_in_dim %x, dims = [0] : (tensor<4xf32>) -> tensor<4x2xf32>
    %repeated = stablehlo.reshape %each : (tensor<4x2xf32>) -> tensor<8xf32>
    // expected-error @below {{add takes the batch in 1 and in 2 blocks, so that other examples meet}}
    %y = stablehlo.add %tiled, %repeated : tensor<8xf32>
    return %y : tensor<8xf32>
  }
}

// -----

// Joined with fewer rows than a batch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}, %w: tensor<2xf32> {atoll.path = "w"})
      -> (tensor<6xf32> {atoll.path = "y"}) {
    // expected-error @below {{concatenate combines the examples of the batch with each other}}
    %y = stablehlo.concatenate %w, %x, dim = 0 : (tensor<2xf32>, tensor<4xf32>) -> tensor<6xf32>
    return %y : tensor<6xf32>
  }
}

// -----

// As many rows as a batch, of two batches.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    %both = stablehlo.concatenate %x, %x, dim = 0 : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32>
    // expected-error @below {{slice combines the examples of the batch with each other}}
    %y = stablehlo.slice %both [1:5] : (tensor<8xf32>) -> tensor<4xf32>
    return %y : tensor<4xf32>
  }
}

// -----

// Padding of half a batch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    // expected-error @below {{pad combines the examples of the batch with each other}}
    %y = stablehlo.pad %x, %zero, low = [2], high = [2], interior = [0] : (tensor<4xf32>, tensor<f32>) -> tensor<8xf32>
    return %y : tensor<8xf32>
  }
}

// -----

// Padding between the examples, as long as a batch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    // expected-error @below {{pad combines the examples of the batch with each other}}
    %y = stablehlo.pad %x, %zero, low = [0], high = [1], interior = [1] : (tensor<4xf32>, tensor<f32>) -> tensor<8xf32>
    return %y : tensor<8xf32>
  }
}

// -----

// Halves of the examples that two microbatches cannot share.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<6xf32> {atoll.path = "x", atoll.batch}) -> (tensor<3xf32> {atoll.path = "y"}) {
    // expected-error @below {{slice makes blocks of 3 examples, which 2 microbatches cannot share evenly; choose microbatches that divide these, or set microbatches=1}}
    %first = stablehlo.slice %x [0:3] : (tensor<6xf32>) -> tensor<3xf32>
    %second = stablehlo.slice %x [3:6] : (tensor<6xf32>) -> tensor<3xf32>
    %y = stablehlo.add %first, %second : tensor<3xf32>
    return %y : tensor<3xf32>
  }
}

// -----

// Too many batches one after another to return each as a result.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<2x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<160x3xf32> {atoll.path = "y"}) {
    %tiled = stablehlo.broadcast_in_dim %x, dims = [1, 2] : (tensor<2x3xf32>) -> tensor<80x2x3xf32>
    // expected-error @below {{reshape gives a result that is 80 batches one after another, and 64 is the most; give each its place in a dimension by .reshape(80, 2, 3), or set microbatches=1}}
    %y = stablehlo.reshape %tiled : (tensor<80x2x3xf32>) -> tensor<160x3xf32>
    return %y : tensor<160x3xf32>
  }
}

// -----

// Groups of a convolution that are not in one block.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<1x2x4xf32> {atoll.path = "x"}, %k: tensor<4xf32> {atoll.path = "k", atoll.batch})
      -> (tensor<1x1x8xf32> {atoll.path = "y"}) {
    %both = stablehlo.concatenate %k, %k, dim = 0 : (tensor<4xf32>, tensor<4xf32>) -> tensor<8xf32>
    %kernel = stablehlo.broadcast_in_dim %both, dims = [2] : (tensor<8xf32>) -> tensor<2x1x8xf32>
    // expected-error @below {{convolution does not keep the microbatches apart}}
    %y = stablehlo.convolution(%x, %kernel) dim_numbers = [b, 0, f]x[0, i, o]->[b, 0, f], window = {}
        {batch_group_count = 1 : i64, feature_group_count = 4 : i64}
        : (tensor<1x2x4xf32>, tensor<2x1x8xf32>) -> tensor<1x1x8xf32>
    return %y : tensor<1x1x8xf32>
  }
}

// -----

// A loop that carries the batch now along one dimension, now along another. Up to 64 iterations would be written out.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4x4xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    // expected-error @below {{while carries the batch now in one way, now in another (S(0) and S(1))}}
    %0:2 = stablehlo.while(%i = %zero, %y = %x) : tensor<i32>, tensor<4x4xf32>
    cond {
      %end = stablehlo.constant dense<65> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %z = stablehlo.transpose %y, dims = [1, 0] : (tensor<4x4xf32>) -> tensor<4x4xf32>
      stablehlo.return %next, %z : tensor<i32>, tensor<4x4xf32>
    }
    return %0#1 : tensor<4x4xf32>
  }
}

// -----

// A sum that is used inside of a loop, before all microbatches have been in it.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}, %start: tensor<f32> {atoll.path = "start"})
      -> (tensor<f32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%i = %zero, %sum = %start) : tensor<i32>, tensor<f32>
    cond {
      %end = stablehlo.constant dense<65> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %none = stablehlo.constant dense<0.0> : tensor<f32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %part = stablehlo.reduce(%x init: %none) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      // expected-error @below {{tanh needs the result of reduce at}}
      %after = stablehlo.tanh %part : tensor<f32>
      stablehlo.return %next, %after : tensor<i32>, tensor<f32>
    }
    return %0#1 : tensor<f32>
  }
}

// -----

// What divides by a part of a sum is no part of anything.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<f32> {atoll.path = "w"}, %x: tensor<4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<f32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%i = %zero, %sum = %w) : tensor<i32>, tensor<f32>
    cond {
      %end = stablehlo.constant dense<65> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %none = stablehlo.constant dense<0.0> : tensor<f32>
      %part = stablehlo.reduce(%x init: %none) applies stablehlo.add across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      // expected-error @below {{divide needs the result of reduce at}}
      %share = stablehlo.divide %w, %part : tensor<f32>
      %after = stablehlo.add %sum, %share : tensor<f32>
      stablehlo.return %next, %after : tensor<i32>, tensor<f32>
    }
    return %0#1 : tensor<f32>
  }
}

// -----

// Only where no value changes is the greatest of what parts are converted to what the greatest is converted to.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<bf16> {atoll.path = "w"}, %x: tensor<4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<bf16> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%i = %zero, %most = %w) : tensor<i32>, tensor<bf16>
    cond {
      %end = stablehlo.constant dense<65> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %least = stablehlo.constant dense<0xFF800000> : tensor<f32>
      %part = stablehlo.reduce(%x init: %least) applies stablehlo.maximum across dimensions = [0]
          : (tensor<4xf32>, tensor<f32>) -> tensor<f32>
      // expected-error @below {{convert needs the result of reduce at}}
      %narrow = stablehlo.convert %part : (tensor<f32>) -> tensor<bf16>
      %after = stablehlo.maximum %most, %narrow : tensor<bf16>
      stablehlo.return %next, %after : tensor<i32>, tensor<bf16>
    }
    return %0#1 : tensor<bf16>
  }
}

// -----

// A choice that depends on a sum, where the sum is not complete.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xi32> {atoll.path = "x", atoll.batch}, %start: tensor<i32> {atoll.path = "start"})
      -> (tensor<i32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%i = %zero, %last = %start) : tensor<i32>, tensor<i32>
    cond {
      %end = stablehlo.constant dense<65> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %end : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %none = stablehlo.constant dense<0> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      %sum = stablehlo.reduce(%x init: %none) applies stablehlo.add across dimensions = [0]
          : (tensor<4xi32>, tensor<i32>) -> tensor<i32>
      // expected-error @below {{case chooses by what is in the batch}}
      %chosen = "stablehlo.case"(%sum) ({
        stablehlo.return %one : tensor<i32>
      }, {
        stablehlo.return %none : tensor<i32>
      }) : (tensor<i32>) -> tensor<i32>
      stablehlo.return %next, %chosen : tensor<i32>, tensor<i32>
    }
    return %0#1 : tensor<i32>
  }
}

// -----

// A region of an operation that knows nothing of batches.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch}, %w: tensor<2x2xf32> {atoll.path = "w"})
      -> (tensor<2x2xf32> {atoll.path = "y"}) {
    // expected-error @below {{sort takes the batch into its region}}
    %0 = "stablehlo.sort"(%w) <{dimension = 1 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<f32>, %b: tensor<f32>):
      %none = stablehlo.constant dense<0.0> : tensor<f32>
      %sum = stablehlo.reduce(%x init: %none) applies stablehlo.add across dimensions = [0]
          : (tensor<2xf32>, tensor<f32>) -> tensor<f32>
      %is_less = stablehlo.compare LT, %a, %sum : (tensor<f32>, tensor<f32>) -> tensor<i1>
      stablehlo.return %is_less : tensor<i1>
    }) : (tensor<2x2xf32>) -> tensor<2x2xf32>
    return %0 : tensor<2x2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2"} {
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch}, %w: tensor<2xf32> {atoll.path = "w"})
      -> (tensor<2xf32> {atoll.path = "y"}) {
    // expected-error @below {{custom_call has an effect outside of the program, which would happen in every replica; take it out, or set replicas=1}}
    stablehlo.custom_call @tell(%w) {has_side_effect = true} : (tensor<2xf32>) -> ()
    return %x : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2"} {
  func.func @main(%x: tensor<2xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2xf32> {atoll.path = "y"}) {
    // expected-error @below {{reverse combines the examples of the batch with each other; keep the examples apart up to a sum or mean over them, or set replicas=1}}
    %0 = stablehlo.reverse %x, dims = [0] : tensor<2xf32>
    return %0 : tensor<2xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2, extra=0"} {
  func.func @main(%x: tensor<4x2xf32> {atoll.path = "x", atoll.batch}, %w: tensor<2x2xf32> {atoll.path = "w"})
      -> (tensor<4x2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x2xf32>)
        -> tensor<4x2xf32>
    // expected-error @below {{needs its result for every example, so that 100% of the model's work would be done again, or 16 B of the batch kept on a device; allow it by extra=100 in the plan, give every example only what does not depend on the others, or set replicas=1 and microbatches=1}}
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4x2xf32>, tensor<f32>)
        -> tensor<2xf32>
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<2xf32>) -> tensor<4x2xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x2xf32>
    return %3 : tensor<4x2xf32>
  }
}

// -----

// A line that is called by several layers does not tell which of them are meant.
module attributes {atoll.plan = "microbatches=2, extra=0"} {
  // expected-error @unknown {{reduce_sum goes over the whole batch, and sub at model.py:7 (both in scope layer_0/norm) needs its result}}
  func.func @main(%x: tensor<4x2xf32> {atoll.path = "x", atoll.batch}, %w: tensor<2x2xf32> {atoll.path = "w"})
      -> (tensor<4x2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x2xf32>)
        -> tensor<4x2xf32>
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4x2xf32>, tensor<f32>)
        -> tensor<2xf32> loc("jit(step)/jvp(layer_0/norm)/reduce_sum"("model.py":7:9))
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<2xf32>) -> tensor<4x2xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x2xf32> loc("jit(step)/jvp(layer_0/norm)/sub"("model.py":7:9))
    return %3 : tensor<4x2xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2, extra=0"} {
  // expected-error @unknown {{reduce_sum goes over the whole batch, and sub at model.py:7 (in scope layer_1, the former in scope layer_0) needs its result}}
  func.func @main(%x: tensor<4x2xf32> {atoll.path = "x", atoll.batch}, %w: tensor<2x2xf32> {atoll.path = "w"})
      -> (tensor<4x2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0.0> : tensor<f32>
    %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : (tensor<4x2xf32>, tensor<2x2xf32>)
        -> tensor<4x2xf32>
    %1 = stablehlo.reduce(%0 init: %zero) applies stablehlo.add across dimensions = [0] : (tensor<4x2xf32>, tensor<f32>)
        -> tensor<2xf32> loc("jit(step)/jvp(layer_0)/reduce_sum"("model.py":7:9))
    %2 = stablehlo.broadcast_in_dim %1, dims = [1] : (tensor<2xf32>) -> tensor<4x2xf32>
    %3 = stablehlo.subtract %0, %2 : tensor<4x2xf32> loc("jit(step)/jvp(layer_1)/sub"("model.py":7:9))
    return %3 : tensor<4x2xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=3"} {
  // expected-error @unknown {{x has 8 examples, which 3 microbatches cannot share evenly; choose microbatches that divide}}
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    return %x : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "replicas=2, microbatches=2"} {
  // expected-error @unknown {{the plan asks for 2 replicas of 2 microbatches, and no argument that is used carries the batch}}
  func.func @main(%x: tensor<8xf32> {atoll.path = "x"}) -> (tensor<8xf32> {atoll.path = "y"}) {
    return %x : tensor<8xf32>
  }
}

// -----

// A print of the examples would print some of them in each microbatch.
module attributes {atoll.plan = "microbatches=4"} {
  // expected-error @unknown {{debug_print has an effect outside of the program, which would happen once for every microbatch; print a sum or mean over the examples, or take it out, or set microbatches=1}}
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    stablehlo.custom_call @xla_ffi_python_cpu_callback(%x) {has_side_effect = true,
        mhlo.backend_config = {index = 0 : ui64}} : (tensor<8xf32>) -> ()
        loc("debug_print:"("jit(step)/debug_print"("train.py":5:3)))
    return %x : tensor<8xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8xf32> {atoll.path = "x", atoll.batch}) -> (tensor<8xf32> {atoll.path = "y"}) {
    // expected-error @below {{custom_call has an effect outside of the program, which would happen once for every microbatch}}
    stablehlo.custom_call @print(%x) {has_side_effect = true} : (tensor<8xf32>) -> ()
    return %x : tensor<8xf32>
  }
}

// -----

// A call of a library that says how many leading dimensions count matrices, and makes another number of them.

module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%x: tensor<8x3x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<6x3xf32> {atoll.path = "y"}) {
    // expected-error @below {{custom_call does not keep the microbatches apart}}
    %0 = stablehlo.custom_call @lapack_sgeev_ffi(%x) {mhlo.frontend_attributes = {num_batch_dims = "1"}}
        : (tensor<8x3x3xf32>) -> tensor<6x3xf32>
    return %0 : tensor<6x3xf32>
  }
}

// -----

// Effects beside the batch: in the body of a loop that carries it, in its condition, in a branch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%i = %zero, %y = %x) : tensor<i32>, tensor<4xf32>
    cond {
      %n = stablehlo.constant dense<4> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      // expected-error @below {{custom_call has an effect outside of the program, which would happen once for every microbatch; take it out, or set microbatches=1}}
      stablehlo.custom_call @tell(%i) {has_side_effect = true} : (tensor<i32>) -> ()
      stablehlo.return %j, %y : tensor<i32>, tensor<4xf32>
    }
    return %0#1 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:2 = stablehlo.while(%i = %zero, %y = %x) : tensor<i32>, tensor<4xf32>
    cond {
      // expected-error @below {{custom_call has an effect outside of the program, which would happen once for every microbatch}}
      %more = stablehlo.custom_call @ask(%i) {has_side_effect = true} : (tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %j, %y : tensor<i32>, tensor<4xf32>
    }
    return %0#1 : tensor<4xf32>
  }
}

// -----

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%k: tensor<i32> {atoll.path = "k"}, %x: tensor<4xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4xf32> {atoll.path = "y"}) {
    %low = stablehlo.constant dense<0.0> : tensor<f32>
    %high = stablehlo.constant dense<1.0> : tensor<f32>
    %size = stablehlo.constant dense<4> : tensor<1xi64>
    %0 = "stablehlo.case"(%k) ({
      stablehlo.return %x : tensor<4xf32>
    }, {
      // expected-error @below {{rng has an effect outside of the program, which would happen once for every microbatch}}
      %1 = stablehlo.rng %low, %high, %size, distribution = UNIFORM : (tensor<f32>, tensor<f32>, tensor<1xi64>)
          -> tensor<4xf32>
      stablehlo.return %1 : tensor<4xf32>
    }) : (tensor<i32>) -> tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// An operation of which nobody knows the effects, and which takes the batch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    // expected-error @below {{negf has an effect outside of the program, which would happen once for every microbatch}}
    %0 = arith.negf %x : tensor<4xf32>
    return %0 : tensor<4xf32>
  }
}

// -----

// In every replica, from within a loop that has nothing to do with the batch.

module attributes {atoll.plan = "replicas=2"} {
  func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.batch}) -> (tensor<4xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0 = stablehlo.while(%i = %zero) : tensor<i32>
    cond {
      %n = stablehlo.constant dense<4> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      // expected-error @below {{custom_call has an effect outside of the program, which would happen in every replica; take it out, or set replicas=1}}
      stablehlo.custom_call @tell(%i) {has_side_effect = true} : (tensor<i32>) -> ()
      stablehlo.return %j : tensor<i32>
    }
    return %x : tensor<4xf32>
  }
}

// -----

// Each of two devices has three examples, of which two microbatches cannot have as many.

module attributes {atoll.plan = "microbatches=2"} {
  sdy.mesh @mesh = <["devices"=2]>
  func.func @main(%x: tensor<6xf32> {atoll.path = "x", atoll.batch}) -> (tensor<6xf32> {atoll.path = "y"}) {
    // expected-error @below {{manual_computation makes blocks of 3 examples, which 2 microbatches cannot share evenly; choose microbatches that divide these, or set microbatches=1}}
    %0 = sdy.manual_computation(%x) in_shardings=[<@mesh, [{"devices"}]>] out_shardings=[<@mesh,
        [{"devices"}]>] manual_axes={"devices"} (%local: tensor<3xf32>) {
      %1 = stablehlo.negate %local : tensor<3xf32>
      sdy.return %1 : tensor<3xf32>
    } : (tensor<6xf32>) -> tensor<6xf32>
    return %0 : tensor<6xf32>
  }
}

// -----

// Two batches stand one after another, and go to four devices.

module attributes {atoll.plan = "microbatches=2"} {
  sdy.mesh @mesh = <["devices"=4]>
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch}) -> (tensor<3x8xf32> {atoll.path = "y"}) {
    %turned = stablehlo.transpose %x, dims = [1, 0] : (tensor<4x3xf32>) -> tensor<3x4xf32>
    %twice = stablehlo.concatenate %turned, %turned, dim = 1 : (tensor<3x4xf32>, tensor<3x4xf32>) -> tensor<3x8xf32>
    // expected-error @below {{manual_computation divides the examples over 4 devices, which do not all have some of each microbatch; divide the arguments that have them in the same way, or set microbatches=1}}
    %0 = sdy.manual_computation(%twice) in_shardings=[<@mesh, [{}, {"devices"}]>] out_shardings=[<@mesh,
        [{}, {"devices"}]>] manual_axes={"devices"} (%local: tensor<3x2xf32>) {
      %1 = stablehlo.negate %local : tensor<3x2xf32>
      sdy.return %1 : tensor<3x2xf32>
    } : (tensor<3x8xf32>) -> tensor<3x8xf32>
    return %0 : tensor<3x8xf32>
  }
}

// -----

// A loop over pieces of the batch, of which there are too few, and too many to be written out.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<130xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %begin = stablehlo.constant dense<0.0> : tensor<2xf32>
    // expected-error @below {{while takes the batch in 65 pieces, which 2 parts cannot share evenly; choose microbatches and replicas whose product divides 65}}
    %0:3 = stablehlo.while(%i = %zero, %rows = %x, %sum = %begin) : tensor<i32>, tensor<130xf32>, tensor<2xf32>
    cond {
      %count = stablehlo.constant dense<65> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %count : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %two = stablehlo.constant dense<2> : tensor<i32>
      %at = stablehlo.multiply %i, %two : tensor<i32>
      %piece = stablehlo.dynamic_slice %rows, %at, sizes = [2] : (tensor<130xf32>, tensor<i32>) -> tensor<2xf32>
      %more = stablehlo.add %sum, %piece : tensor<2xf32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %next, %rows, %more : tensor<i32>, tensor<130xf32>, tensor<2xf32>
    }
    return %0#2 : tensor<2xf32>
  }
}

// -----

// A loop over so many pieces of the batch that it is not written out, in which one piece depends on the one before.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<132xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %begin = stablehlo.constant dense<0.0> : tensor<2xf32>
    // expected-error @below {{while takes a piece of the batch in each iteration, and hands on from one to the next what is no sum of theirs; add up what comes of the pieces, or stack it, and use it after the loop}}
    %0:3 = stablehlo.while(%i = %zero, %rows = %x, %sum = %begin) : tensor<i32>, tensor<132xf32>, tensor<2xf32>
    cond {
      %count = stablehlo.constant dense<66> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %count : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %two = stablehlo.constant dense<2> : tensor<i32>
      %at = stablehlo.multiply %i, %two : tensor<i32>
      %piece = stablehlo.dynamic_slice %rows, %at, sizes = [2] : (tensor<132xf32>, tensor<i32>) -> tensor<2xf32>
      %more = stablehlo.multiply %sum, %piece : tensor<2xf32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %next, %rows, %more : tensor<i32>, tensor<132xf32>, tensor<2xf32>
    }
    return %0#2 : tensor<2xf32>
  }
}

// -----

// A loop over as many that takes the whole batch too.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<132xf32> {atoll.path = "x", atoll.batch}) -> (tensor<2xf32> {atoll.path = "y"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %begin = stablehlo.constant dense<0.0> : tensor<2xf32>
    // expected-error @below {{while takes a piece of the batch in each iteration, and another array of the batch whole}}
    %0:3 = stablehlo.while(%i = %zero, %rows = %x, %sum = %begin) : tensor<i32>, tensor<132xf32>, tensor<2xf32>
    cond {
      %count = stablehlo.constant dense<66> : tensor<i32>
      %goes_on = stablehlo.compare LT, %i, %count : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %goes_on : tensor<i1>
    } do {
      %two = stablehlo.constant dense<2> : tensor<i32>
      %at = stablehlo.multiply %i, %two : tensor<i32>
      %piece = stablehlo.dynamic_slice %rows, %at, sizes = [2] : (tensor<132xf32>, tensor<i32>) -> tensor<2xf32>
      %half = stablehlo.slice %x [0:2] : (tensor<132xf32>) -> tensor<2xf32>
      %product = stablehlo.multiply %piece, %half : tensor<2xf32>
      %more = stablehlo.add %sum, %product : tensor<2xf32>
      %one = stablehlo.constant dense<1> : tensor<i32>
      %next = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %next, %rows, %more : tensor<i32>, tensor<132xf32>, tensor<2xf32>
    }
    return %0#2 : tensor<2xf32>
  }
}

// -----

// A sort of places: what it sorts is known, but for the numbers of another microbatch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4xi32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %same, %back = "stablehlo.sort"(%order, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    // expected-error @below {{needs numbers that a sort has sorted, other ones in each microbatch; put the rows back}}
    %0 = stablehlo.add %same, %same : tensor<4xi32>
    return %0 : tensor<4xi32>
  }
}

// -----

// Rows that are never put back.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %where = stablehlo.reshape %order : (tensor<4xi32>) -> tensor<4x1xi32>
    // expected-error @below {{gives rows in the order of a sort out of the function or loop; put the rows back}}
    %0 = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}>
        : (tensor<4x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// Neighbours in the order of a sort are others in each microbatch.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %where = stablehlo.reshape %order : (tensor<4xi32>) -> tensor<4x1xi32>
    %rows = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}>
        : (tensor<4x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>
    // expected-error @below {{does more to rows in the order of a sort than to each of them the same; put the rows back}}
    %0 = stablehlo.reverse %rows, dims = [0] : tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// An example and whichever row has come to its place.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %where = stablehlo.reshape %order : (tensor<4xi32>) -> tensor<4x1xi32>
    %rows = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}>
        : (tensor<4x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>
    // expected-error @below {{takes rows in the order of a sort beside examples in their own order; put the rows back}}
    %0 = stablehlo.add %rows, %x : tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// Rows of two sorts.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4xi32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %other = stablehlo.negate %key : tensor<4xi32>
    %sorted_1, %order_1 = "stablehlo.sort"(%other, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    // expected-error @below {{takes rows in different orders; put the rows back}}
    %0 = stablehlo.add %sorted, %sorted_1 : tensor<4xi32>
    return %0 : tensor<4xi32>
  }
}

// -----

// Places are numbers of a microbatch's own.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4xi32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    // expected-error @below {{takes the places of rows for numbers like any others; put the rows back}}
    %0 = stablehlo.popcnt %order : tensor<4xi32>
    return %0 : tensor<4xi32>
  }
}

// -----

// Places that are looked up in part.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4x2xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %where = stablehlo.reshape %order : (tensor<4xi32>) -> tensor<4x1xi32>
    // expected-error @below {{uses the places of a sort for more than for rows; put the rows back}}
    %0 = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 2>}>
        : (tensor<4x3xf32>, tensor<4x1xi32>) -> tensor<4x2xf32>
    return %0 : tensor<4x2xf32>
  }
}

// -----

// The row after each.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %ones = stablehlo.constant dense<1> : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %next = stablehlo.add %order, %ones : tensor<4xi32>
    %where = stablehlo.reshape %next : (tensor<4xi32>) -> tensor<4x1xi32>
    // expected-error @below {{looks up other rows than those that a sort has put in order; put the rows back}}
    %0 = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}>
        : (tensor<4x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// Two examples for each of two rows, by the way back.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %twos = stablehlo.constant dense<2> : tensor<4xi32>
    %table = stablehlo.constant dense<1.0> : tensor<2x3xf32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %same, %back = "stablehlo.sort"(%order, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %half = stablehlo.divide %back, %twos : tensor<4xi32>
    %where = stablehlo.reshape %half : (tensor<4xi32>) -> tensor<4x1xi32>
    // expected-error @below {{looks up other rows than those that a sort has put in order; put the rows back}}
    %0 = "stablehlo.gather"(%table, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}>
        : (tensor<2x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// Rows that are put in order twice.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4x3xf32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    %where = stablehlo.reshape %order : (tensor<4xi32>) -> tensor<4x1xi32>
    %rows = "stablehlo.gather"(%x, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}>
        : (tensor<4x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>
    // expected-error @below {{moves rows by another order than that which they are in; put the rows back}}
    %0 = "stablehlo.gather"(%rows, %where) <{dimension_numbers = #stablehlo.gather<offset_dims = [1],
        collapsed_slice_dims = [0], start_index_map = [0], index_vector_dim = 1>, slice_sizes = array<i64: 1, 3>}>
        : (tensor<4x3xf32>, tensor<4x1xi32>) -> tensor<4x3xf32>
    return %0 : tensor<4x3xf32>
  }
}

// -----

// Rows that go to devices in the order of a sort.

module attributes {atoll.plan = "microbatches=2"} {
  sdy.mesh @mesh = <["devices"=2]>
  func.func @main(%x: tensor<4x3xf32> {atoll.path = "x", atoll.batch},
      %key: tensor<4xi32> {atoll.path = "k", atoll.batch}) -> (tensor<4xi32> {atoll.path = "y"}) {
    %numbers = stablehlo.iota dim = 0 : tensor<4xi32>
    %sorted, %order = "stablehlo.sort"(%key, %numbers) <{dimension = 0 : i64, is_stable = true}> ({
    ^bb0(%a: tensor<i32>, %b: tensor<i32>, %c: tensor<i32>, %d: tensor<i32>):
      %less = stablehlo.compare LT, %a, %b : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %less : tensor<i1>
    }) : (tensor<4xi32>, tensor<4xi32>) -> (tensor<4xi32>, tensor<4xi32>)
    // expected-error @below {{takes rows in the order of a sort, which is not that of the devices; put the rows back}}
    %0 = sdy.manual_computation(%sorted) in_shardings=[<@mesh, [{"devices"}]>] out_shardings=[<@mesh,
        [{"devices"}]>] manual_axes={"devices"} (%local: tensor<2xi32>) {
      %1 = stablehlo.negate %local : tensor<2xi32>
      sdy.return %1 : tensor<2xi32>
    } : (tensor<4xi32>) -> tensor<4xi32>
    return %0 : tensor<4xi32>
  }
}

// -----

// Steps of an optimizer for pieces of the examples, which are put in another order before. The pieces are small.

module attributes {atoll.plan = "microbatches=4"} {
  func.func @main(%w: tensor<2x2xf32> {atoll.path = "w"}, %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<2x2xf32> {atoll.path = "w"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %two = stablehlo.constant dense<2> : tensor<i32>
    %turned = stablehlo.reverse %x, dims = [0] : tensor<4x2xf32>
    %pieces = stablehlo.reshape %turned : (tensor<4x2xf32>) -> tensor<2x2x2xf32>
    // expected-error @below {{mixes; choose microbatches and replicas whose product divides the 2 examples of a piece, or mix them outside of the function, and call it for each piece}}
    %0:3 = stablehlo.while(%i = %zero, %v = %w, %p = %pieces) : tensor<i32>, tensor<2x2xf32>, tensor<2x2x2xf32>
    cond {
      %1 = stablehlo.compare LT, %i, %two : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %1 : tensor<i1>
    } do {
      %1 = stablehlo.dynamic_slice %p, %i, %zero, %zero, sizes = [1, 2, 2]
          : (tensor<2x2x2xf32>, tensor<i32>, tensor<i32>, tensor<i32>) -> tensor<1x2x2xf32>
      %2 = stablehlo.reshape %1 : (tensor<1x2x2xf32>) -> tensor<2x2xf32>
      %3 = stablehlo.dot_general %v, %2, contracting_dims = [1] x [0]
          : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x2xf32>
      %4 = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %4, %3, %p : tensor<i32>, tensor<2x2xf32>, tensor<2x2x2xf32>
    }
    return %0#1 : tensor<2x2xf32>
  }
}

// -----

// A loop over pieces of the examples that leaves a rest.

module attributes {atoll.plan = "microbatches=2"} {
  func.func @main(%w: tensor<2x2xf32> {atoll.path = "w"}, %x: tensor<4x2xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<3x2xf32> {atoll.path = "result"}) {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %three = stablehlo.constant dense<3> : tensor<i32>
    %none = stablehlo.constant dense<0.0> : tensor<3x2xf32>
    %first = stablehlo.slice %x [0:3, 0:2] : (tensor<4x2xf32>) -> tensor<3x2xf32>
    // expected-error @below {{mixes; take pieces of one size, a multiple of 2 examples, or mix them outside of the function}}
    %0:3 = stablehlo.while(%i = %zero, %sum = %none, %p = %first) : tensor<i32>, tensor<3x2xf32>, tensor<3x2xf32>
    cond {
      %1 = stablehlo.compare LT, %i, %three : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %1 : tensor<i1>
    } do {
      %1 = stablehlo.dynamic_slice %p, %i, %zero, sizes = [1, 2]
          : (tensor<3x2xf32>, tensor<i32>, tensor<i32>) -> tensor<1x2xf32>
      %2 = stablehlo.dot_general %1, %w, contracting_dims = [1] x [0]
          : (tensor<1x2xf32>, tensor<2x2xf32>) -> tensor<1x2xf32>
      %3 = stablehlo.dynamic_update_slice %sum, %2, %i, %zero
          : (tensor<3x2xf32>, tensor<1x2xf32>, tensor<i32>, tensor<i32>) -> tensor<3x2xf32>
      %4 = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %4, %3, %p : tensor<i32>, tensor<3x2xf32>, tensor<3x2xf32>
    }
    return %0#1 : tensor<3x2xf32>
  }
}
