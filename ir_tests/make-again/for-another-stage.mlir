// RUN: atoll-opt %s --passes "make-again" | filecheck %s

// Another stage takes the quotient, which is there anyway, so that nobody makes it again; although the other stage has
// what it is made of.

// CHECK:     divide
// CHECK-NOT: divide
module attributes {atoll.stages = 2 : i32} {
  func.func @main(%x: tensor<4xf32>) -> (tensor<4xf32>, tensor<4xf32>) {
    %a = stablehlo.sine %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %q = stablehlo.divide %a, %x {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %y = stablehlo.tanh %q {atoll.stage = 0 : i32, atoll.sweep = 0 : i32} : tensor<4xf32>
    %0 = stablehlo.multiply %q, %a {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %1 = stablehlo.add %0, %x {atoll.stage = 1 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %2 = stablehlo.add %q, %a {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    %3 = stablehlo.subtract %2, %x {atoll.stage = 0 : i32, atoll.sweep = 1 : i32} : tensor<4xf32>
    return %1, %3 : tensor<4xf32>, tensor<4xf32>
  }
}
