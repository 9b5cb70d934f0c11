// Heat maps: a small image per map, stretched onto a canvas, with marks on top.
const LINE_HEIGHT = 13;

function unpack(spec, text, [low, high]) {
  const bytes = bytesOf(text), wide = spec.steps.length;
  return spec.rows.map((_, row) => spec.steps.map((__, column) => {
    const byte = bytes[row * wide + column];
    return byte === 255 ? null : low + (high - low) * byte / 254;
  }));
}

// Many maps come as bytes; the ends of intervals always do, as distances from the value.
function mapNumbers(spec) {
  const [least, most] = spec.limits;
  if (spec.bytes) spec.values = unpack(spec, spec.bytes, spec.limits);
  else spec.values = spec.changes.map((row) => {
    let level = 0;
    return row.map((change) => change === null ? null : least + (most - least) * (level += change) / 9999);
  });
  for (const end of ["low", "high"]) {
    if (!spec[end]) continue;
    const far = unpack(spec, spec[end].bytes, spec[end].limits);
    spec[end] = far.map((row, i) => row.map((gap, j) => gap === null ? null : spec.values[i][j] + gap));
  }
}

// The numbers of a map are unpacked when they are first needed.
function mapOf(key) {
  const spec = DATA.maps[key];
  if (spec.values) return spec;
  mapNumbers(spec);
  return spec;
}

// The layer and attention head of each row; known without the numbers.
function placesOf(spec) {
  if (!spec.places) spec.places = spec.row_name === "attention_head" ? spec.rows.map(placeOf) : spec.layers.map((layer) => layer === null ? null : [layer, null]);
  return spec.places;
}

// "3.1" and "L3H1" are attention head 1 of layer 3.
function placeOf(label) {
  const found = label.match(/\d+/g);
  return found && found.length > 1 ? found.map(Number) : null;
}

// Rows of a map that the chosen (or pointed at) layer and attention head are.
function chosenRows(spec) {
  const { layer, attention } = focus();
  if (layer === null || spec.row_name === "step") return [];
  return placesOf(spec).map((_, row) => row).filter((row) => {
    const place = spec.places[row];
    return place && place[0] === layer && (place[1] === null || attention === null || place[1] === attention);
  });
}

function colourOf(spec, value) {
  const table = DATA.palettes[spec.palette], [low, high] = spec.limits;
  const share = Math.min(1, Math.max(0, (value - low) / (high - low)));
  const at = Math.round(share * 255) * 3;
  return [table[at], table[at + 1], table[at + 2]];
}

function upward(spec) { return spec.row_name === "layer"; }

function imageOf(spec) {
  const image = document.createElement("canvas");
  const rows = spec.rows.length, wide = spec.steps.length;
  image.width = wide;
  image.height = rows;
  const context = image.getContext("2d"), pixels = context.createImageData(wide, rows);
  spec.values.forEach((row, i) => row.forEach((value, j) => {
    if (value === null) return;
    const line = upward(spec) ? rows - 1 - i : i;
    pixels.data.set([...colourOf(spec, value), 255], (line * wide + j) * 4);
  }));
  context.putImageData(pixels, 0, 0);
  return image;
}

// No value: diagonal lines, which no colour of a scale has.
let ruled = null;

function ruledTile() {
  const look = ink.panel + ink.edge;
  if (ruled && ruled.look === look) return ruled;
  const tile = ruled = document.createElement("canvas");
  tile.look = look;
  tile.width = tile.height = 6;
  const lines = tile.getContext("2d");
  lines.fillStyle = ink.panel;
  lines.fillRect(0, 0, 6, 6);
  lines.strokeStyle = ink.edge;
  lines.beginPath();
  for (const at of [-6, 0, 6]) { lines.moveTo(at, 6); lines.lineTo(at + 6, 0); }
  lines.stroke();
  return tile;
}

function drawMissing(context, x, y, width, height) {
  context.fillStyle = context.createPattern(ruledTile(), "repeat");
  context.fillRect(x, y, width, height);
}

// Dots below zero: in grey both ends of a signed scale look alike.
function drawBelowZero(context, spec, shape) {
  if (spec.palette !== "vlag") return;
  const step = 6, count = spec.rows.length;
  context.fillStyle = "rgb(0 0 0 / 0.6)";
  for (let y = step / 2; y < shape.height; y += step) {
    const line = Math.floor(y / shape.line), row = upward(spec) ? count - 1 - line : line;
    for (let x = step / 2; x < shape.width; x += step) {
      if (spec.values[row][Math.floor(x / shape.cell)] < 0) context.fillRect(shape.left + x - 0.6, shape.top + y - 0.6, 1.2, 1.2);
    }
  }
}

