"""Laws of putting the page together: what is missing is said in one line, and what was there stays."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Any

import pytest

from page import folder as page_folder

NPM = """#!/bin/sh
{}
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A page made for other networks."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "site.json").write_text('{"version": "old", "networks_version": "old"}')
    return tmp_path / "site"


def with_npm(monkeypatch: pytest.MonkeyPatch, folder: Path, script: str) -> None:
    """Put an npm of our own in the place of the real one."""
    (folder / "bin").mkdir()
    (folder / "bin" / "npm").write_text(NPM.format(script))
    (folder / "bin" / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'bin'}:/usr/bin:/bin")


def assert_refused(site: Path, message: str) -> None:
    """The page is not put together, for a reason in one line; what was there is there, and nothing else."""
    before = {path: path.read_bytes() for path in site.parent.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=message) as caught:
        page_folder.build_site(site, lambda _: None)
    assert {path: path.read_bytes() for path in site.parent.rglob("*") if path.is_file()} == before
    assert len(str(caught.value).splitlines()) == 1


def test_without_npm_it_is_said_and_the_page_before_stays(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert_refused(site, "npm is not installed")


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo 'npm error network is unreachable' >&2; exit 1", "could not fetch .*: npm error network is unreachable"),
        ("exit 0", "could not fetch .*: no reason given"),
        ("echo something else > onnxruntime-web.tgz", "is not the package whose sha512"),
    ],
)
def test_what_npm_cannot_fetch_is_said(
    site: Path, monkeypatch: pytest.MonkeyPatch, script: str, message: str
) -> None:
    with_npm(monkeypatch, site.parent, script)
    assert_refused(site, message)


def test_an_npm_that_hangs_is_given_up(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_npm(monkeypatch, site.parent, "exec sleep 60")
    monkeypatch.setattr(page_folder, "NPM_SECONDS", 0.5)
    assert_refused(site, "within 0.5 s")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_package_that_is_missing_is_named_with_where_to_get_it(
    site: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else find(name))
    assert_refused(site, f"^{package} is not installed.*requirements-page.txt")


def test_where_only_sources_have_changed_the_networks_stay(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in ("ort", "models"):
        (site / part).mkdir()
        (site / part / "file").write_text(part)
    state = {"networks_version": page_folder.version_of_networks(), "networks": {"max_strokes": 24}, "version": "old"}
    (site / "site.json").write_text(json.dumps(state))
    (site / "gone.js").write_text("a source that is no more")
    monkeypatch.setenv("PATH", "")
    page_folder.build_site(site, lambda _: None)
    made = json.loads((site / "site.json").read_text())
    assert page_folder.is_current(site)
    assert made["total_bytes"] == {"models/file": 6, "ort/file": 3}
    assert not (site / "gone.js").exists()
    assert sorted(made["files"]) == sorted(path.name for path in page_folder.SOURCES.iterdir())
    for name in made["files"]:
        assert (site / name).read_bytes() == (page_folder.SOURCES / name).read_bytes()


@pytest.mark.parametrize("content", [None, "", "[]", "5", "{}", '{"version": null}', "\0"])
def test_a_folder_without_a_sound_site_file_is_not_current(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "site.json").write_text(content)
    assert not page_folder.is_current(tmp_path)


def test_the_version_changes_with_any_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = page_folder.version_of_sources()
    files: list[Any] = [tmp_path / "one.js"]
    files[0].write_text("1")
    monkeypatch.setattr(page_folder, "_source_files", lambda: files)
    one = page_folder.version_of_sources()
    files[0].write_text("2")
    assert len({before, one, page_folder.version_of_sources()}) == 3


def test_no_source_of_the_page_names_another_host() -> None:
    for path in page_folder.SOURCES.iterdir():
        hosts = set(re.findall(r"(?:https?:)?//([\w-]+(?:\.[\w-]+)+)", path.read_text(encoding="utf-8")))
        assert hosts <= {"www.w3.org"}, path.name  # the name of SVG, which nobody asks for
