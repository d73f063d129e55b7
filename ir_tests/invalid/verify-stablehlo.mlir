// RUN: atoll-opt %s --passes "verify-stablehlo" --verify-diagnostics --split-input-file

// What no later phase could do anything with, and marks of arguments that contradict each other.

func.func @main() {
  return
}

// expected-error @below {{@relu is left beside @main; run inline-calls and symbol-dce}}
func.func private @relu() {
  return
}

// -----

func.func @main(%x: tensor<f32> {atoll.path = "x"}) -> (tensor<f32> {atoll.path = "result"}) {
  // expected-error @below {{a call is left in @main; run inline-calls}}
  %y = call @main(%x) : (tensor<f32>) -> tensor<f32>
  return %y : tensor<f32>
}

// -----

// expected-error @below {{argument 1 of @main is never used; run drop-dead-arguments}}
func.func @main(%x: tensor<f32> {atoll.path = "x"}, %y: tensor<f32> {atoll.path = "y"})
    -> (tensor<f32> {atoll.path = "result"}) {
  return %x : tensor<f32>
}

// -----

// expected-error @below {{argument 1 of @main has no atoll.path; add {atoll.path = "..."}}}
func.func @main(%x: tensor<f32> {atoll.path = "x"}, %y: tensor<f32>)
    -> (tensor<f32> {atoll.path = "result[0]"}, tensor<f32> {atoll.path = "result[1]"}) {
  return %x, %y : tensor<f32>, tensor<f32>
}

// -----

// expected-error @below {{result 0 of @main has no atoll.path}}
func.func @main(%x: tensor<f32> {atoll.path = "x"}) -> tensor<f32> {
  return %x : tensor<f32>
}

// -----

// A path that is no text is no path.

// expected-error @below {{argument 0 of @main has no atoll.path}}
func.func @main(%x: tensor<f32> {atoll.path = 1}) -> (tensor<f32> {atoll.path = "result"}) {
  return %x : tensor<f32>
}

// -----

// expected-error @below {{arguments 0 and 1 of @main are both x; give each its own atoll.path}}
func.func @main(%x: tensor<f32> {atoll.path = "x"}, %y: tensor<f32> {atoll.path = "x"})
    -> (tensor<f32> {atoll.path = "result"}) {
  %sum = stablehlo.add %x, %y : tensor<f32>
  return %sum : tensor<f32>
}

// -----

// expected-error @below {{results 0 and 1 of @main are both result}}
func.func @main(%x: tensor<f32> {atoll.path = "x"})
    -> (tensor<f32> {atoll.path = "result"}, tensor<f32> {atoll.path = "result"}) {
  return %x, %x : tensor<f32>, tensor<f32>
}

// -----

// expected-error @below {{x carries the batch but has no axis 0; leave it out of the batch}}
func.func @main(%x: tensor<f32> {atoll.path = "x", atoll.batch}) -> (tensor<f32> {atoll.path = "result"}) {
  return %x : tensor<f32>
}

// -----

func.func @main(
    %x: tensor<8xf32> {atoll.path = "x", atoll.batch},
    %w: tensor<3xf32> {atoll.path = "w"},
    // expected-error @below {{the batch has 8 examples in x and 4 in y; let only arguments carry it that have the batch, each along its axis}}
    %y: tensor<4xf32> {atoll.path = "y", atoll.batch})
    -> (tensor<8xf32> {atoll.path = "result[0]"}, tensor<3xf32> {atoll.path = "result[1]"},
    tensor<4xf32> {atoll.path = "result[2]"}) {
  return %x, %w, %y : tensor<8xf32>, tensor<3xf32>, tensor<4xf32>
}

// -----

// expected-error @below {{x carries a batch of unknown size; compile for a fixed shape}}
func.func @main(%x: tensor<?xf32> {atoll.batch, atoll.path = "x"}) -> (tensor<?xf32> {atoll.path = "result"}) {
  return %x : tensor<?xf32>
}

// -----

func.func @main() {
  return
}

// expected-error @below {{builtin.module stands beside @main; leave only @main, and meshes, in the module}}
module @inner {
}

// -----

func.func @main() -> (tensor<4xf32> {atoll.path = "result"}) {
  %token = stablehlo.create_token : !stablehlo.token
  // expected-error @below {{stablehlo.infeed makes a !stablehlo.token, which no island can send to another; take it out; what calls Python need not be ordered}}
  %0:2 = "stablehlo.infeed"(%token) {infeed_config = ""} : (!stablehlo.token) -> (tensor<4xf32>, !stablehlo.token)
  return %0#0 : tensor<4xf32>
}

