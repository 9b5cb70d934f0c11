// Layers against layers: a square of the current step, and the first step beside it where there is room.
const WIDEST_SQUARE = 320, SQUARE_TOP = 20, SQUARE_FOOT = 20, SQUARE_GAP = 20;

// Every pair of layers is one row of the file: "3 and 1".
function layersOf(spec) {
  if (!spec.names) {
    spec.names = Array.from(new Set(spec.rows.map((label) => label.split(" and ")[0])));
    spec.pairs = new Map(spec.rows.map((label, row) => [label, row]));
  }
  return spec.names;
}

function pairValue(spec, row, other, column) {
  const names = layersOf(spec), [high, low] = row > other ? [row, other] : [other, row];
  const found = spec.pairs.get(names[high] + " and " + names[low]);
  return found === undefined ? null : spec.values[found][column];
}

function numberOfLayer(name) { return name === "embed" ? -1 : Number(name); }

function shapeOfSquares(spec, wide) {
  const left = layersOf(spec).includes("embed") ? 46 : 30, two = wide >= 460 && spec.steps.length > 1;
  const side = Math.max(60, Math.floor(Math.min(WIDEST_SQUARE, two ? (wide - 2 * left - SQUARE_GAP) / 2 : wide - left - 2)));
  return { left, side, two, top: SQUARE_TOP, height: SQUARE_TOP + side + SQUARE_FOOT, cell: side / spec.names.length };
}

function keepSquares(canvas) {
  const spec = DATA.maps[canvas.dataset.squares];
  keepRoom(canvas, (wide) => { canvas.style.height = shapeOfSquares(spec, wide).height + "px"; });
}

// What is drawn: the current step, then the first one as what it is held against.
function squareColumns(spec, shape) {
  const now = nearestIndex(spec.steps, state.step);
  return shape.two ? [now, 0] : [now];
}

function squareLeft(shape, at) { return shape.left + at * (shape.side + shape.left + SQUARE_GAP); }

function drawSquare(context, spec, shape, column, at) {
  const names = layersOf(spec), { cell, side, top } = shape, left = squareLeft(shape, at), count = names.length;
  drawMissing(context, left, top, side, side);
  for (let row = 0; row < count; row++) for (let other = 0; other < count; other++) {
    const value = pairValue(spec, row, other, column);
    if (value === null) continue;
    context.fillStyle = "rgb(" + colourOf(spec, value).join() + ")";
    const x = Math.round(left + cell * other), y = Math.round(top + side - cell * (row + 1));
    context.fillRect(x, y, Math.round(left + cell * (other + 1)) - x, Math.round(top + side - cell * row) - y);
  }
  const chosen = names.findIndex((name) => numberOfLayer(name) === focus().layer);
  if (chosen >= 0) {
    frame(context, left, top + side - cell * (chosen + 1), side, cell);
    frame(context, left + cell * chosen, top, cell, side);
  }
  squareLabels(context, spec, shape, left, chosen);
  context.textAlign = "left";
  context.textBaseline = "alphabetic";
  context.fillStyle = at ? ink.quiet : ink.ink;
  context.font = (at ? "" : "600 ") + "11px " + ink.font;
  const step = spec.steps[column];
  context.fillText("step " + step + (step === 0 ? ", the base" : at ? ", the first" : ""), left, top - 6);
}

function squareLabels(context, spec, shape, left, chosen) {
  const { cell, side, top } = shape, every = Math.max(1, Math.ceil(16 / cell));
  layersOf(spec).forEach((name, layer) => {
    if (layer % every && layer !== chosen) return;
    context.fillStyle = layer === chosen ? ink.ink : ink.quiet;
    context.font = (layer === chosen ? "600 " : "") + "11px " + ink.font;
    context.textAlign = "right";
    context.textBaseline = "middle";
    context.fillText(name, left - 6, top + side - cell * (layer + 0.5));
    context.textAlign = "center";
    context.textBaseline = "top";
    const fits = context.measureText(name).width < cell * every - 2;
    context.fillText(fits ? name : name === "embed" ? "e" : name, left + cell * (layer + 0.5), top + side + 6);
  });
}

function pairText(spec, row, other, column) {
  const names = layersOf(spec).map((name) => layerName(numberOfLayer(name)));
  const first = column === 0 ? "" : " (at step " + spec.steps[0] + ": " + exact(pairValue(spec, row, other, 0)) + ")";
  return names[row] + " and " + names[other] + ": " + exact(pairValue(spec, row, other, column)) + first;
}

// What the square says: of the chosen layer the most like it, else the least alike neighbours.
function squareText(spec) {
  const column = nearestIndex(spec.steps, state.step), count = layersOf(spec).length;
  const near = spec.steps[column] === state.step ? "" : "nearest, step " + spec.steps[column] + ": ";
  const chosen = spec.names.findIndex((name) => numberOfLayer(name) === focus().layer);
  let best = null;
  for (let row = 0; row < count; row++) for (let other = 0; other < row; other++) {
    const value = pairValue(spec, row, other, column);
    if (value === null || (chosen < 0 ? row - other !== 1 : row !== chosen && other !== chosen)) continue;
    if (best === null || (chosen < 0 ? value < best.value : value > best.value)) best = { row, other, value };
  }
  if (best === null) return near + "no value";
  return near + (chosen < 0 ? "least alike neighbours: " : "most alike: ") + pairText(spec, best.row, best.other, column);
}

function makeSquares(canvas) {
  const spec = mapOf(canvas.dataset.squares), output = document.querySelector('[data-readout="' + canvas.dataset.squares + '"]');
  let shape = null;
  const cellAt = (event) => {
    if (!shape) return null;
    const edges = canvas.getBoundingClientRect(), columns = squareColumns(spec, shape);
    for (let at = 0; at < columns.length; at++) {
      const other = Math.floor((event.clientX - edges.left - squareLeft(shape, at)) / shape.cell);
      const row = Math.floor((shape.top + shape.side - (event.clientY - edges.top)) / shape.cell);
      if (row >= 0 && other >= 0 && row < spec.names.length && other < spec.names.length) return { row, other, column: columns[at] };
    }
    return null;
  };
  canvas.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (!cell) { hideTip(); pointAt(null); return; }
    pointAt(numberOfLayer(spec.names[cell.row]), null);
    showTip(event, "step " + spec.steps[cell.column] + ", " + pairText(spec, cell.row, cell.other, cell.column));
  });
  canvas.addEventListener("pointerleave", () => { hideTip(); pointAt(null); });
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell) change({ layer: numberOfLayer(spec.names[cell.row]), attention: null });
  });
  return () => {
    const wide = canvas.clientWidth, ratio = devicePixelRatio;
    if (!wide) return;
    shape = shapeOfSquares(spec, wide);
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(shape.height * ratio);
    const context = canvas.getContext("2d");
    context.scale(ratio, ratio);
    squareColumns(spec, shape).forEach((column, at) => drawSquare(context, spec, shape, column, at));
    const text = squareText(spec);
    output.textContent = output.title = text;
    canvas.setAttribute("aria-label", "Layers by layers: " + spec.title + ". At " + stepText(state.step) + ", " + text);
  };
}
