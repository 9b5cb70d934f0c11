// A path in a plane: one dot per step, its control dashed, both axes on one scale.
function heightOfTrail(wide) { return Math.round(Math.max(240, Math.min(360, wide * 0.72))); }

function keepTrail(canvas) {
  keepRoom(canvas, (wide) => { canvas.style.height = heightOfTrail(wide) + "px"; });
}

function shapeOfTrail(spec, wide) {
  const height = heightOfTrail(wide), left = 44, top = 22, room = { wide: wide - left - 10, tall: height - top - 40 };
  const ends = (rows) => { const all = rows.flat().filter((v) => v !== null); return [Math.min(...all), Math.max(...all)]; };
  const [low, high] = ends(spec.values.filter((_, i) => i % 2 === 0)), [deep, tall] = ends(spec.values.filter((_, i) => i % 2 === 1));
  const scale = 0.92 * Math.min(room.wide / (high - low || 1), room.tall / (tall - deep || 1));
  const x = (value) => left + room.wide / 2 + scale * (value - (low + high) / 2);
  const y = (value) => top + room.tall / 2 - scale * (value - (deep + tall) / 2);
  return { height, left, top, ...room, scale, x, y };
}

// The point of the path at a step that need not be saved: straight between two dots.
function trailPoint(spec, step) {
  const { steps, values } = spec;
  let right = steps.findIndex((saved) => saved >= step);
  if (right < 0) right = steps.length - 1;
  const left = Math.max(0, right - 1), gap = steps[right] - steps[left];
  const share = gap ? Math.min(1, Math.max(0, (step - steps[left]) / gap)) : 0;
  return [0, 1].map((row) => values[row][left] + share * (values[row][right] - values[row][left]));
}

function strokePath(context, points) {
  context.beginPath();
  points.forEach(([x, y], i) => i ? context.lineTo(x, y) : context.moveTo(x, y));
  context.stroke();
}

function trailAxes(context, spec, shape) {
  const stride = [1, 2, 5].flatMap((k) => [-4, -3, -2, -1, 0, 1, 2, 3, 4].map((e) => k * 10 ** e)).sort((a, b) => a - b).find((k) => k * shape.scale > 58) || 1e5;
  const right = shape.left + shape.wide, foot = shape.top + shape.tall;
  context.font = "11px " + ink.font;
  context.strokeStyle = ink.line;
  context.fillStyle = ink.quiet;
  context.lineWidth = 1;
  for (let k = -200; k <= 200; k++) {
    const x = shape.x(k * stride), y = shape.y(k * stride), text = markText(k * stride);
    context.textAlign = "center";
    context.textBaseline = "top";
    if (x >= shape.left && x <= right) { strokePath(context, [[x, shape.top], [x, foot]]); context.fillText(text, x, foot + 5); }
    context.textAlign = "right";
    context.textBaseline = "middle";
    if (y >= shape.top && y <= foot) { strokePath(context, [[shape.left, y], [right, y]]); context.fillText(text, shape.left - 6, y); }
  }
  context.textAlign = "right";
  context.textBaseline = "alphabetic";
  context.fillText(spec.rows[0] + " →", right, shape.height - 4, shape.wide + shape.left);
  context.textAlign = "left";
  context.fillText("↑ " + spec.rows[1], 4, 12, shape.wide + shape.left);
}

function drawTrail(canvas, spec) {
  const context = canvas.getContext("2d"), ratio = devicePixelRatio, shape = shapeOfTrail(spec, canvas.clientWidth);
  canvas.width = Math.round(canvas.clientWidth * ratio);
  canvas.height = Math.round(shape.height * ratio);
  context.scale(ratio, ratio);
  trailAxes(context, spec, shape);
  const path = (row) => spec.steps.map((_, i) => [shape.x(spec.values[row][i]), shape.y(spec.values[row + 1][i])]);
  const dots = path(0), now = nearestIndex(spec.steps, state.step), last = dots.length - 1;
  const spot = (step) => { const [x, y] = trailPoint(spec, step); return [shape.x(x), shape.y(y)]; };
  context.lineJoin = "round";
  if (spec.values.length > 3) {
    context.setLineDash([5, 4]);
    context.strokeStyle = ink.quiet;
    context.lineWidth = 1.2;
    strokePath(context, path(2));
    context.setLineDash([]);
  }
  if (DATA.jump) {
    const { low, high } = DATA.jump;
    context.globalAlpha = 0.5;
    context.strokeStyle = ink.jump;
    context.lineWidth = 7;
    strokePath(context, [spot(low), ...dots.filter((_, i) => spec.steps[i] > low && spec.steps[i] < high), spot(high)]);
    context.globalAlpha = 1;
  }
  context.strokeStyle = context.fillStyle = ink.accent;
  context.lineWidth = 1.6;
  strokePath(context, dots);
  for (const at of dots) trailDot(context, at, 2, ink.accent, ink.accent);
  trailDot(context, dots[0], 4, ink.panel, ink.accent);
  const labels = [[dots[0], trailStep(spec.steps[0])], [dots[last], trailStep(spec.steps[last])]];
  if (DATA.jump) { diamond(context, spot(DATA.jump.step)); labels.unshift([spot(DATA.jump.step), "jump"]); }
  trailDot(context, dots[now], 6.5, null, ink.ink, 2);
  if (now !== 0 && now !== last) labels.unshift([dots[now], trailStep(spec.steps[now])]);
  placeLabels(context, labels, dots, shape);
  return { dots, now };
}

