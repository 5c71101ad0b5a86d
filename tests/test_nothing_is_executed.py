"""Nothing in a file is executed: no module of the project calls what could, whatever room it is in."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def refused_by_the_house(node: ast.AST) -> str:
    """What is wrong with a piece of a program that could execute what a file says; nothing where nothing is."""
    programs = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "yaml", "code"}
    if isinstance(node, ast.Import | ast.ImportFrom):
        module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        names = {module + alias.name for alias in node.names}
        if any(name.split(".")[0] in programs or name.startswith(("torch.hub", "torch.jit")) for name in names):
            return f"imports {sorted(names)}"
    if not isinstance(node, ast.Call):
        return ""
    called, keywords = ast.unparse(node.func), {k.arg: ast.unparse(k.value) for k in node.keywords}
    if called in ("eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path"):
        return called
    if called.startswith("torch.hub.") or called in ("torch.jit.load", "torch.package.PackageImporter"):
        return called
    if called in ("torch.load", "torch.serialization.load") and keywords.get("weights_only") != "True":
        return f"{called} without weights_only=True"
    if called.split(".")[-1] in ("add_safe_globals", "safe_globals"):
        return called
    if called in ("np.load", "numpy.load", "np.fromregex") and keywords.get("allow_pickle") != "False":
        return f"{called} without allow_pickle=False"
    if keywords.get("allow_pickle", "False") != "False" or keywords.get("shell", "False") != "False":
        return f"{called} with {keywords}"
    return ""


def test_no_code_in_any_room_loads_what_could_execute() -> None:
    listed = subprocess.run(["git", "ls-files", "*.py"], cwd=ROOT, capture_output=True, text=True).stdout.splitlines()
    names = [name for name in listed if not name.startswith("tests/")]
    assert {Path(name).parent.name for name in names} >= {"", "plumbing", "drawings", "scoring", "studies"}
    found = [
        f"{name}:{getattr(node, 'lineno', 0)}: {wrong}"
        for name in names
        for node in ast.walk(ast.parse((ROOT / name).read_text(encoding="utf-8")))
        if (wrong := refused_by_the_house(node))
    ]
    assert found == []


@pytest.mark.parametrize("line", [
    "import pickle", "from pickle import loads", "import torch.hub", "from torch import hub, jit", "import joblib",
    "torch.load(path)", "torch.load(path, weights_only=False)", "torch.hub.load('a', 'b')", "torch.jit.load(path)",
    "np.load(path)", "np.load(path, allow_pickle=True)", "f(allow_pickle=x)", "subprocess.run(line, shell=True)",
    "eval(text)", "exec(text)", "__import__(name)", "import yaml", "import shelve", "from marshal import load",
])  # fmt: skip
def test_code_that_could_execute_what_a_file_says_is_recognised(line: str) -> None:
    assert any(refused_by_the_house(node) for node in ast.walk(ast.parse(line)))
