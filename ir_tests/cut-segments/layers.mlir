// RUN: atoll-opt %s --passes "cut-segments" | filecheck %s

// A loop that is on two stages is cut again within each of them, and one that is on one stage is cut as well.

// CHECK: atoll.stages = 4 : i32
// CHECK: while{{.*}} attributes {atoll.layers = array<i64: 0, 1, 2, 2>}
// CHECK: while{{.*}} attributes {atoll.layers = array<i64: 2, 2, 3, 3, 3, 3>}
module attributes {atoll.plan = "stages=2, segments=2", atoll.stages = 2 : i32,
    atoll.topology = "island a : cpu[1]\nisland b : cpu[1]"} {
  func.func @main(%x: tensor<8xf32>, %w: tensor<4x8xf32>, %v: tensor<6x8xf32>) -> tensor<8xf32> {
    %zero = stablehlo.constant dense<0> : tensor<i32>
    %0:3 = stablehlo.while(%i = %zero, %h = %x, %a = %w) : tensor<i32>, tensor<8xf32>, tensor<4x8xf32>
        attributes {atoll.layers = array<i64: 0, 0, 1, 1>}
    cond {
      %n = stablehlo.constant dense<4> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %first = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %i, %first, sizes = [1, 8] : (tensor<4x8xf32>, tensor<i32>, tensor<i32>)
          -> tensor<1x8xf32>
      %flat = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
      %next = stablehlo.multiply %h, %flat : tensor<8xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %j, %next, %a : tensor<i32>, tensor<8xf32>, tensor<4x8xf32>
    }
    %1:3 = stablehlo.while(%i = %zero, %h = %0#1, %a = %v) : tensor<i32>, tensor<8xf32>, tensor<6x8xf32>
        attributes {atoll.stage = 1 : i32}
    cond {
      %n = stablehlo.constant dense<6> : tensor<i32>
      %more = stablehlo.compare LT, %i, %n, SIGNED : (tensor<i32>, tensor<i32>) -> tensor<i1>
      stablehlo.return %more : tensor<i1>
    } do {
      %one = stablehlo.constant dense<1> : tensor<i32>
      %first = stablehlo.constant dense<0> : tensor<i32>
      %row = stablehlo.dynamic_slice %a, %i, %first, sizes = [1, 8] : (tensor<6x8xf32>, tensor<i32>, tensor<i32>)
          -> tensor<1x8xf32>
      %flat = stablehlo.reshape %row : (tensor<1x8xf32>) -> tensor<8xf32>
      %next = stablehlo.add %h, %flat : tensor<8xf32>
      %j = stablehlo.add %i, %one : tensor<i32>
      stablehlo.return %j, %next, %a : tensor<i32>, tensor<8xf32>, tensor<6x8xf32>
    }
    return %1#1 : tensor<8xf32>
  }
}
