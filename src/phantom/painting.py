"""Painting an anatomy as a slice shows it, from the back to the front."""

import numpy as np

from src.phantom.anatomy import FORAMEN_BACK_MM, FORAMEN_RISE_MM, RECESS_BACK_MM
from src.phantom.canvas import EDGE_MM, Canvas, Layer, box, ellipse

ROOTS = 15  # in the sac; odd, so that both sides look alike


def paint_spine(canvas: Canvas) -> None:
    """Paint the structures near the canal."""
    for layer in LAYERS:
        canvas.paint_part(layer)


def _midline(canvas: Canvas) -> None:
    """Paint the fat and ligaments between the spinous processes."""
    strip = box(3.2 - canvas.out, canvas["fascia"] - 6 - canvas.b)
    canvas.paint(strip, "fat", share=0.55)
    strands = 0.5 + 0.5 * np.sin(0.45 * canvas["from_vertebra"] + 0.2 * canvas.b)
    canvas.paint_value(
        strip, canvas.image + 0.3 * (canvas.light("ligament") - canvas.image) * strands
    )
    canvas.paint(
        box(1.4 - np.abs(canvas.b - canvas["fascia"] + 5), 4 - canvas.out), "ligament"
    )


def _vessels(canvas: Canvas) -> None:
    """Draw the aorta on the left, the vena cava on the right, forked above l4/l5."""
    radius = canvas.anatomy.habitus["aorta_mm"]
    fork = np.clip((30 - canvas["above_sacrum"]) / 60, 0, 1.2)
    ahead = canvas.b + canvas["body_depth"] + radius + 3 - 14 * fork
    half = radius * (1 - 0.35 * np.minimum(fork, 1))
    aorta = ellipse(canvas.a - 7 - 26 * fork, ahead, half, half)
    forked = np.where(
        fork > 0, ellipse(canvas.a - 7 + 34 * fork, ahead, half, half), -9
    )
    cava = ellipse(canvas.a + 15 + 20 * fork, ahead - 1, 1.2 * half, 0.85 * half)
    for vessel in (aorta, forked, cava):
        canvas.paint(vessel, "vessel")


def _psoas(canvas: Canvas) -> None:
    growth = np.clip((canvas["above_sacrum"] + 60) / 190, 0, 1)
    half = 8 + 11 * (1 - growth)
    aside = canvas.out - canvas["body_width"] - 0.75 * half
    ahead = canvas.b + 0.55 * canvas["body_depth"]
    inside = ellipse(aside, ahead, half * 0.85, half * 1.3)
    canvas.paint(box(inside, 150 - canvas["above_sacrum"]), "muscle")


def _body_outline(canvas: Canvas, swell: np.ndarray | float) -> np.ndarray:
    """Millimetres inside the column of bodies, `swell` wider than its endplates."""
    half_depth = canvas["body_depth"] / 2
    half_width = canvas["body_width"]
    dent = 1.8 * np.clip(1 - np.square(canvas.a / 9), 0, 1)  # the rear wall is hollow
    y = np.abs(canvas.b + half_depth + dent * (canvas.b > -half_depth)) / half_depth
    distance = (y**2.6 + (canvas.out / half_width) ** 2.6) ** (1 / 2.6)
    return (1 - distance) * half_depth + swell


def _vertebral_bodies(canvas: Canvas) -> None:
    habitus = canvas.anatomy.habitus
    past = canvas["past_endplate"]
    outline = _body_outline(canvas, -1.6 * np.clip(past / 9, 0, 1))
    canvas.paint(outline + 1.0, "cortex")
    marrow = canvas.light("marrow") * habitus["brightness_of_marrow"]
    change = canvas["marrow_change"] * np.clip(1 - past / 7, 0, 1)
    canvas.paint_value(box(outline, past - 0.7), marrow * (1 + 0.45 * change))
    basin = box(2.0 - np.abs(canvas["from_vertebra"]), canvas.b + 9, 3 - canvas.out)
    canvas.paint(box(basin, outline - 0.5), "fluid", share=0.55)


