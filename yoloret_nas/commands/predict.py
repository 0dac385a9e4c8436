"""`yoloret-nas predict`: draw an exported detector's boxes on images."""

import json
from collections import Counter
from pathlib import Path

import click


@click.command()
@click.argument("network", metavar="NETWORK")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--out", type=click.Path(path_type=Path), default=Path("predictions"), help="Folder for the pictures.")
@click.option("--score", type=click.FloatRange(0, 1), default=0.25, help="Draw boxes with at least this score.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.option("--dir", "root", type=click.Path(path_type=Path), default=Path("runs"), help="Folder of the studies.")
def predict(network: str, images: tuple[Path, ...], out: Path, score: float, as_json: bool, root: Path) -> None:
    """Draw the boxes that NETWORK finds on images, or on all images of folders.

    NETWORK is an export's folder, or STUDY:TRIAL.
    """
    import numpy as np
    from PIL import Image

    from trials.data.image_file import ImageFile
    from trials.onnx import run
    from trials.whole_file import whole_file
    from yoloret_nas.sources import open_detector

    with open_detector(network, root=root) as detector:
        names = detector.class_names
        out.mkdir(parents=True, exist_ok=True)
        document = []
        for path, picture in _pictures(_files(images), out).items():
            image = ImageFile(path, is_upright=True)()
            found = detector.detect(image, score)
            with whole_file(picture) as partial:
                Image.fromarray(np.asarray(run.draw(image, *found, names))).save(partial)
            rows = run.rows_of(found, names)
            document.append({"image": str(path), "picture": str(picture), "detections": rows})
            if not as_json:
                counts = ", ".join(f"{sum(row['class'] == name for row in rows)} {name}" for name in names)
                click.echo(f"{path}: {counts} → {picture}")
    if as_json:
        click.echo(json.dumps(document, indent=1))


def _pictures(files: list[Path], out: Path) -> dict[Path, Path]:
    """Return the file that each image's picture goes to, named after it: one each, and none of the images themselves."""
    stems = Counter(path.stem for path in set(files))
    pictures: dict[Path, Path] = {}
    used: set[Path] = set()
    for path in dict.fromkeys(files):
        name = path.stem if stems[path.stem] == 1 else path.name
        picture = out / f"{name}.png"
        number = 2
        while picture in used:  # images of one name, in several folders
            picture = out / f"{name}-{number}.png"
            number += 1
        used.add(picture)
        pictures[path] = picture
    originals = {path.resolve() for path in files}
    if taken := [picture for picture in pictures.values() if picture.resolve() in originals]:
        raise click.UsageError(f"the picture would overwrite the image {taken[0]}; choose another folder with --out")
    return pictures


def _files(given: tuple[Path, ...]) -> list[Path]:
    from trials.data.file_tree import is_image  # as datasets do

    files: list[Path] = []
    for path in given:
        inside = sorted(p for p in path.iterdir() if is_image(p)) if path.is_dir() else [path]
        if not inside:
            raise click.UsageError(f"there is no image in {path}")
        files += inside
    return files
