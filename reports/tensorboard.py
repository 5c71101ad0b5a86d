"""Turn the logs of trainings into event files for TensorBoard.

    pip install tensorboard
    python -m reports.tensorboard runs                      # every metrics.jsonl under runs/, beside each its events
    tensorboard --logdir runs

Trainings log into metrics.jsonl and need no package for it; who has TensorBoard looks at them there, also while they
run: the same command again writes the events anew.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from plumbing.command_line import run_script, script_parser
from plumbing.run_folder import LOG_FILE

EVENTS = "tensorboard"
"""The folder of the events, beside the log."""


def write_events(log: Path) -> int:
    """Write every number of a log's rows, by its step and under its name; return how many.

    What an earlier call wrote there is replaced. A last row that is being written is left out.
    """
    from torch.utils.tensorboard import SummaryWriter  # only there with the package tensorboard

    out, count = log.parent / EVENTS, 0
    for old in out.glob("events.out.tfevents.*"):
        old.unlink()
    with SummaryWriter(str(out)) as writer:
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            for name, value in row.items():
                if name != "step" and isinstance(value, int | float):
                    writer.add_scalar(name, value, row["step"])
                    count += 1
    return count


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="of one training, or of many")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Write the events of all logs under the folder; return how many numbers."""
    folder = build_parser().parse_args(argv).folder
    logs = sorted(folder.rglob(LOG_FILE))
    if not logs:
        raise FileNotFoundError(f"{folder}: holds no {LOG_FILE}, which every training writes")
    total = 0
    for log in logs:
        try:
            total += write_events(log)
        except ModuleNotFoundError:
            raise ValueError("TensorBoard is not installed: pip install tensorboard") from None
    sys.stdout.write(f"wrote {total} numbers of {len(logs)} trainings; now: tensorboard --logdir {folder}\n")
    return total


if __name__ == "__main__":
    run_script(main)
