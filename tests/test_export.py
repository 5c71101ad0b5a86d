"""Putting the page together: what is missing is said in one line, and nothing is lost that was there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from page import export


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A page made for other networks, with a file of somebody's in it."""
    versions = {"version": "old", "networks_version": "old"}
    old = versions | {"files": ["gone.js", "../mine.txt"], "total_bytes": {"ort/old": 3}}
    for name, content in {"site/site.json": json.dumps(old), "site/gone.js": "", "site/ort/old": "", "site/CNAME": "me",
                          "mine.txt": "mine"}.items():  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path / "site"


def made(folder: Path, say: Any) -> dict[str, Any]:
    """In the place of the export, which takes minutes: one network and a runtime."""
    for name in ("models/cat.onnx", "ort/ort.js"):
        (folder / name).parent.mkdir()
        (folder / name).write_text(name)
    return {"networks": {"models": {}}, "total_bytes": {"models/cat.onnx": 15, "ort/ort.js": 11}}


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


SOURCES = export._source_files()


def test_the_folder_holds_the_page_and_what_was_there_of_others(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_fetch_and_export", made)
    assert export.build_site(site)
    assert names(site) == {*SOURCES, "models/cat.onnx", "ort/ort.js", "site.json", "CNAME"}
    assert (site.parent / "mine.txt").read_text() == "mine"
    assert set(json.loads((site / "site.json").read_text())["files"]) == set(SOURCES)
    for name, path in SOURCES.items():
        assert (site / name).read_bytes() == path.read_bytes()
    assert names(site.parent) == {"mine.txt"} | {f"site/{name}" for name in names(site)}


def test_a_current_page_is_left_alone_and_networks_are_written_only_when_they_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []
    monkeypatch.setattr(export, "_fetch_and_export", lambda *args: calls.append(1) or made(*args))
    sources = [tmp_path / "sources" / name for name in ("one.js", "two.js")]
    (tmp_path / "sources").mkdir()
    monkeypatch.setattr(export, "_source_files", lambda: {path.name: path for path in sources if path.exists()})
    sources[0].write_text("1")
    sources[1].write_text("2")
    site = tmp_path / "site"
    assert [export.build_site(site), export.build_site(site)] == [True, False]
    sources[0].write_text("another")
    sources[1].unlink()
    assert export.build_site(site)
    assert names(site) == {"one.js", "models/cat.onnx", "ort/ort.js", "site.json"}
    assert len(calls) == 1
    (site / "models" / "cat.onnx").unlink()
    sources[0].write_text("1")
    assert export.build_site(site)
    assert (site / "models" / "cat.onnx").exists()
    assert len(calls) == 2


def test_a_file_of_somebody_elses_is_not_overwritten(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_fetch_and_export", made)
    (site / "index.html").write_text("mine")
    refused(site, "index.html: is no file of the page")


@pytest.mark.parametrize("content", ["", "[]", "5", "{}", '{"version": null}', '{"version": "a"}', "\0"])
def test_a_folder_that_is_no_page_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.json").write_text(content)
    refused(tmp_path / "site", "holds other files than a page")


def refused(site: Path, message: str) -> None:
    """The page is not put together, for a reason in one line; what was there is there, and nothing else."""
    before = {path: path.read_bytes() for path in site.parent.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=message) as caught:
        export.build_site(site, lambda _: None)
    assert {path: path.read_bytes() for path in site.parent.rglob("*") if path.is_file()} == before
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        (None, "npm is not installed"),
        ("echo 'npm error network is unreachable' >&2; exit 1", "could not fetch .*: npm error network is unreachable"),
        ("exit 0", "could not fetch .*: no reason given"),
        ("echo something else > onnxruntime-web.tgz", "is not the package whose sha512"),
    ],
)
def test_what_npm_cannot_fetch_is_said(
    site: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, script: str | None,
    message: str,
) -> None:  # fmt: skip
    folder = tmp_path_factory.mktemp("bin")
    if script:
        (folder / "npm").write_text(f"#!/bin/sh\n{script}\n")
        (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin" if script else str(folder))
    refused(site, message)


def test_no_source_of_the_page_names_another_host_or_a_file_that_is_not_there() -> None:
    for name, path in SOURCES.items():
        text = path.read_text(encoding="utf-8")
        hosts = set(re.findall(r"(?:https?:)?//([\w-]+(?:\.[\w-]+)+)", text))
        assert hosts <= {"www.w3.org"}, name  # the name of SVG, which nobody asks for
        for file in re.findall(r'(?:from|href=|src=) ?"(\.{0,2}/?[\w./]+\.\w+)"', text):
            assert ((export.SOURCES / name).parent / file).is_file() or "/ort/" in file, (name, file)