function trailStep(step) { return (state.axis === "steps" ? "step " : "") + Math.round(axisValue(step)) + (state.axis === "steps" ? "" : " examples"); }

function trailDot(context, [x, y], radius, fill, stroke, width) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (fill) { context.fillStyle = fill; context.fill(); }
  context.strokeStyle = stroke;
  context.lineWidth = width || 1.4;
  context.stroke();
}

function diamond(context, [x, y]) {
  context.beginPath();
  for (const [dx, dy] of [[0, -6], [6, 0], [0, 6], [-6, 0]]) context.lineTo(x + dx, y + dy);
  context.closePath();
  context.fillStyle = ink.jump;
  context.fill();
  context.strokeStyle = ink.panel;
  context.lineWidth = 1.2;
  context.stroke();
}

// Each label on the side of its dot where it covers least: labels before it, then the path.
function placeLabels(context, labels, dots, shape) {
  const taken = [];
  context.font = "11px " + ink.font;
  context.textAlign = "left";
  context.textBaseline = "middle";
  for (const [[x, y], text] of labels) {
    const wide = context.measureText(text).width;
    const boxes = [[10, -11], [10, 12], [-wide - 10, -11], [-wide - 10, 12], [-wide / 2, -17], [-wide / 2, 18]].map(([dx, dy]) => [x + dx, y + dy]);
    const inside = ([left, middle], [a, b]) => a > left - 3 && a < left + wide + 3 && b > middle - 8 && b < middle + 8;
    const cost = (box) => dots.filter((dot) => inside(box, dot)).length
      + 100 * taken.filter(([left, middle, own]) => left < box[0] + wide + 4 && left + own + 4 > box[0] && Math.abs(middle - box[1]) < 14).length
      + (box[0] < shape.left || box[0] + wide > shape.left + shape.wide + 8 || box[1] < shape.top + 4 || box[1] > shape.top + shape.tall - 4 ? 1000 : 0);
    const best = boxes.reduce((one, other) => cost(other) < cost(one) ? other : one);
    taken.push([...best, wide]);
    context.strokeStyle = ink.paper;
    context.lineWidth = 3;
    context.strokeText(text, ...best);
    context.fillStyle = ink.ink;
    context.fillText(text, ...best);
  }
}

// A place as fine as it can be told apart on the screen.
function trailText(spec, at) {
  const unit = 10 ** Math.floor(Math.log10((spec.limits[1] - spec.limits[0]) / 400));
  const [x, y] = [0, 1].map((row) => number(Math.round(spec.values[row][at] / unit) * unit));
  return stepText(spec.steps[at]) + ": at " + x + " and " + y;
}

function makeTrail(canvas) {
  const spec = mapOf(canvas.dataset.trail), output = document.querySelector('[data-readout="' + canvas.dataset.trail + '"]');
  let drawn = null;
  canvas.addEventListener("pointermove", (event) => {
    if (!drawn) return;
    const edges = canvas.getBoundingClientRect(), x = event.clientX - edges.left, y = event.clientY - edges.top;
    const far = drawn.dots.map(([a, b]) => Math.hypot(a - x, b - y)), best = far.indexOf(Math.min(...far));
    if (far[best] > 40) { hideTip(); return; }
    change({ step: spec.steps[best] });
    showTip(event, trailText(spec, best));
  });
  canvas.addEventListener("pointerleave", hideTip);
  return () => {
    if (!canvas.clientWidth) return;
    drawn = drawTrail(canvas, spec);
    const text = trailText(spec, drawn.now);
    output.textContent = output.title = text;
    canvas.setAttribute("aria-label", "Path: " + spec.title + ". " + text[0].toUpperCase() + text.slice(1));
  };
}
