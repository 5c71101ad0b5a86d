"""Nothing that a file holds is executed: no program here loads pickles, or calls what could run a file's content."""

from __future__ import annotations

import ast

import pytest
from conftest import ROOT


def what_is_wrong(node: ast.AST) -> str:
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


def test_no_code_in_the_project_loads_what_could_execute() -> None:
    found = [
        f"{path.name}:{getattr(node, 'lineno', 0)}: {wrong}"
        for path in [*ROOT.glob("*.py"), *ROOT.glob("[a-z]*/*.py")]
        if path.parent.name != "tests"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (wrong := what_is_wrong(node))
    ]
    assert found == []


@pytest.mark.parametrize("line", [
    "import pickle", "from pickle import loads", "import torch.hub", "from torch import hub, jit", "import joblib",
    "torch.load(path)", "torch.load(path, weights_only=False)", "torch.hub.load('a', 'b')", "torch.jit.load(path)",
    "np.load(path)", "np.load(path, allow_pickle=True)", "f(allow_pickle=x)", "subprocess.run(line, shell=True)",
    "eval(text)", "exec(text)", "__import__(name)", "import yaml", "import shelve", "from marshal import load",
])  # fmt: skip
def test_code_that_could_execute_what_a_file_says_is_recognised(line: str) -> None:
    assert any(what_is_wrong(node) for node in ast.walk(ast.parse(line)))
