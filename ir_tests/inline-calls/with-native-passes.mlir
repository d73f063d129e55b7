// RUN: atoll-opt %s --passes "inline-calls" | filecheck %s --check-prefix=ALONE
// RUN: atoll-opt %s --passes "inline-calls, symbol-dce, cse" | filecheck %s --check-prefix=CSE
// RUN: atoll-opt %s --passes "inline-calls, symbol-dce, func.func(cse)" | filecheck %s --check-prefix=CSE
// RUN: atoll-opt %s --passes "inline-calls, canonicalize{max-iterations=1 region-simplify=disabled}, symbol-dce" | filecheck %s --check-prefix=FOLDED

// Native passes, with options and nested in functions, stand in one pipeline with ours.

// ALONE-COUNT-3: stablehlo.negate
// CSE:           [[N:%.*]] = stablehlo.negate
// CSE-NEXT:      stablehlo.add [[N]], [[N]]
// CSE-NOT:       stablehlo.negate
// FOLDED-COUNT-2: stablehlo.negate
// FOLDED:        stablehlo.add
// FOLDED-NOT:    stablehlo.negate
func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
  %a = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %b = call @negated(%x) : (tensor<4xf32>) -> tensor<4xf32>
  %sum = stablehlo.add %a, %b : tensor<4xf32>
  return %sum : tensor<4xf32>
}

func.func private @negated(%x: tensor<4xf32>) -> tensor<4xf32> {
  %y = stablehlo.negate %x : tensor<4xf32>
  return %y : tensor<4xf32>
}
