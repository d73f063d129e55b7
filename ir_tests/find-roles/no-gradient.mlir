// RUN: atoll-opt %s --passes "find-roles" --split-input-file --debug-info | filecheck %s

// A recurrent model: its new state is made of the old one, but no product takes a factor of another once more.

// CHECK-NOT: jvp
func.func @main(%h: tensor<8x4xf32>, %w: tensor<4x4xf32>, %v: tensor<4x4xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.dot_general %h, %w, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %1 = stablehlo.tanh %0 : tensor<8x4xf32>
  %2 = stablehlo.dot_general %1, %v, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32>
  %new = stablehlo.add %h, %2 : tensor<8x4xf32>
  return %new : tensor<8x4xf32>
}

// -----

// A model that uses a matrix and then its transpose makes what looks like a gradient of the batch, which has none.
func.func @main(%x: tensor<8x4xf32> {atoll.batch}, %w: tensor<4x2xf32>) -> tensor<8x4xf32> {
  %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x2xf32>) -> tensor<8x2xf32>
  %1 = stablehlo.tanh %0 : tensor<8x2xf32>
  %2 = stablehlo.dot_general %1, %w, contracting_dims = [1] x [1]
      : (tensor<8x2xf32>, tensor<4x2xf32>) -> tensor<8x4xf32>
  return %2 : tensor<8x4xf32>
}

// -----

// Here too, and no result has the type of an argument.
func.func @main(%x: tensor<8x4xf32>, %w: tensor<4x2xf32>) -> tensor<4x8xf32> {
  %0 = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x2xf32>) -> tensor<8x2xf32>
  %1 = stablehlo.dot_general %0, %w, contracting_dims = [1] x [1]
      : (tensor<8x2xf32>, tensor<4x2xf32>) -> tensor<8x4xf32>
  %2 = stablehlo.transpose %1, dims = [1, 0] : (tensor<8x4xf32>) -> tensor<4x8xf32>
  return %2 : tensor<4x8xf32>
}

// -----

// Where jax wrote name stacks, they tell: here that nothing is differentiated.
func.func @main(%w: tensor<4x4xf32>, %x: tensor<8x4xf32>) -> tensor<4x4xf32> {
  %y = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0]
      : (tensor<8x4xf32>, tensor<4x4xf32>) -> tensor<8x4xf32> loc("jit(f)/dot_general")
  %d = stablehlo.dot_general %x, %y, contracting_dims = [0] x [0]
      : (tensor<8x4xf32>, tensor<8x4xf32>) -> tensor<4x4xf32> loc("jit(f)/dot_general")
  %new = stablehlo.subtract %w, %d : tensor<4x4xf32> loc("jit(f)/sub")
  return %new : tensor<4x4xf32>
}
