"""Maps in print: the same cells in less than half of the bytes."""

import re

_CELL = re.compile(
    r'<path d="M (\S+) (\S+) \nL (\S+) \2 \nL \3 (\S+) \nL \1 \4 \nL \1 \2 \n"'
    r' clip-path="(url\([^)]*\))"'
    r' style="fill: (?:(#\w+); stroke: \6; stroke-width: ([\d.]+)|none)"/>'
)
_PATTERN = re.compile(r'<pattern id="([^"]*)"[^>]*>.*?</pattern>', re.DOTALL)
_MESH = re.compile(r'(<g id="[^"]*QuadMesh_\d+")>((?:(?!</g>).)*)</g>', re.DOTALL)


def short_cells(svg: str) -> str:
    """Write the rectangles of every map shortly; what they share goes to their group.

    A map with a cell of another form is left as it is.

    Args:
        svg: What matplotlib wrote.
    """
    return _MESH.sub(_short_mesh, svg)


def short_dots(svg: str) -> str:
    """Write the pattern of dots as one dot that repeats: matplotlib draws 2,000 of them.

    Args:
        svg: What matplotlib wrote, with no pattern but dots.
    """
    return _PATTERN.sub(
        r'<pattern id="\1" patternUnits="userSpaceOnUse" width="4" height="4">'
        '<circle cx="2" cy="2" r="0.5" fill-opacity="0.6"/></pattern>',
        svg,
    )


def _short_mesh(mesh: re.Match[str]) -> str:
    head, body = mesh[1], mesh[2]
    every = list(_CELL.finditer(body))
    cells = [cell for cell in every if cell[6]]  # the others are missing values: nothing is drawn
    shared = {(cell[5], cell[7]) for cell in cells}
    if len(every) != body.count("<path") or len(shared) != 1:
        return mesh[0]
    clip, width = shared.pop()
    lines = (
        f'<path fill="{c[6]}" stroke="{c[6]}" d="M{c[1]} {c[2]}H{c[3]}V{c[4]}H{c[1]}z"/>'
        for c in cells
    )
    return f'{head} clip-path="{clip}" stroke-width="{width}">\n' + "\n".join(lines) + "\n</g>"