// -----

// The same wherever it stands: in the body of a loop, in its condition, in a branch.

func.func @main(%x: tensor<4xf32> {atoll.path = "x"}) -> (tensor<i32> {atoll.path = "result"}) {
  %zero = stablehlo.constant dense<0> : tensor<i32>
  %0:2 = stablehlo.while(%i = %zero, %y = %x) : tensor<i32>, tensor<4xf32>
  cond {
    %n = stablehlo.constant dense<4> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    %token = stablehlo.create_token : !stablehlo.token
    // expected-error @below {{stablehlo.outfeed makes a !stablehlo.token, which no island can send to another; take it out}}
    %told = "stablehlo.outfeed"(%y, %token) {outfeed_config = ""} : (tensor<4xf32>, !stablehlo.token)
        -> !stablehlo.token
    stablehlo.return %j, %y : tensor<i32>, tensor<4xf32>
  }
  return %0#0 : tensor<i32>
}

// -----

func.func @main(%x: tensor<i32> {atoll.path = "x"}) -> (tensor<i32> {atoll.path = "result"}) {
  %0 = stablehlo.while(%i = %x) : tensor<i32>
  cond {
    %token = stablehlo.create_token : !stablehlo.token
    // expected-error @below {{stablehlo.recv makes a !stablehlo.token}}
    %n:2 = "stablehlo.recv"(%token) {channel_handle = #stablehlo.channel_handle<handle = 1, type = 3>,
        is_host_transfer = true} : (!stablehlo.token) -> (tensor<i32>, !stablehlo.token)
    %more = stablehlo.compare LT, %i, %n#0, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    %one = stablehlo.constant dense<1> : tensor<i32>
    %j = stablehlo.add %i, %one : tensor<i32>
    stablehlo.return %j : tensor<i32>
  }
  return %0 : tensor<i32>
}

// -----

func.func @main(%i: tensor<i32> {atoll.path = "i"}, %x: tensor<4xf32> {atoll.path = "x"})
    -> (tensor<4xf32> {atoll.path = "result"}) {
  %token = stablehlo.create_token : !stablehlo.token
  %0 = "stablehlo.case"(%i) ({
    stablehlo.return %x : tensor<4xf32>
  }, {
    // expected-error @below {{stablehlo.send makes a !stablehlo.token}}
    %told = "stablehlo.send"(%x, %token) {channel_handle = #stablehlo.channel_handle<handle = 1, type = 2>,
        is_host_transfer = true} : (tensor<4xf32>, !stablehlo.token) -> !stablehlo.token
    stablehlo.return %x : tensor<4xf32>
  }) : (tensor<i32>) -> tensor<4xf32>
  return %0 : tensor<4xf32>
}

// -----

// The user did not write the loop that hands on a token, but the ordered call in it.

func.func @main(%x: tensor<i32> {atoll.path = "x"}) -> (tensor<i32> {atoll.path = "result"}) {
  %token = stablehlo.create_token : !stablehlo.token
  %0:2 = stablehlo.while(%i = %x, %t = %token) : tensor<i32>, !stablehlo.token
  cond {
    %n = stablehlo.constant dense<4> : tensor<i32>
    %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
    stablehlo.return %more : tensor<i1>
  } do {
    // expected-error @below {{stablehlo.custom_call makes a !stablehlo.token, which no island can send to another; take it out; what calls Python need not be ordered}}
    %1:2 = stablehlo.custom_call @xla_ffi_python_cpu_callback(%t, %i) {has_side_effect = true}
        : (!stablehlo.token, tensor<i32>) -> (!stablehlo.token, tensor<i32>)
    stablehlo.return %1#1, %1#0 : tensor<i32>, !stablehlo.token
  }
  return %0#0 : tensor<i32>
}

// -----

func.func @main(%x: tensor<4xf32> {atoll.path = "x"}) -> (tensor<4xf32> {atoll.path = "result"}) {
  // expected-error @below {{stablehlo.after_all makes a !stablehlo.token}}
  %token = "stablehlo.after_all"() : () -> !stablehlo.token
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{argument 0 of @main is a !stablehlo.token, which no island can hold; leave only arrays in @main}}
func.func @main(%t: !stablehlo.token {atoll.path = "t"}, %x: tensor<4xf32> {atoll.path = "x"})
    -> (!stablehlo.token {atoll.path = "result[0]"}, tensor<4xf32> {atoll.path = "result[1]"}) {
  return %t, %x : !stablehlo.token, tensor<4xf32>
}

