"""Make perforated_plate.msh: a 2 x 1 plate with seven round holes, finer towards the holes.

Run ``python meshes/perforated_plate.py`` with the ``gmsh`` package installed;
the mesh it writes is kept beside it, so that nobody needs gmsh to use it.
Named boundaries: left, right, bottom, top, holes. Named subdomain: plate.
"""

from pathlib import Path

import gmsh

WIDTH, HEIGHT = 2.0, 1.0
HOLES = [  # centre x, centre y, radius
    (0.35, 0.70, 0.10), (0.40, 0.27, 0.13), (0.85, 0.50, 0.14), (1.20, 0.80, 0.08),
    (1.25, 0.22, 0.10), (1.62, 0.62, 0.12), (1.75, 0.20, 0.07),
]
SIZE, SIZE_AT_HOLES = 0.055, 0.022


def build() -> None:
    """Geometry, names and mesh of the plate in the current gmsh model."""
    geometry = gmsh.model.occ
    plate = geometry.addRectangle(0.0, 0.0, 0.0, WIDTH, HEIGHT)
    holes = [(2, geometry.addDisk(x, y, 0.0, r, r)) for x, y, r in HOLES]
    geometry.cut([(2, plate)], holes)
    geometry.synchronize()
    named: dict[str, list[int]] = {"left": [], "right": [], "bottom": [], "top": [], "holes": []}
    for _, curve in gmsh.model.getEntities(1):
        x0, y0, _, x1, y1, _ = gmsh.model.getBoundingBox(1, curve)
        sides = {"left": x1 < 1e-3, "right": x0 > WIDTH - 1e-3, "bottom": y1 < 1e-3, "top": y0 > HEIGHT - 1e-3}
        named[next((name for name, is_there in sides.items() if is_there), "holes")].append(curve)
    for name, curves in named.items():
        gmsh.model.addPhysicalGroup(1, curves, name=name)
    gmsh.model.addPhysicalGroup(2, [tag for _, tag in gmsh.model.getEntities(2)], name="plate")
    grade(named["holes"])
    gmsh.model.mesh.generate(2)


def grade(curves: list[int]) -> None:
    """Element size that grows with the distance from the holes."""
    field = gmsh.model.mesh.field
    distance = field.add("Distance")
    field.setNumbers(distance, "CurvesList", curves)
    threshold = field.add("Threshold")
    for key, value in {"InField": distance, "SizeMin": SIZE_AT_HOLES, "SizeMax": SIZE, "DistMin": 0.02,
                       "DistMax": 0.25}.items():
        field.setNumber(threshold, key, value)
    field.setAsBackgroundMesh(threshold)
    for option in ("MeshSizeFromPoints", "MeshSizeFromCurvature", "MeshSizeExtendFromBoundary"):
        gmsh.option.setNumber(f"Mesh.{option}", 0)


def main() -> None:
    gmsh.initialize()
    try:
        gmsh.option.setNumber("General.Terminal", 0)
        build()
        gmsh.write(str(Path(__file__).with_suffix(".msh")))
    finally:
        gmsh.finalize()


if __name__ == "__main__":
    main()
