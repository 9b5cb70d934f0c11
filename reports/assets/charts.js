// Line charts: uPlot draws lines, bands and axes; the marks and the key are ours.
const fillers = [];

function place(step) {
  const value = axisValue(step);
  if (state.spacing === "linear") return value;
  const first = axisValue(DATA.steps.find((saved) => saved > 0) || 1);
  return Math.log2(1 + value / first);
}

function axisSplits(low, high, wide) {
  const first = axisValue(DATA.steps.find((saved) => saved > 0) || 1);
  const last = axisValue(DATA.steps[DATA.steps.length - 1]);
  if (state.spacing === "log") {
    const marks = [0];
    for (let value = first; value <= last * 1.001; value *= 2) marks.push(value);
    const every = Math.max(1, Math.ceil((marks.length - 1) / Math.max(3, wide / 64)));
    return marks.filter((_, i) => i === 0 || (marks.length - 1 - i) % every === 0)
      .map((value) => Math.log2(1 + value / first));
  }
  const rough = Math.max(1e-9, high - low) / Math.max(2, Math.floor(wide / 72));
  const unit = 10 ** Math.floor(Math.log10(rough));
  const binary = Math.log2(last) % 1 === 0 && last >= 8;
  const stride = binary ? 2 ** Math.ceil(Math.log2(rough)) : [1, 2, 5, 10].map((k) => k * unit).find((k) => k >= rough);
  const marks = [];
  for (let value = Math.ceil(low / stride) * stride; value <= high + 1e-9; value += stride) marks.push(value);
  return marks;
}

function axisLabel(position) {
  if (state.spacing === "linear") return String(Math.round(position * 100) / 100);
  const first = axisValue(DATA.steps.find((saved) => saved > 0) || 1);
  return String(Math.round((2 ** position - 1) * first));
}

function lineColour(curve) {
  const colour = ink.dark ? curve.dark : curve.light;
  const layer = focus().layer;
  const faded = curve.layer !== null && layer !== null && curve.layer !== layer;
  return faded ? colour + "55" : colour;
}

function limitsOf(spec) {
  let low = Infinity, high = -Infinity;
  const take = (value) => { if (value !== null) { low = Math.min(low, value); high = Math.max(high, value); } };
  for (const curve of spec.curves) {
    for (const row of [curve.value, curve.low, curve.high]) if (row) row.forEach(take);
  }
  spec.references.forEach((line) => take(line.value));
  if (low > high) return [0, 1];
  if (spec.log) return [low / (high / low) ** 0.06, high * (high / low) ** 0.06];
  const pad = (high - low || Math.abs(high) || 1) * 0.06;
  return [low - pad, high + pad];
}

function drawUnder(plot) {
  const jump = DATA.jump;
  if (!jump) return;
  const { ctx } = plot, { left, top, width, height } = plot.bbox, ratio = devicePixelRatio;
  const at = (step) => Math.min(left + width, Math.max(left, plot.valToPos(place(step), "x", true)));
  ctx.save();
  ctx.fillStyle = ink.jump;
  ctx.globalAlpha = 0.14;
  ctx.fillRect(at(jump.low), top, Math.max(1, at(jump.high) - at(jump.low)), height);
  ctx.globalAlpha = 0.9;
  ctx.fillRect(Math.round(at(jump.step)), top, ratio, height);
  ctx.restore();
}