// -----

func.func @main(%x: tensor<4xf32> {atoll.path = "x"}) -> (tensor<4xf32> {atoll.path = "result"}) {
  // expected-error @below {{stablehlo.tuple makes a tuple<tensor<4xf32>>, which no island can send to another; leave only arrays in @main}}
  %0 = "stablehlo.tuple"(%x) : (tensor<4xf32>) -> tuple<tensor<4xf32>>
  %1 = "stablehlo.get_tuple_element"(%0) {index = 0 : i32} : (tuple<tensor<4xf32>>) -> tensor<4xf32>
  return %1 : tensor<4xf32>
}

// -----

// expected-error @below {{atoll.piece of argument 0 of @main is 1 : i32; write atoll.piece = array<i64: DIMENSION, START, WHOLE>}}
func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.piece = 1 : i32})
    -> (tensor<4xf32> {atoll.path = "x"}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{argument 0 of @main is a piece along dimension 1, and is tensor<4xf32>; name a dimension that it has}}
func.func @main(%x: tensor<4xf32> {atoll.path = "x", atoll.piece = array<i64: 1, 0, 4>})
    -> (tensor<4xf32> {atoll.path = "x"}) {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{argument 0 of @main is a piece along dimension 1, and has parts along 0; take atoll.parts or atoll.piece away}}
func.func @main(%x: tensor<4x4xf32> {atoll.path = "x", atoll.parts = 2 : i32, atoll.piece = array<i64: 1, 0, 8>})
    -> (tensor<4x4xf32> {atoll.path = "x"}) {
  return %x : tensor<4x4xf32>
}

// -----

// expected-error @below {{arguments 1, 0 of @main, pieces of x, are 0..4, 5..7 of 7 along dimension 0; let each begin where the one before ends, up to 7}}
func.func @main(
    %x: tensor<2xf32> {atoll.path = "x", atoll.piece = array<i64: 0, 5, 7>},
    %y: tensor<4xf32> {atoll.path = "x", atoll.piece = array<i64: 0, 0, 7>})
    -> (tensor<2xf32> {atoll.path = "x"}, tensor<4xf32> {atoll.path = "y"}) {
  return %x, %y : tensor<2xf32>, tensor<4xf32>
}

// -----

// expected-error @below {{arguments 0 and 1 of @main are both x; give each its own atoll.path}}
func.func @main(
    %x: tensor<2xf32> {atoll.path = "x", atoll.piece = array<i64: 0, 0, 4>},
    %y: tensor<2xf32> {atoll.path = "x"})
    -> (tensor<2xf32> {atoll.path = "x"}, tensor<2xf32> {atoll.path = "y"}) {
  return %x, %y : tensor<2xf32>, tensor<2xf32>
}

// -----

// A slip of the pen would be ignored in silence.
func.func @main(%x: tensor<2xf32> {atoll.path = "x"}) -> (tensor<2xf32> {atoll.path = "result"}) {
  // expected-error @below {{there is no mark atoll.stagse; did you mean 'atoll.stage'? known are atoll.topology,}}
  %0 = stablehlo.negate %x {atoll.stagse = 1 : i32} : tensor<2xf32>
  return %0 : tensor<2xf32>
}

// -----

// A plan that is no text would be no plan.
// expected-error @below {{atoll.plan is 3 : i32, which is no text; write atoll.plan = "..."}}
module attributes {atoll.plan = 3 : i32} {
  func.func @main() {
    return
  }
}

// -----

// Notes are a list.
// expected-error @below {{atoll.notes is 3 : i64, which is no list of notes; take it out, as notes only tell what passes did}}
module attributes {atoll.notes = 3} {
  func.func @main() {
    return
  }
}

// -----

// There is no such kind of notes.
// expected-error @below {{atoll.notes has {kind = "whole"}, which is no note; take it out, as notes only tell what passes did}}
module attributes {atoll.notes = [{kind = "whole"}]} {
  func.func @main() {
    return
  }
}

// -----

// A note of this kind says a path as well.
// expected-error @below {{atoll.notes has {kind = "needed-whole", user = "sort"}, which is no note}}
module attributes {atoll.notes = [{kind = "needed-whole", user = "sort"}]} {
  func.func @main() {
    return
  }
}

// -----

// No note has a type.
// expected-error @below {{which is no note}}
module attributes {atoll.notes = [{kind = "needed-whole", path = "w", user = f32}]} {
  func.func @main() {
    return
  }
}
