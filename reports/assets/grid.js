// All attention heads of the model at the current step: layers upwards, heads across.
function makeGrid(canvas, spec) {
  if (placesOf(spec).some((place) => !place)) return null;
  const rows = Math.max(...spec.places.map(([layer]) => layer)) + 1, columns = Math.max(...spec.places.map(([, head]) => head)) + 1;
  const box = make("div", { class: "grid-box" }), grid = make("canvas", { class: "head-grid", role: "img", "aria-label": spec.title + ": attention heads" });
  const caption = make("p", { class: "grid-caption" });
  box.append(grid, caption);
  canvas.after(box);
  const left = 22;
  let cell = 20;
  const rowAt = (event) => {
    const edges = grid.getBoundingClientRect();
    const head = Math.floor((event.clientX - edges.left - left) / cell), layer = rows - 1 - Math.floor((event.clientY - edges.top) / cell);
    return spec.places.findIndex(([own, other]) => own === layer && other === head);
  };
  grid.addEventListener("pointermove", (event) => {
    const row = rowAt(event);
    if (row < 0) { hideTip(); pointAt(null); return; }
    pointAt(...spec.places[row]);
    showTip(event, rowWord(spec, row) + ", " + stepText(state.step) + ": " + cellText(spec, row, nearestIndex(spec.steps, state.step)));
  });
  grid.addEventListener("pointerleave", () => { hideTip(); pointAt(null); });
  grid.addEventListener("click", (event) => {
    const place = spec.places[rowAt(event)];
    if (place) change({ layer: place[0], attention: place[1] });
  });
  const say = () => { caption.textContent = "Attention heads at " + stepText(state.step) + ": layers upwards, heads across. Click one to follow it everywhere."; };
  const fit = (wide) => {
    cell = Math.max(4, Math.min(26, Math.floor((wide - 60) / columns)));
    grid.style.width = left + cell * columns + 2 + "px";
    grid.style.height = cell * rows + 18 + "px";
    say();
  };
  const draw = () => {
    const ratio = devicePixelRatio;
    fit(canvas.clientWidth);
    const context = grid.getContext("2d"), column = nearestIndex(spec.steps, state.step);
    grid.width = (left + cell * columns + 2) * ratio;
    grid.height = (cell * rows + 18) * ratio;
    context.scale(ratio, ratio);
    const gap = cell > 8 ? 1 : 0, marked = chosenRows(spec);
    const box = ([layer, head], out) => [left + cell * head + gap - out, cell * (rows - 1 - layer) + gap - out, cell - 2 * gap + 2 * out, cell - 2 * gap + 2 * out];
    spec.places.forEach((place, row) => {
      const value = spec.values[row][column];
      if (value === null) { drawMissing(context, ...box(place, 0)); return; }
      context.fillStyle = "rgb(" + colourOf(spec, value).join() + ")";
      context.fillRect(...box(place, 0));
      if (spec.palette === "vlag" && value < 0) {
        const [x, y, wide] = box(place, 0);
        context.fillStyle = "#000";
        context.fillRect(x + wide / 2 - 1, y + wide / 2 - 1, 2, 2);
      }
    });
    for (const row of marked) frame(context, ...box(spec.places[row], -1));
    gridLabels(context, { rows, columns, cell, left });
    grid.setAttribute("aria-label", spec.title + ": attention heads at " + stepText(state.step) + ", " + readout(spec));
  };
  return { fit, draw };
}

function gridLabels(context, { rows, columns, cell, left }) {
  const every = Math.ceil(14 / cell);
  context.font = "11px " + ink.font;
  context.textBaseline = "middle";
  context.fillStyle = ink.quiet;
  context.textAlign = "right";
  for (let layer = 0; layer < rows; layer += every) context.fillText(layer, left - 6, cell * (rows - 1 - layer) + cell / 2);
  context.textAlign = "center";
  for (let head = 0; head < columns; head += every) context.fillText(head, left + cell * head + cell / 2, cell * rows + 9);
}