function drawOver(plot, spec) {
  const { ctx } = plot, { left, top, width } = plot.bbox, ratio = devicePixelRatio;
  ctx.save();
  ctx.font = 11 * ratio + "px " + ink.font;
  ctx.textAlign = "left";
  if (DATA.jump) {
    ctx.fillStyle = ink.jump;
    ctx.textBaseline = "top";
    ctx.fillText("jump", plot.valToPos(place(DATA.jump.step), "x", true) + 5 * ratio, top + 2 * ratio);
  }
  ctx.textAlign = "right";
  ctx.textBaseline = "bottom";
  let lowest = -Infinity;
  for (const line of spec.references.slice().sort((a, b) => b.value - a.value)) {
    const y = Math.round(plot.valToPos(line.value, "y", true)) + 0.5;
    ctx.strokeStyle = ctx.fillStyle = ink.quiet;
    ctx.setLineDash([2 * ratio, 3 * ratio]);
    ctx.lineWidth = ratio;
    ctx.beginPath();
    ctx.moveTo(left, y);
    ctx.lineTo(left + width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.lineWidth = 4 * ratio;
    ctx.strokeStyle = ink.paper;
    ctx.lineJoin = "round";
    lowest = Math.max(y - 2 * ratio, lowest + 12 * ratio);
    ctx.strokeText(line.label, left + width - 2 * ratio, lowest);
    ctx.fillText(line.label, left + width - 2 * ratio, lowest);
  }
  ctx.restore();
}

function seriesOf(spec) {
  const series = [{}], bands = [], tables = [];
  for (const curve of spec.curves) {
    const table = [curve.steps, curve.value];
    const few = curve.steps.length < 14;
    series.push({
      stroke: () => lineColour(curve), width: 2, dash: curve.dash.length ? curve.dash : undefined,
      points: { show: few, size: 5, fill: () => lineColour(curve) },
    });
    if (curve.low && curve.high) {
      table.push(curve.high, curve.low);
      const start = series.length;
      series.push({ stroke: "transparent", width: 0, points: { show: false } });
      series.push({ stroke: "transparent", width: 0, points: { show: false } });
      const faded = () => curve.layer !== null && focus().layer !== curve.layer;
      bands.push({ series: [start, start + 1], fill: () => (ink.dark ? curve.dark : curve.light) + (faded() ? "00" : "2e") });
    }
    tables.push(table);
  }
  return { series, bands, joined: uPlot.join(tables) };
}

// Powers of ten, at most six; where they are fewer than three, 2 and 5 between them too.
function logSplits(low, high) {
  const powers = [];
  for (let k = Math.floor(Math.log10(low)); 10 ** k <= high; k++) powers.push(10 ** k);
  const inside = (marks) => marks.filter((value) => value >= low && value <= high);
  const marks = inside(powers);
  if (marks.length < 3) return inside(powers.flatMap((value) => [value, 2 * value, 5 * value]));
  const every = Math.ceil(marks.length / 6);
  return marks.filter((_, i) => i % every === 0);
}

function markText(value) {
  const short = Number(value.toPrecision(6)), size = Math.abs(short);
  const text = size >= 1e5 ? Number(short.toPrecision(4)).toExponential().replace("e+", "e") : String(short);
  return text.replace("-", "−");
}

function axesOf(spec) {
  const common = { stroke: () => ink.quiet, font: "11px " + ink.font, ticks: { show: false }, labelSize: 18 };
  return [
    { ...common, grid: { show: false }, size: 24, gap: 4,
      splits: (plot, _, low, high) => axisSplits(low, high, plot.bbox.width / devicePixelRatio),
      values: (_, marks) => marks.map(axisLabel) },
    { ...common, grid: { stroke: () => ink.line, width: 1 }, gap: 4,
      ...(spec.log ? { splits: (plot, _, low, high) => logSplits(low, high), filter: (_, marks) => marks } : {}),
      size: (_, marks) => Math.max(48, 12 + 6.5 * Math.max(0, ...(marks || []).map((text) => text.length))),
      values: (_, marks) => marks.map(markText) },
  ];
}

// A curve that repeats a row of a map is carried once, there.
function resolve(curve) {
  if (curve.map === undefined || curve.value) return;
  const { steps, values, low, high } = mapOf(curve.map), row = curve.row;
  Object.assign(curve, { steps, value: values[row], low: low && low[row], high: high && high[row] });
}

function chartOf(id) {
  DATA.charts[id].curves.forEach(resolve);
  return DATA.charts[id];
}

// The layer whose line is nearest to the pointer, in a chart of layers.
function layerNear(plot, spec, step, top) {
  let best = null, least = 28;
  for (const curve of spec.curves) {
    const value = curve.layer === null ? null : curve.value[nearestIndex(curve.steps, step)];
    const gap = value === null ? Infinity : Math.abs(plot.valToPos(value, "y") - top);
    if (gap < least) { least = gap; best = curve.layer; }
  }
  return best;
}

// The line below a chart that names its axis: 11 px, 6 of them over the chart.
const UNIT_HEIGHT = 5;

// The height and the key of a chart are there before it is drawn.
function keepChart(box) {
  const id = box.dataset.chart;
  box.key = keyOf(chartOf(id), id);
  box.key();
  keepRoom(box, (wide) => { box.style.minHeight = heightOf(wide) + UNIT_HEIGHT + "px"; });
}

function makeChart(box) {
  const spec = chartOf(box.dataset.chart);
  const { series, bands, joined } = seriesOf(spec);
  const steps = joined[0];
  const limits = limitsOf(spec);
  const positions = () => [steps.map(place), ...joined.slice(1)];
  box.setAttribute("role", "img");
  box.setAttribute("aria-describedby", box.dataset.chart + "-numbers");
  const now = make("div", { class: "now-line" });
  // uPlot sets its scales after the call returns, so the line also moves after each draw.
  const moveNow = (self) => { now.style.left = self.valToPos(place(state.step), "x") + "px"; };
  const plot = new uPlot({
    width: box.clientWidth, height: heightOf(box.clientWidth), series, bands, axes: axesOf(spec),
    scales: { x: { time: false, range: () => [place(Math.min(DATA.steps[0], steps[0])), place(Math.max(...DATA.steps.slice(-1), ...steps.slice(-1), 1))] }, y: { distr: spec.log ? 3 : 1, range: () => limits } },
    legend: { show: false }, cursor: { show: false }, padding: [10, 14, 0, 0],
    hooks: { drawClear: [drawUnder], draw: [(self) => { drawOver(self, spec); moveNow(self); }] },
  }, positions(), box);
  plot.over.appendChild(now);
  const follow = (event) => {
    const edges = plot.over.getBoundingClientRect();
    const position = plot.posToVal(event.clientX - edges.left, "x");
    const index = nearestIndex(DATA.steps.map(place), position);
    change({ step: DATA.steps[index] });
    pointAt(layerNear(plot, spec, state.step, event.clientY - edges.top), null);
  };
  plot.over.addEventListener("pointermove", follow);
  plot.over.addEventListener("pointerdown", follow);
  plot.over.addEventListener("pointerleave", () => pointAt(null));
  plot.over.addEventListener("click", () => { if (state.over) change({ layer: state.over.layer, attention: null }); });
  const unit = make("div", { class: "axis-name" });
  box.appendChild(unit);
  let drawn = "";
  return () => {
    if (!box.clientWidth) return;
    const layer = focus().layer, layout = [state.axis, state.spacing, layer, ink.dark, box.clientWidth].join();
    if (layout !== drawn) {
      drawn = layout;
      spec.curves.forEach((curve, i) => { plot.series[lineIndex(spec, i)].width = curve.layer !== null && curve.layer === layer ? 3 : 2; });
      plot.setSize({ width: box.clientWidth, height: heightOf(box.clientWidth) });
      plot.setData(positions());
      unit.textContent = state.axis === "steps" ? "step" : "examples";
    }
    moveNow(plot);
    box.key();
    box.setAttribute("aria-label", "Line chart: " + spec.title + ", " + spec.unit + ". At " + stepText(state.step) + ": " + box.key.text);
  };
}

// Charts that repeat a map are built when they are first unfolded.
function wireCharts(details) {
  const fill = () => {
    const grid = details.querySelector(".charts");
    if (grid.firstChild) return;
    for (const id of details.dataset.charts.split(" ")) grid.append(figureOf(id, DATA.charts[id]));
    all("[data-chart]", grid).forEach((box) => lazyPanel(box, { keep: keepChart, maker: makeChart }));
    all("[data-numbers]", grid).forEach(wireNumbers);
    for (const node of all("[data-head]", grid)) node.hidden = state.head !== null && node.dataset.head !== state.head;
  };
  fillers.push(fill);
  details.addEventListener("toggle", () => { fill(); schedule(); });
}

function figureOf(id, spec) {
  const figure = make("figure", { class: "figure chart", id, ...(spec.head ? { "data-head": spec.head } : {}) });
  const head = make("div", { class: "figure-head" }), links = make("span", { class: "links" });
  links.append(make("a", { href: "figures/" + id + ".svg" }, "SVG"), make("a", { href: "data/" + id + ".csv" }, "CSV"));
  head.append(make("h3", {}, spec.title), links);
  const numbers = make("details", { class: "numbers", "data-numbers": id, id: id + "-numbers" });
  numbers.append(make("summary", {}, "Numbers"), make("div", { class: "scroll", tabindex: 0 }));
  figure.append(head, make("div", { class: "plot", "data-chart": id }),
    make("ul", { class: "key", "data-key": id, "aria-label": "Values at the current step" }), make("figcaption", {}, spec.caption), numbers);
  return figure;
}

function heightOf(wide) { return wide > 560 ? 320 : Math.round(Math.max(220, Math.min(270, wide * 0.58))); }

function lineIndex(spec, wanted) {
  let index = 1;
  for (let i = 0; i < wanted; i++) index += spec.curves[i].low && spec.curves[i].high ? 3 : 1;
  return index;
}

function keyOf(spec, id) {
  const list = document.querySelector('[data-key="' + id + '"]');
  const rows = spec.curves.map((curve) => {
    const item = make("li");
    const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    swatch.setAttribute("width", "26");
    swatch.setAttribute("height", "10");
    swatch.setAttribute("aria-hidden", "true");
    const line = document.createElementNS("http://www.w3.org/2000/svg", "line");
    for (const [name, value] of [["x1", 1], ["x2", 25], ["y1", 5], ["y2", 5]]) line.setAttribute(name, value);
    line.setAttribute("stroke-dasharray", curve.dash.join(" "));
    swatch.appendChild(line);
    const value = make("b"), band = make("span", { class: "band" });
    item.append(swatch, make("span", { class: "name" }, curve.label), value, band);
    list.appendChild(item);
    return { curve, line, value, band, item };
  });
  const update = () => {
    const said = [];
    for (const row of rows) {
      const index = nearestIndex(row.curve.steps, state.step);
      row.line.setAttribute("stroke", ink.dark ? row.curve.dark : row.curve.light);
      row.value.textContent = number(row.curve.value[index]);
      row.band.textContent = row.curve.low && row.curve.high ? span(row.curve.low[index], row.curve.high[index]) : "";
      row.item.classList.toggle("chosen", row.curve.layer !== null && row.curve.layer === focus().layer);
      said.push(row.curve.label + " " + row.value.textContent);
    }
    update.text = said.join(", ");
  };
  return update;
}