def _discs(canvas: Canvas) -> None:
    past = canvas["past_endplate"]
    behind = np.clip(1 - np.square(canvas.a / 16), 0, 1) * (canvas.b > -12)
    outline = _body_outline(canvas, 0.6 + canvas["bulge"] * behind)
    within = box(outline, -past)
    canvas.paint(within, "annulus")
    dark, bright = canvas.light("annulus"), canvas.light("nucleus")
    kernel = box(outline - 5.5, -past - 0.8)
    cleft = 1 - 0.25 * np.clip(1.4 - np.abs(canvas["from_disc"]), 0, 1)
    value = dark + (bright - dark) * canvas["nucleus"] * cleft
    canvas.paint_value(kernel / 2.5, value)


def _bone(canvas: Canvas, inside: np.ndarray, rim_mm: float = 1.1) -> None:
    """Paint a bone: a dark rim around marrow."""
    canvas.paint(inside, "cortex")
    canvas.paint(inside - rim_mm, "marrow")


def _posterior_bone(canvas: Canvas) -> None:
    """Paint pedicles, transverse processes, laminae and spinous processes."""
    v = canvas["from_vertebra"]
    pedicle_out = canvas.out - canvas["pedicle"]
    pedicle = box(ellipse(pedicle_out, v + 5, 5.0, 7.5), canvas.b + 4, 15 - canvas.b)
    arm = ellipse(v + 3 + 0 * canvas.a, canvas.b - 12 - 0.15 * canvas.out, 4.5, 4)
    arm = box(arm, canvas.out - canvas["pedicle"], 38 - canvas.out)
    roof = canvas["sac_back"] + canvas["canal_depth"] + 3.5
    slope = canvas.b - roof - 1.5 + 0.55 * canvas.out
    lamina = box(3.2 - np.abs(slope), 17 - canvas.out, 11 - np.abs(v - 5))
    spine_b = canvas.b - roof - 15
    tail = box(9.5 - np.abs(v - 9 - 0.3 * spine_b), 15.5 - np.abs(spine_b))
    spinous = box(tail, 3.4 - canvas.out)
    lumbar = canvas["lumbar"] > 0
    for shape in (arm, pedicle, lamina, spinous):
        _bone(canvas, np.where(lumbar, shape, -9))


def _foramina(canvas: Canvas) -> None:
    """Fill the gap between two pedicles: fat around a root, less where narrowed."""
    closed = canvas["foraminal"]
    u = canvas["from_disc"] + FORAMEN_RISE_MM
    out = canvas.out - canvas["pedicle"]
    back = canvas.b - FORAMEN_BACK_MM
    tunnel = np.where(canvas["lumbar"] > 0, 8.0 - np.abs(out), -9)
    canvas.paint(box(ellipse(u, back, 11.0, 6.0), tunnel), "ligament")
    open_height, open_depth = 9.6 * (1 - 0.5 * closed), 5.0 * (1 - 0.8 * closed)
    taper = np.clip(1 - 0.03 * (u + 4), 0.6, 1.15)  # wider above, as a tear drop
    fat = ellipse(u + 1.5, back, open_height, open_depth * taper)
    canvas.paint(box(fat, tunnel), "fat")
    size = 2.9 * (1 - 0.3 * closed)
    root = ellipse(u + 4, back + 0.3, size * 1.15, np.minimum(size, open_depth + 0.6))
    canvas.paint(box(root, tunnel), "root")


def _facets(canvas: Canvas) -> None:
    """Paint the two articular processes behind a foramen, and the joint between."""
    u = canvas["from_disc"]
    aside = canvas.out - canvas["pedicle"] - 0.5
    behind = canvas.b - 15.5
    lumbar = np.where(canvas["lumbar"] > 0, 0.0, -9)
    tilt = 0.45 * u
    upper = ellipse(aside + 3.5, behind - 3.5 - 0.1 * tilt, 5.0, 5.0)
    lower = ellipse(aside - 1.5, behind + 2.0 - 0.1 * tilt, 5.5, 5.0)
    tall = box(12 - np.abs(u), lumbar + 12)
    _bone(canvas, box(upper, tall))
    _bone(canvas, box(lower, tall))
    joint = np.abs(aside + 0.8 + 0.6 * (behind + 0.5) + 0.3) * 0.85
    gap = box(0.9 - joint, ellipse(aside, behind, 6, 6), tall)
    canvas.paint(gap, "nucleus")


