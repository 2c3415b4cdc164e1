"""The matrix as a picture."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import Image, ImageDraw, ImageFont

CELL_PX, MARGIN_PX = 130, 100


def draw_matrix(cells: Mapping[tuple[str, str], tuple[float, float]]) -> Image.Image:
    """Inputs down, outputs across; each cell holds the seen rate above the unseen one, the greener the better."""
    inputs = list(dict.fromkeys(source for source, _ in cells))
    outputs = list(dict.fromkeys(target for _, target in cells))
    size = (MARGIN_PX + CELL_PX * len(outputs) + 10, MARGIN_PX // 2 + CELL_PX * len(inputs) + 10)
    image = Image.new("RGB", size, "white")
    canvas = ImageDraw.Draw(image)
    large, small = ImageFont.load_default(30), ImageFont.load_default(16)
    for column, name in enumerate(outputs):
        canvas.text((MARGIN_PX + CELL_PX * (column + 0.5), 28), f"to {name}", "black", small, anchor="mm")
    for row, source in enumerate(inputs):
        top = MARGIN_PX // 2 + CELL_PX * row
        canvas.text((MARGIN_PX // 2, top + CELL_PX // 2), source, "black", small, anchor="mm")
        for column, target in enumerate(outputs):
            if (source, target) in cells:
                left = MARGIN_PX + CELL_PX * column
                seen, unseen = cells[source, target]
                canvas.rectangle((left, top, left + CELL_PX - 4, top + CELL_PX - 4), _green(seen))
                middle = left + CELL_PX / 2
                canvas.text((middle, top + 50), f"{seen:.2f}", "black", large, anchor="mm")
                canvas.text((middle, top + 92), f"unseen {unseen:.2f}", "black", small, anchor="mm")
    return image


def _green(rate: float) -> tuple[int, int, int]:
    """White at 0.5 and under, full green at 1."""
    strength = max(0.0, min(1.0, 2 * rate - 1.0))
    return int(255 - 125 * strength), int(255 - 45 * strength), int(255 - 105 * strength)
