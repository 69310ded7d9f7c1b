"""Runs every case and writes the page ``gallery.md`` with its pictures, and the panel of pictures of the front page.

    OMP_NUM_THREADS=1 python docs/gallery.py [NAME ...]

Named cases are run again, the others keep what ``figures/cases`` has of them. What is shown is what the command beside
it does.
"""

from __future__ import annotations

import ast
import io
import json
import re
import sys
import tempfile
import textwrap
from pathlib import Path

from PIL import Image

from fem_ngf.output.plots import field_figure, png
from fem_ngf.run.cli import prepare
from fem_ngf.run.identification import Clock
from fem_ngf.run.results import described, relative_error

DOCS = Path(__file__).resolve().parent
CASES, PICTURES = DOCS.parent / "cases", DOCS / "figures" / "cases"
FLAGS = {
    "advection_diffusion": "--iterations 12", "conductivity": "--cells 40", "fit_1d": "--cells 256",
    "flux_law": "--cells 8 --law-cells 12",
    "heat_source": "--cells 12 --steps 24 --max-parameters 300", "hyperelastic": "--refinements 0",
    "source": "--cells 32", "wave_speed": "--cells 16 --steps 120 --number 4",
}
SHOWN = {  # at most three fields; a law, or another file that the case draws, goes before them
    "advection_diffusion": ("m", "truth", "state"), "benchmark_8x8": ("m", "truth", "state"),
    "conductivity": ("m", "truth", "state"), "diffusion": ("m", "truth", "data"),
    "eit_tank": ("log_contrast", "standard_deviation", "true_labels"), "fit_1d": ("m", "truth", "error"),
    "gradient_field": ("m", "truth", "error"),
    "heat_source": ("m", "truth", "state"),
    "parametric_diffusion": ("m", "truth", "error"),
    "perforated_plate": ("m", "truth", "state_1"), "ritz_2d": ("m", "truth", "error"),
}
SIZE = (660, 260)


def run(name: str) -> dict:
    """Run a case, write its picture, and return what the page says of it."""
    identification, _ = prepare(str(CASES / f"{name}.py"), FLAGS.get(name, "").split())
    clock = Clock()
    *_, stage = identification.stages(clock=clock)
    level, at = identification.levels[stage.level], stage.iterate.linearization
    with tempfile.TemporaryDirectory() as folder:
        found = identification.case.outcome(at, Path(folder)) if identification.case.outcome else {}
        laws = sorted(Path(folder).glob("law*.png"))
        write(PICTURES / f"{name}.png", laws[0].read_bytes() if laws else pictured(name, level, at))
    error = relative_error(identification, stage)
    error = found.get("law_error", found.get("flux_error", error))
    return {"unknown": described(stage.iterate.ansatz), "parameters": stage.iterate.parameters,
            "nodes": len(stage.iterate.m), "energy": stage.iterate.value, "error": error,
            "solves": stage.total_solves, "seconds": clock.cpu, "end": stage.iterate.status}


def pictured(name: str, level, at) -> bytes:
    """The fields of a case in one row."""
    film = level.film(at) if level.film is not None else None
    fields = level.exports(at) if film is None else {**level.exports(at), **film.frame(len(film.times) // 2)}
    names = [each for each in SHOWN.get(name, ("m", "truth", "state")) if each in fields]
    return png(field_figure({each: fields[each] for each in names[:3]}))


def write(path: Path, picture: bytes) -> None:
    """A small picture: `SIZE` pixels at most, 128 colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail(SIZE, Image.LANCZOS)
    image.quantize(128).save(path, optimize=True)


def section(name: str, found: dict) -> str:
    """What the page says of a case."""
    tree = ast.parse((CASES / f"{name}.py").read_text())
    title = (ast.get_docstring(tree) or "").partition("\n\n")[0].replace("\n", " ")
    (formula, *_) = re.findall(r"^\.\. math::\n((?:    .*\n|\n)+)", ast.get_docstring(tree) or "", re.MULTILINE)
    command = " ".join(["fem-ngf run", name, FLAGS.get(name, "")]).strip()
    error = "" if found["error"] is None else f"; relative error {found['error']:.3g}"
    return f"""\
(case-{name})=
## {name.replace("_", " ").capitalize()}

{title}

```{{math}}
{textwrap.dedent(formula).strip()}
```

![{title}](figures/cases/{name}.png)

`{command}`: {found['unknown']}, {found['parameters']} parameters for {found['nodes']} nodal values; energy \
{found['energy']:.6g}{error}; {found['solves']} PDE solves, {found['seconds']:.1f} CPU seconds; {found['end']}.
"""


def main() -> None:
    """Run what is asked for, or all, and write the pages."""
    PICTURES.mkdir(exist_ok=True)
    sys.path.insert(0, str(CASES))
    notes = PICTURES / "gallery.json"
    known = json.loads(notes.read_text()) if notes.is_file() else {}
    names = sorted(path.stem for path in CASES.glob("*.py"))
    for name in sys.argv[1:] or names:
        known[name] = run(name)
        print(name, known[name], (PICTURES / f"{name}.png").stat().st_size, flush=True)
        notes.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    head = ("# Gallery\n\nEvery case with its equation, what its command finds, and what that takes. Written by "
            "`make gallery`, which runs them all on one thread.\n")
    (DOCS / "gallery.md").write_text("\n".join([head, *(section(name, known[name]) for name in names)]))
    cells = [f"[![{name}](figures/cases/{name}.png)](#case-{name})" for name in names]
    rows = ["| | |", "|---|---|", *("| " + " | ".join(cells[i : i + 2]) + " |" for i in range(0, len(cells), 2))]
    (DOCS / "tables" / "gallery.md").write_text("\n".join(rows) + "\n")


if __name__ == "__main__":
    main()
