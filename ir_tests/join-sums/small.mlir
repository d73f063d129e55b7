// RUN: atoll-opt %s --passes "join-sums" | filecheck %s

// Over a link with the usual latency such sums are packed with others, and joined they would cross by themselves.

// CHECK-NOT: atoll.exchange
module attributes {atoll.plan = "replicas=2", atoll.stages = 1 : i32, atoll.topology = "2 x cpu[1]"} {
  func.func @main(%x: tensor<3xf32> {atoll.path = "x", atoll.batch}) -> tensor<3xf32> {
    %zero = stablehlo.constant dense<0.0> : tensor<3xf32>
    %0:2 = mpmd.for (%zero, %zero) {atoll.role = "F", iterations = 2 : ui32}
        (%a: tensor<3xf32>, %b: tensor<3xf32>, %i: tensor<ui32>) {
      %1 = stablehlo.add %a, %x {atoll.stage = 0 : i32} : tensor<3xf32>
      %2 = stablehlo.add %b, %x {atoll.stage = 0 : i32} : tensor<3xf32>
      mpmd.return %1, %2 : tensor<3xf32>, tensor<3xf32>
    } : tensor<3xf32>, tensor<3xf32>
    %3 = stablehlo.add %0#0, %0#1 {atoll.stage = 0 : i32} : tensor<3xf32>
    return %3 : tensor<3xf32>
  }
}
