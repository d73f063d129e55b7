// RUN: atoll-opt %s --passes "resolve-plan" --split-input-file | filecheck %s

// Two stages have work for more than one microbatch: as many as make the step as short as any, to five percent.

// CHECK:      atoll.filled = {microbatches = 16 : i64, replicas = 1 : i64, segments = 1 : i64, stages = 2 : i64}
// CHECK-SAME: kind = "planned-division", microbatches = 16 : i64, replicas = 1 : i64
// CHECK-SAME: atoll.plan = "stages=2, microbatches=16, schedule=auto, replicas=1, segments=1"
module attributes {atoll.phase = "stablehlo", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%a: tensor<512x512xf32> {atoll.path = "a"}, %b: tensor<512x512xf32> {atoll.path = "b"},
                  %x: tensor<4096x512xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4096x512xf32> {atoll.path = "y"}) {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0]
        : (tensor<4096x512xf32>, tensor<512x512xf32>) -> tensor<4096x512xf32>
    %1 = stablehlo.dot_general %0, %b, contracting_dims = [1] x [0]
        : (tensor<4096x512xf32>, tensor<512x512xf32>) -> tensor<4096x512xf32>
    return %1 : tensor<4096x512xf32>
  }
}

// -----

// Where it stays whole, it is noted why.

// CHECK:      atoll.filled = {microbatches = 1 : i64
// CHECK-SAME: kind = "one-microbatch", why = "the batch of 4093 is not to be divided"
module attributes {atoll.phase = "stablehlo", atoll.topology = "2 x cpu[1]"} {
  func.func @main(%a: tensor<512x512xf32> {atoll.path = "a"}, %x: tensor<4093x512xf32> {atoll.path = "x", atoll.batch})
      -> (tensor<4093x512xf32> {atoll.path = "y"}) {
    %0 = stablehlo.dot_general %x, %a, contracting_dims = [1] x [0]
        : (tensor<4093x512xf32>, tensor<512x512xf32>) -> tensor<4093x512xf32>
    return %0 : tensor<4093x512xf32>
  }
}
