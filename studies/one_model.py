"""What studies of one category's model have in common: their command line, and the file that they write."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from config import CHECKPOINTS, SPLITS, resolve_category, shipped_checkpoint
from dataset_utils import data_files
from plumbing.command_line import add_device_argument, check_file, script_parser
from plumbing.files import refuse_overwriting, write_atomically
from plumbing.processes import best_device


def parser_of(text: str | None, study: str) -> argparse.ArgumentParser:
    """Return the command line of a study, which its docstring `text` describes; it writes results/STUDY_NAME.json."""
    parser = script_parser(text)
    parser.add_argument("--category", required=True, metavar="NAME", help="what is drawn")
    parser.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights (default the shipped ones)")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files")
    parser.add_argument("--split", default="auto", choices=SPLITS, help="which drawings trained it (default auto)")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"JSON file (default results/{study}_NAME.json)")
    add_device_argument(parser)
    return parser


def chosen_files(arguments: argparse.Namespace, study: str, quality: str) -> tuple[str, Path, Path]:
    """Return the category, the weights, which are the shipped ones of a quality unless named, and the file to write.

    Raises ValueError for a device that is not there, an unknown category, and a file that must not be written over.
    """
    best_device(arguments.device)
    category = resolve_category(arguments.category)
    checkpoint = arguments.checkpoint or shipped_checkpoint(category, quality)
    out = arguments.out or Path("results") / f"{study}_{category}.json"
    refuse_overwriting([checkpoint, *CHECKPOINTS.glob("*.safetensors"), *data_files(arguments.data_dir)], [out])
    check_file(out)
    return category, checkpoint, out


def write_measured(out: Path, category: str, checkpoint: Path, **found: Any) -> Path:
    """Write what was found as JSON, say so, and return the path."""
    table = {"category": category, "checkpoint": checkpoint.name, **found}
    write_atomically(out, json.dumps(table, indent=2) + "\n")
    print(f"wrote {out}")
    return out