def _canal(canvas: Canvas) -> None:
    """Paint the canal's fat and ligaments, the sac, the cord and the roots in it."""
    depth = canvas["sac_depth"]
    sac, y = _sac(canvas)
    rear = canvas["sac_back"] + canvas["canal_depth"] + 3
    bony = ellipse(canvas.a, canvas.b - rear / 2, 13.5 + 0 * depth, rear / 2 + 0.5)
    canvas.paint(bony, "ligament")
    below = canvas["past_endplate"]
    canvas.paint(box(bony - 0.8, below - 1.5), "fat", share=0.6)
    wedge = box(y - 0.55 * depth, 7 - canvas.out - 0.8 * (y - depth), rear - canvas.b)
    canvas.paint(box(wedge, bony - 1.2), "fat")
    canvas.paint(sac + 0.9, "ligament")
    canvas.paint(sac, "fluid")
    canvas.paint_pixels(np.flatnonzero(sac > -EDGE_MM), _roots)


def _sac(canvas: Canvas) -> tuple[np.ndarray, np.ndarray]:
    """Return millimetres inside the dural sac, and behind its middle."""
    depth, width = canvas["sac_depth"], canvas["sac_width"]
    y = canvas.b - canvas["sac_back"]
    return np.where(depth > 0.8, ellipse(canvas.a, y, width, depth), -9), y


def _roots(canvas: Canvas) -> None:
    """Paint the cord and the roots on the pixels of the sac."""
    sac, y = _sac(canvas)
    below = canvas["below_conus"]
    cord = ellipse(canvas.a, y, 5.0 * np.clip(-below / 18, 0.02, 1), 4.0)
    canvas.paint(box(cord, sac - 0.8, -below), "cord")
    depth, width = canvas["sac_depth"], canvas["sac_width"]
    for index in range(ROOTS):
        angle = np.pi * (index + 0.5) / ROOTS
        ring = 0.80 if index % 2 else 0.52
        x = canvas.a - ring * width * np.cos(angle)
        # Roots lie at the back when lying down, and crowd when the sac is narrow.
        z = y - (0.12 + 0.62 * ring * np.sin(angle)) * depth
        canvas.paint(box(ellipse(x, z, 0.95, 0.95), below, sac), "root", share=0.85)


def _recesses(canvas: Canvas) -> None:
    """Paint the lateral recesses: a root in fat between disc and facet."""
    closed = canvas["subarticular"]
    x = canvas.out - canvas["recess_out"]
    y = canvas.b - RECESS_BACK_MM
    tunnel = np.where(canvas["lumbar"] > 0, 7.0 - np.abs(canvas["from_disc"]), -9)
    canvas.paint(box(ellipse(x, y, 4.6, 4.2), tunnel), "ligament")
    left = 1 - 0.85 * closed
    canvas.paint(box(ellipse(x, y, 3.9 * left, 3.5 * left), tunnel), "fat")
    root = ellipse(x, y, 1.7, np.minimum(1.7, 3.5 * left))
    canvas.paint(box(root, tunnel), "root")


LAYERS = (
    Layer(_midline, (0, 6), (12, 60)),
    Layer(_vessels, (0, 62), (-80, -15)),
    Layer(_psoas, (10, 62), (-62, 22)),
    Layer(_vertebral_bodies, (0, 30), (-42, 3)),
    Layer(_discs, (0, 32), (-42, 8)),
    Layer(_posterior_bone, (0, 42), (-6, 56)),
    Layer(_foramina, (5, 30), (-2, 14)),
    Layer(_facets, (3, 30), (3, 26)),
    Layer(_canal, (0, 16), (-3, 30)),
    Layer(_recesses, (4, 18), (-3, 9)),
)
