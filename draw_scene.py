"""Draw what a prompt says, in English, Turkish or Russian, and film how it is drawn.

    python draw_scene.py "two rabbits and a bus" --out scenes/first
    python draw_scene.py --edit "make the bus smaller, another rabbit" --scene scenes/first --out scenes/second
    python draw_scene.py --morph cat bus --out scenes/morph
    python draw_scene.py "a cat on a table" --stages --out scenes/how
    python draw_scene.py --read scenes/first/scene.mp4

Says how it understood the prompt and names every word that it cannot draw. Writes scene.svg, scene.png, scene.mp4,
scene.webm, scene.gif, scene.ndjson (the whole scene as one drawing, then each thing by itself) and scene.json, which
--edit reads; with --stages also stages.png. --morph writes morph.mp4, .webm, .gif, morph.png with the drawings on the
way, and mix.png and mix.svg, half of each. --read says in words what a video of a drawing shows, how sure that is and
after how much of it; it writes nothing. Needs the packages of requirements/words.txt.
"""

from __future__ import annotations

import plumbing.threads  # noqa: F401 - before torch

import argparse
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from config import ATTRIBUTION, resolve_category
from dataset_utils import write_ndjson
from drawings.simplify import official_form
from plumbing.command_line import check_folder, run_script, script_parser
from plumbing.files import locked_folder, refuse_overwriting, refuse_replacing, write_atomically
from rendering import drawing_svg, grid_image, replay, save_image
from words.edits import edited, read_edits
from words.layout import HEIGHT, LINE_WIDTH, WIDTH
from words.names import GRAMMAR, find, lowered, needed, split_name
from words.prompts import read_prompt
from words.scene import Scene, load_scene, make_scene, save_scene, scene_svg, write_scene_drawings
from words.video import frames_of, write_video

