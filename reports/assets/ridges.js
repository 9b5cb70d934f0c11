// Ridges: one distribution per step, the first at the top; the current step is filled.
const MOST_RIDGES = 17, HIGHEST = 5;

// Every k-th saved step, and always the current one in place of the nearest.
function ridgeColumns(spec) {
  const last = spec.steps.length - 1, count = Math.min(MOST_RIDGES, last + 1), now = nearestIndex(spec.steps, state.step);
  const columns = Array.from({ length: count }, (_, i) => count > 1 ? Math.round(i * last / (count - 1)) : 0);
  columns[nearestIndex(columns, now)] = now;
  return { columns, now };
}

// Room above the first ridge, in lines: what the highest peaks of any step may need.
function linesAbove(spec) {
  const { columns } = ridgeColumns(spec), most = usualPeak(spec);
  const needs = spec.steps.map((_, column) => 2.2 * Math.max(...spec.values.map((row) => row[column] || 0)) / most - nearestIndex(columns, column));
  return Math.min(HIGHEST, Math.max(1, ...needs));
}

function shapeOfRidges(spec, wide) {
  const count = Math.min(MOST_RIDGES, spec.steps.length), top = 20 * linesAbove(spec) - 8;
  return { left: 44, top, line: 20, width: wide - 52, height: top + 20 * count + 26 };
}

function keepRidges(canvas) {
  const spec = mapOf(canvas.dataset.ridges);
  keepRoom(canvas, (wide) => { canvas.style.height = shapeOfRidges(spec, wide).height + "px"; });
}

// The height that ridges are scaled by: three of four steps have no higher peak.
function usualPeak(spec) {
  const peaks = spec.steps.map((_, column) => Math.max(...spec.values.map((row) => row[column] || 0))).filter((peak) => peak > 0);
  return peaks.sort((a, b) => a - b)[Math.floor(0.75 * (peaks.length - 1))] || 1;
}

function drawRidges(canvas, spec) {
  const context = canvas.getContext("2d"), ratio = devicePixelRatio, wide = canvas.clientWidth;
  const { columns, now } = ridgeColumns(spec), bins = spec.rows.length;
  const shape = { ...shapeOfRidges(spec, wide), columns }, most = usualPeak(spec), { height } = shape, tall = 2.2 * shape.line;
  canvas.width = Math.round(wide * ratio);
  canvas.height = Math.round(height * ratio);
  context.scale(ratio, ratio);
  context.font = "11px " + ink.font;
  const across = (bin) => shape.left + shape.width * (bin + 0.5) / bins;
  columns.forEach((column, i) => {
    const base = shape.top + shape.line * (i + 1), chosen = column === now;
    const heights = spec.values.map((row) => base - Math.min(HIGHEST * shape.line, tall * (row[column] || 0) / most));
    context.beginPath();
    context.moveTo(across(0), base);
    heights.forEach((y, bin) => context.lineTo(across(bin), y));
    context.lineTo(across(bins - 1), base);
    context.closePath();
    context.fillStyle = ink.panel;
    context.fill();
    context.globalAlpha = chosen ? 0.55 : 0.16;
    context.fillStyle = chosen ? ink.jump : ink.accent;
    context.fill();
    context.globalAlpha = 1;
    context.strokeStyle = chosen ? ink.jump : ink.accent;
    context.lineWidth = chosen ? 2.2 : 1.1;
    context.stroke();
    context.textAlign = "right";
    context.textBaseline = "alphabetic";
    context.fillStyle = chosen ? ink.ink : ink.quiet;
    context.fillText(Math.round(axisValue(spec.steps[column])), shape.left - 8, base);
  });
  ridgeAxis(context, spec, shape, across, height);
  return shape;
}

function ridgeAxis(context, spec, shape, across, height) {
  const middles = spec.rows.map(Number), width = middles[1] - middles[0];
  const place = (value) => across((value - middles[0]) / width);
  context.fillStyle = context.strokeStyle = ink.quiet;
  context.textAlign = "center";
  context.textBaseline = "bottom";
  const every = [0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000].find((k) => k * shape.width / (width * middles.length) > 46) || 5000;
  for (let value = Math.ceil(middles[0] / every) * every; value <= middles[middles.length - 1]; value += every) {
    context.fillText(markText(value), place(value), height - 4);
  }
  context.setLineDash([2, 3]);
  context.lineWidth = 1;
  context.beginPath();
  context.moveTo(place(0), 8);
  context.lineTo(place(0), height - 20);
  context.stroke();
  context.setLineDash([]);
}

function makeRidges(canvas) {
  const spec = mapOf(canvas.dataset.ridges);
  const output = document.querySelector('[data-readout="' + canvas.dataset.ridges + '"]');
  let shape = null;
  canvas.addEventListener("pointermove", (event) => {
    if (!shape) return;
    const line = Math.round((event.clientY - canvas.getBoundingClientRect().top - shape.top) / shape.line + 0.3) - 1;
    if (line >= 0 && line < shape.columns.length) change({ step: spec.steps[shape.columns[line]] });
  });
  return () => {
    if (!canvas.clientWidth) return;
    shape = drawRidges(canvas, spec);
    const text = ridgeText(spec);
    output.textContent = output.title = text;
    canvas.setAttribute("aria-label", "Ridges: " + spec.title + ". At " + text);
  };
}

function ridgeText(spec) {
  const column = nearestIndex(spec.steps, state.step);
  let wins = 0;
  spec.rows.forEach((middle, bin) => { if (Number(middle) > 0) wins += spec.values[bin][column] || 0; });
  return stepText(spec.steps[column]) + ": " + number(Math.round(1000 * wins) / 10) + " % of questions right of zero";
}
