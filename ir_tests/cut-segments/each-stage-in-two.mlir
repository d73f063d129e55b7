// RUN: atoll-opt %s --passes "cut-segments" | filecheck %s

// Each stage becomes two, where little crosses. What is not forward keeps the stage of the plan.

// CHECK:      atoll.stages = 4 : i32
// CHECK:      sine %arg0 {atoll.stage = 0 : i32}
// CHECK-NEXT: cosine %0 {atoll.stage = 1 : i32}
// CHECK-NEXT: tan %1 {atoll.stage = 2 : i32}
// CHECK-NEXT: sine %2 {atoll.stage = 3 : i32}
// CHECK-NEXT: negate %3 {atoll.planned_stage = 1 : i32}
// CHECK-NEXT: add %arg0, %4 :
module attributes {atoll.plan = "stages=2, segments=2", atoll.stages = 2 : i32,
    atoll.topology = "island a : cpu[1]\nisland b : cpu[1]"} {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %0 = stablehlo.sine %x {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(step)/jvp()/sin")
    %1 = stablehlo.cosine %0 {atoll.stage = 0 : i32} : tensor<4xf32> loc("jit(step)/jvp()/cos")
    %2 = stablehlo.tan %1 {atoll.stage = 1 : i32} : tensor<4xf32> loc("jit(step)/jvp()/tan")
    %3 = stablehlo.sine %2 {atoll.stage = 1 : i32} : tensor<4xf32> loc("jit(step)/jvp()/sin")
    %4 = stablehlo.negate %3 {atoll.stage = 1 : i32} : tensor<4xf32> loc("jit(step)/transpose(jvp())/neg")
    %5 = stablehlo.add %x, %4 : tensor<4xf32> loc("jit(step)/add")
    return %5 : tensor<4xf32>
  }
}