function rowHeight(count) { return count <= 6 ? 24 : count <= 10 ? 18 : count <= 20 ? 14 : count <= 40 ? 9 : count <= 80 ? 5 : 3; }

// Known before anything is drawn, so that the page does not grow under the reader.
function heightOfMap(spec, wide) {
  const count = spec.rows.length;
  return 24 + (spec.row_name === "step" ? Math.min(wide - 30, 320) : Math.min(420, count * rowHeight(count)));
}

function geometry(canvas, spec, context) {
  context.font = "11px " + ink.font;
  const longest = spec.row_name === "question" ? 14 : Math.max(...spec.rows.map((label) => context.measureText(label).width), 14);
  const left = Math.min(Math.ceil(longest) + 8, canvas.clientWidth * 0.4);
  const width = canvas.clientWidth - left - 2;
  const height = heightOfMap(spec, canvas.clientWidth) - 24;
  return { left, top: 2, width, height, cell: width / spec.steps.length, line: height / spec.rows.length };
}

function frame(context, x, y, width, height) {
  context.lineWidth = 3;
  context.strokeStyle = "#000";
  context.strokeRect(x, y, width, height);
  context.lineWidth = 1.25;
  context.strokeStyle = "#fff";
  context.strokeRect(x, y, width, height);
}

function rowTop(spec, shape, row) {
  return shape.top + shape.line * (upward(spec) ? spec.rows.length - 1 - row : row);
}

function drawLabels(context, spec, shape) {
  context.fillStyle = ink.quiet;
  context.textBaseline = "middle";
  context.textAlign = "right";
  const rough = Math.max(1, LINE_HEIGHT / shape.line);
  const every = spec.row_name === "step" ? 2 ** Math.ceil(Math.log2(2 * rough)) : Math.ceil(rough);
  if (spec.row_name !== "question") spec.rows.forEach((label, row) => {
    const chosen = spec.row_name === "layer" && chosenRows(spec).includes(row);
    if (row % every && !chosen) return;
    context.fillStyle = chosen ? ink.ink : ink.quiet;
    context.font = (chosen ? "600 " : "") + "11px " + ink.font;
    context.fillText(label, shape.left - 6, Math.max(7, rowTop(spec, shape, row) + shape.line / 2), shape.left - 8);
  });
  context.font = "11px " + ink.font;
  context.fillStyle = ink.quiet;
  context.textAlign = "center";
  context.textBaseline = "top";
  const stride = 2 ** Math.ceil(Math.log2(Math.max(1, spec.steps.length / Math.max(2, Math.floor(shape.width / 52)))));
  for (let i = 0; i < spec.steps.length; i += stride) {
    const text = String(Math.round(axisValue(spec.steps[i])));
    const half = context.measureText(text).width / 2;
    const x = Math.min(shape.left + shape.width - half, Math.max(shape.left + half - 2, shape.left + shape.cell * (i + 0.5)));
    context.fillText(text, x, shape.top + shape.height + 6);
  }
}

function drawMap(canvas, spec, image) {
  const context = canvas.getContext("2d"), ratio = devicePixelRatio;
  const shape = geometry(canvas, spec, context);
  const tall = shape.top + shape.height + 22;
  canvas.style.height = tall + "px";
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(tall * ratio);
  context.scale(ratio, ratio);
  context.imageSmoothingEnabled = false;
  drawMissing(context, shape.left, shape.top, shape.width, shape.height);
  context.drawImage(image, shape.left, shape.top, shape.width, shape.height);
  drawBelowZero(context, spec, shape);
  drawLabels(context, spec, shape);
  const column = nearestIndex(spec.steps, state.step);
  frame(context, shape.left + shape.cell * column, shape.top, Math.max(shape.cell, 2), shape.height);
  if (spec.row_name === "step") {
    frame(context, shape.left, rowTop(spec, shape, nearestIndex(spec.rows.map(Number), state.step)), shape.width, Math.max(shape.line, 2));
  } else {
    const rows = chosenRows(spec), most = Math.max(...rows);
    const first = rowTop(spec, shape, upward(spec) ? most : Math.min(...rows));
    if (rows.length) frame(context, shape.left, first, shape.width, Math.max(2, shape.line * (most - Math.min(...rows) + 1)));
  }
  return shape;
}

