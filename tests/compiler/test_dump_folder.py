"""`ATOLL_DUMP_DIR`: the IR of every compilation, pass by pass."""

import pytest
from atoll.compiler.errors import UsageError
from atoll.compiler.mlir.ir_text import parse_file, parse_text, print_module
from atoll.compiler.pipeline.dump_folder import DUMP_DIR, compile_dump
from atoll.compiler.pipeline.pass_manager import run_passes
from atoll.compiler.pipeline.registry import steps_of_text

MODULE = """
module @jit_step {
  func.func @main(%x: tensor<4xf32>) -> tensor<4xf32> {
    %y = stablehlo.negate %x : tensor<4xf32> loc("train.py":12:3)
    return %y : tensor<4xf32>
  }
}
"""


def compile_once():
    module = parse_text(MODULE)
    run_passes(module, steps_of_text("inline-calls, cse"), compile_dump(module))
    return module


def test_each_compilation_has_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv(DUMP_DIR, str(tmp_path / "dumps"))
    compile_once()
    module = compile_once()
    folders = sorted((tmp_path / "dumps").iterdir())
    assert [folder.name for folder in folders] == ["00-jit_step", "01-jit_step"]
    names = ["00-input.mlir", "01-inline-calls.mlir", "02-cse.mlir"]
    assert [sorted(file.name for file in folder.iterdir()) for folder in folders] == [names, names]
    last = parse_file(folders[1] / names[-1])
    assert print_module(last, debug_info=True) == print_module(module, debug_info=True)
    assert "train.py" in (folders[0] / names[0]).read_text()


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_is_written_unasked(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DUMP_DIR, raising=False)
    if value is not None:
        monkeypatch.setenv(DUMP_DIR, value)
    compile_once()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv(DUMP_DIR, str(tmp_path / "file"))
    with pytest.raises(UsageError, match=r"cannot write IR here: .*; name a folder that can be written"):
        compile_once()
