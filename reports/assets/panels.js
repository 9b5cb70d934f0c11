// Panels near the screen are drawn at once, the others when nothing else is to do.
const panels = [];
const AHEAD = 500;
let idle = null;

// Register what draws a panel; without a box it is always drawn.
function addPanel(draw, box, first) {
  const panel = { draw, box: box || null, near: !box, stale: true };
  if (box) { box.panel = panel; watcher.observe(box); }
  if (first) panels.unshift(panel); else panels.push(panel);
}

// A panel that is made when it is first near, or when nothing else is to do; its room is kept now.
function lazyPanel(box, { keep, maker }) {
  let draw = null;
  keep(box);
  addPanel(() => {
    if (!box.clientWidth) return;
    draw = draw || maker(box);
    draw();
  }, box);
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    const panel = entry.target.panel;
    panel.near = entry.isIntersecting;
    if (panel.near && panel.stale) schedule();
  }
}, { rootMargin: AHEAD + "px 0px" });

function schedule() {
  if (pending) return;
  pending = true;
  delete root.dataset.settled;
  requestAnimationFrame(() => { pending = false; drawNear(); });
}

function drawOne(panel) {
  panel.draw();
  panel.stale = false;
}

function drawNear() {
  for (const panel of panels) panel.stale = true;
  for (const panel of panels) if (panel.near) drawOne(panel);
  clearTimeout(idle);
  idle = setTimeout(catchUp, 120);
}

// What is off the screen keeps its label and its table true to the state, a little at a time.
function catchUp() {
  const until = performance.now() + 12;
  for (const panel of panels) {
    if (!panel.stale) continue;
    drawOne(panel);
    if (performance.now() > until) { idle = setTimeout(catchUp, 16); return; }
  }
  root.dataset.settled = "1";
}

function drawAll() { for (const panel of panels) drawOne(panel); }

// Before the first observation: what the screen shows, by its place.
function drawFirst() {
  for (const panel of panels) {
    if (panel.box) panel.near = panel.box.clientWidth > 0 && panel.box.getBoundingClientRect().top < innerHeight + AHEAD;
  }
  drawNear();
}