function rowWord(spec, row) {
  if (spec.row_name === "layer") return spec.layers[row] === null ? spec.rows[row] : layerName(spec.layers[row]);
  if (spec.row_name === "attention_head") return "attention head " + spec.rows[row];
  if (spec.row_name === "question") return "question " + visible(spec.rows[row]);
  return spec.row_name === "step" ? "step " + spec.rows[row] : spec.rows[row];
}

function cellText(spec, row, column) {
  const bounds = spec.low && spec.high ? " " + span(spec.low[row][column], spec.high[row][column]) : "";
  const value = spec.values[row][column];
  return (value === null ? "no value" : exact(value)) + bounds;
}

// What a map says at the current step: the chosen layer, or the row that stands out.
function readout(spec) {
  const column = nearestIndex(spec.steps, state.step);
  let row = -1;
  if (spec.row_name === "step") row = 0;
  else if (chosenRows(spec).length === 1) row = chosenRows(spec)[0];
  if (row >= 0) return (spec.row_name === "step" ? "with " : "") + rowWord(spec, row) + ": " + cellText(spec, row, column);
  const sizes = spec.values.map((cells) => cells[column] === null ? -Infinity : spec.palette === "vlag" ? Math.abs(cells[column]) : cells[column]);
  const most = Math.max(...sizes);
  if (most === -Infinity) return "no value";
  // Of equal rows the middle one, as the analysis chooses the best weight.
  const equal = sizes.map((_, i) => i).filter((i) => sizes[i] >= most - 1e-12);
  row = equal[Math.floor((equal.length - 1) / 2)];
  return "most: " + rowWord(spec, row) + (equal.length > 1 ? " (middle of " + equal.length + " equal)" : "") + ", " + cellText(spec, row, column);
}

function showTip(event, text) {
  const tip = document.getElementById("tip");
  tip.textContent = text;
  tip.hidden = false;
  const wide = tip.offsetWidth, x = Math.min(event.clientX + 14, innerWidth - wide - 8);
  tip.style.transform = "translate(" + Math.max(8, x) + "px," + Math.max(8, event.clientY - tip.offsetHeight - 12) + "px)";
}

function hideTip() { document.getElementById("tip").hidden = true; }

function keepMap(canvas) {
  const spec = DATA.maps[canvas.dataset.map];
  if (spec.row_name === "attention_head") canvas.grid = makeGrid(canvas, spec);
  keepRoom(canvas, (wide) => {
    canvas.style.height = heightOfMap(spec, wide) + "px";
    if (canvas.grid) canvas.grid.fit(wide);
  });
}

function makeMap(canvas) {
  const spec = mapOf(canvas.dataset.map);
  const image = imageOf(spec);
  const output = document.querySelector('[data-readout="' + canvas.dataset.map + '"]');
  let shape = null;
  const cellAt = (event) => {
    if (!shape) return null;
    const edges = canvas.getBoundingClientRect();
    const column = Math.floor((event.clientX - edges.left - shape.left) / shape.cell);
    const line = Math.floor((event.clientY - edges.top - shape.top) / shape.line);
    if (column < 0 || line < 0 || column >= spec.steps.length || line >= spec.rows.length) return null;
    return { column, row: upward(spec) ? spec.rows.length - 1 - line : line };
  };
  canvas.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (!cell) { hideTip(); pointAt(null); return; }
    change({ step: spec.steps[cell.column] });
    pointAt(...(spec.row_name !== "step" && placesOf(spec)[cell.row] || [null, null]));
    showTip(event, rowWord(spec, cell.row) + ", " + stepText(spec.steps[cell.column]) + ": " + cellText(spec, cell.row, cell.column));
  });
  canvas.addEventListener("pointerleave", () => { hideTip(); pointAt(null); });
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event), place = cell && spec.row_name !== "step" && placesOf(spec)[cell.row];
    if (place) change({ layer: place[0], attention: place[1] });
    if (cell && spec.row_name === "question") showQuestion(spec.rows[cell.row]);
  });
  return () => {
    if (!canvas.clientWidth) return;
    shape = drawMap(canvas, spec, image);
    const text = readout(spec);
    output.textContent = output.title = text;
    canvas.setAttribute("aria-label", "Heat map: " + spec.title + ". At " + stepText(state.step) + ", " + text);
    if (canvas.grid) canvas.grid.draw();
  };
}

function makeScale(box) {
  const spec = mapOf(box.dataset.scale);
  const stops = [];
  for (let i = 0; i <= 10; i++) stops.push("rgb(" + colourOf(spec, spec.limits[0] + (spec.limits[1] - spec.limits[0]) * i / 10).join() + ")");
  box.querySelector(".ramp").style.background = "linear-gradient(90deg," + stops.join() + ")";
  return () => {};
}
