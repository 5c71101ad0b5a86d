"""Laws of training states: what is saved comes back, what is damaged is passed over, a crash leaves a whole one."""

import contextlib
import resource
from pathlib import Path

import pytest
import torch

from checkpoint import load_state, save_state
from config import RunFailed


def test_state_comes_back_and_the_one_before_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    assert load_state(path) is None
    for step in (1, 2):
        save_state(path, {"step": step, "w": torch.full((3,), float(step))})
    state = load_state(path)
    assert state is not None
    assert state["step"] == 2
    assert torch.load(path.with_name("state.pt.previous"), weights_only=True)["step"] == 1


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "no hash"])
def test_damaged_state_falls_back_to_the_previous_one(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state.pt"
    for step in (1, 2):
        save_state(path, {"step": step, "w": torch.zeros(1000)})
    whole = bytearray(path.read_bytes())
    if damage == "flip":
        whole[len(whole) // 2] ^= 1
    path.write_bytes({"cut": bytes(whole[:500]), "empty": b""}.get(damage, bytes(whole)))
    if damage == "no hash":
        path.with_name("state.pt.sha256").unlink()
    with pytest.warns(UserWarning, match="damaged, using the previous one"):
        state = load_state(path)
    assert state is not None
    assert state["step"] == 1


def test_when_no_state_is_whole_that_is_said(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_bytes(b"junk")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(RunFailed, match="no whole training state"):
        load_state(path)


def test_kill_between_any_two_moves_leaves_a_whole_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever rename is the last one that happens, the newest or the previous state loads."""
    import os

    replace = os.replace
    for allowed in range(8):
        path = tmp_path / str(allowed) / "state.pt"
        path.parent.mkdir()
        for step in (1, 2):
            save_state(path, {"step": step})
        count = 0

        def limited(source: object, target: object, allowed: int = allowed) -> None:
            nonlocal count
            if count >= allowed:
                raise KeyboardInterrupt
            count += 1
            replace(source, target)  # type: ignore[arg-type]

        monkeypatch.setattr("os.replace", limited)
        with contextlib.suppress(KeyboardInterrupt):
            save_state(path, {"step": 3})
        monkeypatch.setattr("os.replace", replace)
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = load_state(path)
        assert state is not None, allowed
        assert state["step"] in (2, 3), allowed


def test_full_disk_is_named_and_the_old_file_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"step": 1})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    import signal

    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(OSError, match=r"could not be written.* \(4\.0 MB needed, [\d.]+ MB free\); .* is kept"):
            save_state(path, {"step": 2, "w": torch.zeros(1_000_000)})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    state = load_state(path)
    assert state is not None
    assert state["step"] == 1
    assert list(tmp_path.glob(".*tmp")) == []
