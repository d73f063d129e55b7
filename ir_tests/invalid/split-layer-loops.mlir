// RUN: atoll-opt %s --passes "split-layer-loops" --verify-diagnostics --split-input-file

// Loops whose layers cannot be given to stages as the plan or the module says.

func.func @main(%x: tensor<8xf32>, %n: tensor<i32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  // expected-error @below {{the loop cannot be split by layers: its length depends on data; remove atoll.layers}}
  %0:2 = stablehlo.while(%i = %zero, %h = %x) : tensor<i32>, tensor<8xf32> attributes {atoll.layers = array<i64: 0, 1>}
  cond {
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %h : tensor<i32>, tensor<8xf32>
  }
  return %0#1 : tensor<8xf32>
}

// -----

func.func @main(%x: tensor<8xf32>, %w: tensor<3xf32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  // expected-error @below {{the loop has 3 layers, and atoll.layers says the stages of 2; give the stage of each layer}}
  %0:3 = stablehlo.while(%i = %zero, %h = %x, %a = %w) : tensor<i32>, tensor<8xf32>, tensor<3xf32>
      attributes {atoll.layers = array<i64: 0, 1>}
  cond {
    %n = stablehlo.constant dense<3> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<3xf32>, tensor<i32>) -> tensor<1xf32>
    %r = stablehlo.reshape %row : (tensor<1xf32>) -> tensor<f32>
    %s = stablehlo.broadcast_in_dim %r, dims = [] : (tensor<f32>) -> tensor<8xf32>
    %t = stablehlo.add %h, %s : tensor<8xf32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %t, %a : tensor<i32>, tensor<8xf32>, tensor<3xf32>
  }
  return %0#1 : tensor<8xf32>
}

// -----

// Each iteration takes the row that the one before took too.

func.func @main(%x: tensor<8xf32>, %w: tensor<2xf32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  // expected-error @below {{cannot be split by layers: no array has a row for each of its iterations}}
  %0:3 = stablehlo.while(%i = %zero, %h = %x, %a = %w) : tensor<i32>, tensor<8xf32>, tensor<2xf32>
      attributes {atoll.layers = array<i64: 0, 1>}
  cond {
    %n = stablehlo.constant dense<2> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %row = stablehlo.dynamic_slice %a, %one, sizes = [1] : (tensor<2xf32>, tensor<i32>) -> tensor<1xf32>
    %r = stablehlo.reshape %row : (tensor<1xf32>) -> tensor<f32>
    %s = stablehlo.broadcast_in_dim %r, dims = [] : (tensor<f32>) -> tensor<8xf32>
    %t = stablehlo.add %h, %s : tensor<8xf32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %t, %a : tensor<i32>, tensor<8xf32>, tensor<2xf32>
  }
  return %0#1 : tensor<8xf32>
}

// -----

func.func @main(%x: tensor<8xf32>, %p: tensor<i32>) -> tensor<8xf32> {
  %0 = "stablehlo.case"(%p) ({
    %zero = stablehlo.constant dense<0> : tensor<i32>
    // expected-error @below {{a loop within another operation cannot be split by layers; remove atoll.layers}}
    %1:2 = stablehlo.while(%i = %zero, %h = %x) : tensor<i32>, tensor<8xf32>
        attributes {atoll.layers = array<i64: 0, 1>}
    cond {
      %n = stablehlo.constant dense<2> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %j, %h : tensor<i32>, tensor<8xf32>
    }
    "stablehlo.return"(%1#1) : (tensor<8xf32>) -> ()
  }) : (tensor<i32>) -> tensor<8xf32>
  return %0 : tensor<8xf32>
}

// -----

func.func @main(%x: tensor<8xf32>, %w: tensor<3xf32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  // expected-error @below {{atoll.layers is 2 : i32, which is no list of integers; write atoll.layers = array<i64: 0, 1>}}
  %0:3 = stablehlo.while(%i = %zero, %h = %x, %a = %w) : tensor<i32>, tensor<8xf32>, tensor<3xf32>
      attributes {atoll.layers = 2 : i32}
  cond {
    %n = stablehlo.constant dense<3> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %row = stablehlo.dynamic_slice %a, %i, sizes = [1] : (tensor<3xf32>, tensor<i32>) -> tensor<1xf32>
    %r = stablehlo.reshape %row : (tensor<1xf32>) -> tensor<f32>
    %s = stablehlo.broadcast_in_dim %r, dims = [] : (tensor<f32>) -> tensor<8xf32>
    %t = stablehlo.add %h, %s : tensor<8xf32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %t, %a : tensor<i32>, tensor<8xf32>, tensor<3xf32>
  }
  return %0#1 : tensor<8xf32>
}

// -----

// Each part of the loop ends by asking once more.

func.func @main(%x: tensor<8xf32>, %w: tensor<3x8xf32>) -> tensor<8xf32> {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  // expected-error @below {{the loop cannot be split by layers: its condition has an effect, which would happen once more for each part of the loop; remove atoll.layers}}
  %0:3 = stablehlo.while(%i = %zero, %h = %x, %a = %w) : tensor<i32>, tensor<8xf32>, tensor<3x8xf32>
      attributes {atoll.layers = array<i64: 0, 0, 1>}
  cond {
    %n = stablehlo.constant dense<3> : tensor<i32>
    stablehlo.custom_call @tell(%i) {has_side_effect = true} : (tensor<i32>) -> ()
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %c = stablehlo.constant dense<0> : tensor<i32>
    %row = stablehlo.dynamic_slice %a, %i, %c, sizes = [1, 8] : (tensor<3x8xf32>, tensor<i32>, tensor<i32>)
        -> tensor<1x8xf32>
    %r = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
    %next = stablehlo.add %h, %r : tensor<8xf32>
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j, %next, %a : tensor<i32>, tensor<8xf32>, tensor<3x8xf32>
  }
  return %0#1 : tensor<8xf32>
}
