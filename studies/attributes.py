"""The textbook's baselines: attributes of drawings as a table, Bayes on it, drawings to order, and avatars.

    python -m studies.attributes --category cat                                   # the table and its tree
    python -m studies.attributes --category cat --likely "aspect=wide" --given "strokes=few"
    python -m studies.attributes --category cat --wanted "aspect=wide,strokes=few" --n 16      # draw these
    python -m studies.attributes --category rabbit --avatars --n 24 --colors holiday_pictures

`--wanted` draws with the stroke model and keeps what obeys (rejection); how many of all did is told beside how many of
people's drawings do. A tree knows of each word only the one that it hangs on, so its answers stand beside counts: of
cats with few strokes 60 of 100 are wide by the tree, 37 by counting. `--avatars` colours what it draws; pen, paper and
fill are drawn from palettes, or from the pixels of the pictures in a folder. Writes a picture. Data: Quick, Draw!
dataset, (c) Google, CC BY 4.0.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from config import RunFailed, SampleConfig, resolve_category, shipped_checkpoint
from dataset_utils import data_files, load_category
from families.attributes import ATTRIBUTES, attributes_of, having, obeying, wanted_values
from families.avatars import avatars, palette_table, pixel_table
from families.bayes import BayesTree
from families.interface import Drawing
from plumbing.command_line import check_file, run_script, script_parser
from plumbing.files import refuse_overwriting
from rendering import grid_image, save_image
from sample_diffusion import load_model, sample

MOST_DRAWN = 2000
"""Drawings that are made in search of those that obey, at most."""
AT_ONCE = 100


def steered(
    draw: Callable[[int, int], Sequence[Drawing]], wanted: dict[str, int], count: int, most: int = MOST_DRAWN
) -> tuple[list[Drawing], float, int]:
    """Return `count` drawings that obey, the share of all drawings that did, and how many were drawn.

    `draw(number, count)` makes `count` new drawings at its `number`-th call. Raises RunFailed where of `most`
    drawings too few obey.
    """
    kept: list[Drawing] = []
    obeyed = drawn = 0
    for number in range(-(-most // AT_ONCE)):
        batch = draw(number, AT_ONCE)
        obeys = obeying(batch, wanted)
        kept += [drawing for drawing, does in zip(batch, obeys, strict=True) if does]
        obeyed, drawn = obeyed + int(obeys.sum()), drawn + len(batch)
        if len(kept) >= count:
            return kept[:count], obeyed / drawn, drawn
    raise RunFailed(f"only {len(kept)} of {drawn} drawings obey, {count} are wanted: ask for less, or for fewer")


def described(tree: BayesTree) -> str:
    """Return a network in words: each column, what it hangs on, and the probabilities of its values."""
    lines = []
    for column, name in enumerate(tree.names):
        parent = f"given {tree.names[tree.parents[column]]}" if tree.parents[column] >= 0 else "by itself"
        chances = ", ".join(f"{value} {p:.0%}" for value, p in
                            zip(tree.values[column], tree.marginal(name), strict=True))  # fmt: skip
        lines.append(f"{name:14s} {chances}   ({parent})")
    return "\n".join(lines)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("--category", default="cat", metavar="NAME", help="what is looked at, and drawn (default cat)")
    parser.add_argument("--likely", default="", metavar="WORDS", help="how likely is aspect=wide,strokes=few")
    parser.add_argument("--given", default="", metavar="WORDS", help="--likely: where this is known")
    parser.add_argument("--wanted", default="", metavar="WORDS", help="draw what has these attributes")
    parser.add_argument("--avatars", action="store_true", help="colour what is drawn")
    parser.add_argument("--colors", type=Path, metavar="FOLDER", help="--avatars: colours of the pictures in a folder")
    parser.add_argument("--n", type=int, default=16, metavar="N", help="drawings, 1 to 200 (default 16)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default 0)")
    parser.add_argument("--data-dir", metavar="FOLDER", help="folder of CATEGORY.ndjson files, or 'embedded'")
    parser.add_argument("--out", type=Path, default=Path("results/attributes.png"), metavar="FILE",
                        help="picture of what is drawn (default results/attributes.png)")  # fmt: skip
    return parser


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Do what the command line says, and return what was found."""
    arguments = build_parser().parse_args(argv)
    if not 1 <= arguments.n <= 200:
        raise ValueError(f"--n is {arguments.n}, must lie in 1 ... 200")
    asked = {flag: wanted_values(getattr(arguments, flag)) for flag in ("likely", "given", "wanted")}
    category = resolve_category(arguments.category)
    colors = pixel_table(arguments.colors) if arguments.colors else palette_table()
    draws = bool(asked["wanted"]) or arguments.avatars
    if draws:
        pictures = arguments.colors.glob("*") if arguments.colors else ()
        refuse_overwriting([*pictures, *data_files(arguments.data_dir)], [arguments.out])
        check_file(arguments.out)
    data = load_category(category, data_dir=arguments.data_dir, split="local", allow_download=False)
    table = attributes_of(list(data.train))
    tree = BayesTree.fit(ATTRIBUTES, table)
    found: dict[str, Any] = {"tree": tree}
    if not draws and not asked["likely"]:
        print(f"{len(data.train):,} drawings of {category}\n{described(tree)}")
    if asked["likely"]:
        found["probability"] = tree.probability(asked["likely"], asked["given"])
        where = f" given {arguments.given}" if arguments.given else ""
        known = having(table, asked["given"])
        counted = having(table[known], asked["likely"]).mean() if known.any() else float("nan")
        print(f"p({arguments.likely}{where}) = {found['probability']:.3f} by the tree, {counted:.3f} counted")
    if draws:
        trained = load_model(shipped_checkpoint(category))

        def draw(number: int, count: int) -> Sequence[Drawing]:
            config = SampleConfig(n=count, seed=arguments.seed + number)
            return sample(trained, category, config).drawings

        drawings, share, drawn = steered(draw, asked["wanted"], arguments.n)
        found |= {"drawings": drawings, "share": share, "drawn": drawn}
        if asked["wanted"]:
            people, expected = having(table, asked["wanted"]).mean(), tree.probability(asked["wanted"])
            print(f"{share:.1%} of {drawn} drawings obeyed; people's {people:.1%} do, by the tree {expected:.1%} would")
        columns = min(8, arguments.n)
        picture = (avatars(drawings, colors, arguments.seed, columns) if arguments.avatars
                   else grid_image(drawings, columns, title=arguments.wanted))  # fmt: skip
        save_image(arguments.out, np.asarray(picture))
        print(f"wrote {arguments.out}")
    return found


if __name__ == "__main__":
    run_script(main)