VIDEOS = ("mp4", "webm", "gif")
SHAPE = (HEIGHT, WIDTH)
SAYS = "files.json"
"""What a run says of itself: the files that the next one may replace."""


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = script_parser(__doc__)
    parser.add_argument("prompt", nargs="?", help="what to draw, for example \"iki tavşan ve bir otobüs\"")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--edit", metavar="WORDS", help="change the scene of --scene: smaller, bigger, left, right, up, "
                      "down, remove, another")  # fmt: skip
    what.add_argument("--morph", nargs=2, metavar=("FROM", "TO"), help="turn a drawing of one category into another's")
    what.add_argument("--read", metavar="VIDEO", help="say what a video of a drawing shows, thing by thing: mp4, webm, "
                      "gif ...")  # fmt: skip
    what.add_argument("--stages", action="store_true", help="also show how the scene is made, in stages.png")
    parser.add_argument("--scene", metavar="FOLDER", help="folder, or scene.json, of the scene to edit")
    parser.add_argument("--language", choices=("auto", *GRAMMAR), default="auto",
                        help="of the words (default auto: the one that knows most of them)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="random seed (default 0)")
    parser.add_argument("--out", default="scenes/scene", metavar="FOLDER", help="folder for the results (default "
                        "scenes/scene)")  # fmt: skip
    parser.add_argument("--videos", default="mp4,webm,gif", metavar="KINDS", help="which of mp4, webm, gif to write "
                        "(default all; none for none)")  # fmt: skip
    return parser


def kinds_of_video(text: str) -> list[str]:
    """Return the kinds of video that --videos names."""
    wanted = [] if text == "none" else list(dict.fromkeys(text.split(",")))
    if odd := [kind for kind in wanted if kind not in VIDEOS]:
        raise ValueError(f"--videos names '{odd[0]}', must be of {', '.join(VIDEOS)}, or none")
    return wanted


@contextmanager
def prepared(out: Path, files: Sequence[str], inputs: Sequence[Path] = ()) -> Iterator[None]:
    """Hold a folder while `files` are written there; refuse to replace inputs, or what no earlier run wrote."""
    try:
        said = json.loads((out / SAYS).read_text(encoding="utf-8"))
        earlier = [str(name) for name in said["files"]] if said["attribution"] == ATTRIBUTION else []
    except (OSError, ValueError, KeyError, TypeError):
        earlier = []
    refuse_overwriting(inputs, [out / name for name in files])
    refuse_replacing(out, files, earlier)
    check_folder(out)
    with locked_folder(out):
        # first, so that a run that is killed leaves nothing that the next one takes for somebody's
        said = {"attribution": ATTRIBUTION, "files": sorted({*files, *earlier})}
        write_atomically(out / SAYS, json.dumps(said) + "\n")
        yield


def write_scene(out: Path, scene: Scene, told: Sequence[str], videos: Sequence[str]) -> None:
    """Write all files of a scene into a folder."""
    save_scene(out / "scene.json", scene, told)
    write_atomically(out / "scene.svg", scene_svg(scene))
    strokes = scene.strokes()
    save_image(out / "scene.png", next(replay(strokes, SHAPE, LINE_WIDTH, 1)), few_colors=True)
    write_scene_drawings(out / "scene.ndjson", scene)
    pictures = list(frames_of(strokes, SHAPE, LINE_WIDTH)) if videos else []
    for kind in videos:
        write_video(out / f"scene.{kind}", pictures)


def write_morph(out: Path, first: str, second: str, seed: int, videos: Sequence[str]) -> None:
    """Write a morph from one category to another, and their mix, into a folder."""
    from words.morph import KEY_DRAWINGS, base_model, between, morph_frames, recognisable, square

    trained = base_model()
    ends = (recognisable(trained, first, seed), recognisable(trained, second, seed))
    drawings = between(trained, first, second, np.linspace(0.0, 1.0, KEY_DRAWINGS).tolist(), seed, ends)
    drawings = [drawing for drawing in drawings if drawing]
    mix = drawings[len(drawings) // 2]
    save_image(out / "morph.png", grid_image(drawings, len(drawings), 110), few_colors=True)
    save_image(out / "mix.png", next(replay(square(mix), (512, 512), 5.0, 1)), few_colors=True)
    write_atomically(out / "mix.svg", drawing_svg(mix, 512))
    words = [first, *[f"{first} to {second}"] * (len(drawings) - 2), second]
    write_ndjson(out / "morph.ndjson", [official_form(drawing)[0] for drawing in drawings], word=words)
    for kind in videos:
        write_video(out / f"morph.{kind}", morph_frames(drawings))


def category_named(name: str) -> str:
    """Return the category that a name of any of the three languages names; ValueError as ``resolve_category``."""
    for language in GRAMMAR:
        if found := find(split_name(lowered(name, language)), language):
            return found
    return resolve_category(name)


def main(argv: list[str] | None = None) -> Scene | None:
    """Draw as the command line says, write the results, and return the scene, None for a morph or a video."""
    parser = build_parser()
    arguments = parser.parse_args(argv)
    if arguments.seed < 0 or arguments.seed >= 2**31:
        raise ValueError(f"--seed is {arguments.seed}, must lie in 0 ... {2**31 - 1}")
    out, videos = Path(arguments.out), kinds_of_video(arguments.videos)
    if videos and videos != ["gif"]:
        needed("av")
    if arguments.prompt is not None and (arguments.morph or arguments.read is not None or arguments.edit is not None):
        raise ValueError("a prompt draws a new scene: leave it away beside --edit, --morph or --read")
    if arguments.read is not None:
        from words.read_back import lines_of, read_video  # what finds ink and things takes a second to load

        print("\n".join(lines_of(Path(arguments.read), read_video(Path(arguments.read)), arguments.language)))
        return None
    if (arguments.edit is None) != (arguments.scene is None):
        raise ValueError("--edit changes the scene of --scene: give both, or neither")
    if arguments.morph:
        first, second = map(category_named, arguments.morph)
        files = ["morph.png", "mix.png", "mix.svg", "morph.ndjson", *(f"morph.{kind}" for kind in videos)]
        with prepared(out, files):
            write_morph(out, first, second, arguments.seed, videos)
        print(f"wrote {', '.join(files)} to {out}: from {first} to {second}")
        return None
    files = ["scene.json", "scene.svg", "scene.png", "scene.ndjson", *(f"scene.{kind}" for kind in videos)]
    if arguments.edit is not None:
        source = load_scene(Path(arguments.scene))
        edits, told = read_edits(arguments.edit, arguments.language)
        print("\n".join([*(edit.line() for edit in edits), *told]))
        with prepared(out, files, [Path(arguments.scene)]):
            scene = edited(source, edits)
            write_scene(out, scene, told, videos)
    else:
        understood = read_prompt(arguments.prompt or "", arguments.language)
        print("\n".join(understood.lines()))
        files += ["stages.png"] if arguments.stages else []
        with prepared(out, files):
            scene = make_scene(understood, arguments.seed)
            write_scene(out, scene, understood.told, videos)
            if arguments.stages:
                from words.stages import stages_picture

                stages_picture(out / "stages.png", understood, scene)
    print(f"wrote {', '.join(files)} to {out}")
    return scene


if __name__ == "__main__":
    run_script(main)
