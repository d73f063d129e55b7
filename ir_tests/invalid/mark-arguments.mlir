// RUN: atoll-opt %s --passes "mark-arguments{batch=[x]}" --verify-diagnostics --split-input-file

// What other programs write and no island can run, and names of no argument.

// expected-error @below {{the module has no @main, and 2 functions that could be it: @step, @loss; name the one to run @main, and make the others private}}
module {
  func.func @step() {
    return
  }
  func.func @loss() {
    return
  }
}

// -----

// expected-error @below {{argument 0 of @main has no fixed shape: tensor<?x4xf32>; export the function for shapes of numbers}}
func.func @main(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  return %x : tensor<?x4xf32>
}

// -----

// expected-error @below {{argument 0 of @main is divided as GSPMD says it, by mhlo.sharding; let jax use Shardy}}
func.func @main(%x: tensor<4xf32> {mhlo.sharding = "{devices=[2]<=[2]}"}) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{the module has a mesh @data, and islands take the axes of one mesh, @mesh; call it @mesh if it is the only one}}
sdy.mesh @data = <["data"=2]>
func.func @main(%x: tensor<4xf32> {sdy.sharding = #sdy.sharding<@data, [{"data"}]>}) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

// expected-error @below {{no argument is called 'x'; known are arg0, y}}
func.func @main(%a: tensor<4xf32>, %b: tensor<4xf32> loc("y")) -> tensor<4xf32> {
  return %a : tensor<4xf32>
}

// -----

// expected-error @below {{argument 0 of @main is _platform_index, which jax computes when it calls the module; export the function for one platform}}
func.func @main(%p: tensor<i32> {jax.global_constant = "_platform_index"}, %x: tensor<4xf32>) -> tensor<4xf32> {
  return %x : tensor<4xf32>
}

// -----

func.func @main(%x: tensor<4xf32>, %n: tensor<1xi32>) -> tensor<?xf32> {
  // expected-error @below {{the result of stablehlo.dynamic_reshape has no fixed shape: tensor<?xf32>; export}}
  %0 = stablehlo.dynamic_reshape %x, %n : (tensor<4xf32>, tensor<1xi32>) -> tensor<?xf32>
  return %0 : tensor<?xf32>
}
