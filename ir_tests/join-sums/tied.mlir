// RUN: atoll-opt %s --passes "join-sums" | filecheck %s

// The two halves of a gradient, one of them turned, are added up by each replica and exchanged once. What is taken by
// something else as well, or meets what is no sum of a loop, is exchanged as ever.

// CHECK:      [[LOOP:%.*]]:5 = mpmd.for
// CHECK:      [[TURNED:%.*]] = stablehlo.transpose [[LOOP]]#1
// CHECK-NEXT: [[OWN:%.*]] = stablehlo.add [[LOOP]]#0, [[TURNED]]
// CHECK-NEXT: [[ALL:%.*]] = stablehlo.custom_call @atoll.exchange([[OWN]])
// CHECK-SAME:   {atoll.exchange = "add", atoll.stage = 0 : i32,
// CHECK-SAME:   sdy.sharding_rule = #sdy.op_sharding_rule<([i, j])->([i, j]) {i=3, j=2}, custom>}
// CHECK-NEXT: stablehlo.subtract %arg0, [[ALL]]
// CHECK-NOT:  atoll.exchange
module attributes {atoll.plan = "replicas=2", atoll.stages = 2 : i32,
                   atoll.topology = "4 x cpu[1]; link island0 <-> island2 : 1 MB/s, 1 us"} {
  func.func @main(%w: tensor<3x2xf32> {atoll.path = "w"}, %x: tensor<3x2xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>) {
    %zero = stablehlo.constant dense<0.0> : tensor<3x2xf32>
    %turned = stablehlo.constant dense<0.0> : tensor<2x3xf32>
    %0:5 = mpmd.for (%zero, %turned, %zero, %zero, %zero) {atoll.role = "FB", iterations = 2 : ui32}
        (%a: tensor<3x2xf32>, %b: tensor<2x3xf32>, %c: tensor<3x2xf32>, %d: tensor<3x2xf32>, %e: tensor<3x2xf32>,
         %i: tensor<ui32>) {
      %1 = stablehlo.add %a, %x {atoll.stage = 0 : i32} : tensor<3x2xf32>
      %2 = stablehlo.transpose %x, dims = [1, 0] {atoll.stage = 1 : i32} : (tensor<3x2xf32>) -> tensor<2x3xf32>
      %3 = stablehlo.add %b, %2 {atoll.stage = 1 : i32} : tensor<2x3xf32>
      %4 = stablehlo.add %c, %x {atoll.stage = 1 : i32} : tensor<3x2xf32>
      %5 = stablehlo.add %d, %x {atoll.stage = 0 : i32} : tensor<3x2xf32>
      %6 = stablehlo.maximum %e, %x {atoll.stage = 0 : i32} : tensor<3x2xf32>
      mpmd.return %1, %3, %4, %5, %6
          : tensor<3x2xf32>, tensor<2x3xf32>, tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>
    } : tensor<3x2xf32>, tensor<2x3xf32>, tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>
    %7 = stablehlo.transpose %0#1, dims = [1, 0] {atoll.stage = 0 : i32} : (tensor<2x3xf32>) -> tensor<3x2xf32>
    %8 = stablehlo.add %0#0, %7 {atoll.stage = 0 : i32} : tensor<3x2xf32>
    %9 = stablehlo.subtract %w, %8 {atoll.stage = 0 : i32} : tensor<3x2xf32>
    %10 = stablehlo.add %0#2, %0#3 {atoll.stage = 0 : i32} : tensor<3x2xf32>
    %11 = stablehlo.add %0#3, %w {atoll.stage = 0 : i32} : tensor<3x2xf32>
    %12 = stablehlo.add %11, %0#4 {atoll.stage = 0 : i32} : tensor<3x2xf32>
    return %9, %10, %11, %12 : tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>, tensor<3x2xf32>
  }
}
