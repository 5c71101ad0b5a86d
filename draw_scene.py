"""Draw what a prompt says, in English, Turkish or Russian, and film how it is drawn.

    python draw_scene.py "two rabbits and a bus" --out scenes/first
    python draw_scene.py --edit "make the bus smaller, another rabbit" --scene scenes/first --out scenes/second
    python draw_scene.py --morph cat bus --out scenes/morph
    python draw_scene.py "a cat on a table" --stages --out scenes/how

Says how it understood the prompt and names every word that it cannot draw. Writes scene.svg, scene.png, scene.mp4,
scene.webm, scene.gif, scene.ndjson (the whole scene as one drawing, then each thing by itself) and scene.json, which
--edit reads. One word is one drawing. Needs the packages of requirements/words.txt.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from config import ATTRIBUTION
from plumbing.command_line import check_folder, run_script, script_parser
from plumbing.files import locked_folder, refuse_replacing
from rendering import replay, save_image
from words.layout import HEIGHT, LINE_WIDTH, WIDTH
from words.names import GRAMMAR, needed
from words.prompts import read_prompt
from words.scene import Scene, make_scene, save_scene, scene_svg, write_scene_drawings
from words.video import frames_of, write_video

VIDEOS = ("mp4", "webm", "gif")
PACKAGES = ("snowballstemmer", "av")
SHAPE = (HEIGHT, WIDTH)


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("prompt", nargs="?", help="what to draw, for example \"iki tavşan ve bir otobüs\"")
    parser.add_argument("--language", choices=("auto", *GRAMMAR), default="auto",
                        help="of the prompt (default auto: the one that knows most of its words)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default 0)")
    parser.add_argument("--out", default="scenes/scene", metavar="FOLDER", help="folder for the results (default "
                        "scenes/scene)")  # fmt: skip
    parser.add_argument("--videos", default="mp4,webm,gif", metavar="KINDS", help="which of mp4, webm, gif to write "
                        "(default all; none for none)")  # fmt: skip
    return parser


def kinds_of_video(text: str) -> list[str]:
    """Return the kinds of video that --videos names."""
    wanted = [] if text == "none" else text.split(",")
    if odd := [kind for kind in wanted if kind not in VIDEOS]:
        raise ValueError(f"--videos names '{odd[0]}', must be of {', '.join(VIDEOS)}, or none")
    return wanted


@contextmanager
def prepared(out: Path, files: Sequence[str]) -> Iterator[None]:
    """Hold a folder while `files` are written there; refuse to replace what an earlier run did not write."""
    try:
        found = json.loads((out / "scene.json").read_text(encoding="utf-8"))
        earlier = [str(name) for name in found["files"]] if found["attribution"] == ATTRIBUTION else []
    except (OSError, ValueError, KeyError, TypeError):
        earlier = []
    refuse_replacing(out, files, earlier)
    with locked_folder(out):
        yield


def write_scene(out: Path, scene: Scene, told: Sequence[str], videos: Sequence[str]) -> list[str]:
    """Write all files of a scene into a folder, in the place of an earlier run's, and return their names."""
    files = ["scene.json", "scene.svg", "scene.png", "scene.ndjson", *(f"scene.{kind}" for kind in videos)]
    with prepared(out, files):
        save_scene(out / "scene.json", scene, told, files)
        (out / "scene.svg").write_text(scene_svg(scene), encoding="utf-8")
        strokes = scene.strokes()
        save_image(out / "scene.png", next(replay(strokes, SHAPE, LINE_WIDTH, 1)), few_colors=True)
        write_scene_drawings(out / "scene.ndjson", scene)
        for kind in videos:
            write_video(out / f"scene.{kind}", frames_of(strokes, SHAPE, LINE_WIDTH))
    return files


def main(argv: list[str] | None = None) -> Scene:
    """Draw as the command line says, write the results, and return the scene."""
    arguments = build_parser().parse_args(argv)
    for package in PACKAGES:
        needed(package)
    out, videos = Path(arguments.out), kinds_of_video(arguments.videos)
    understood = read_prompt(arguments.prompt or "", arguments.language)
    for line in understood.lines():
        print(line)
    check_folder(out)
    scene = make_scene(understood, arguments.seed)
    files = write_scene(out, scene, understood.told, videos)
    print(f"wrote {', '.join(files)} to {out}")
    return scene


if __name__ == "__main__":
    run_script(main)
