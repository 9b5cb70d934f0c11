"use strict";
// One state drives every panel. Panels register a function in `panels`.
const root = document.documentElement;
const state = { step: 0, layer: null, head: null, axis: "steps", spacing: "linear" };
const panels = [];
let DATA = null;
let ink = {};
let pending = false;

function all(selector, within) { return Array.from((within || document).querySelectorAll(selector)); }
function make(tag, attributes, text) {
  const node = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  return node;
}

async function readData() {
  const block = JSON.parse(document.getElementById("data").textContent);
  if (block.encoding === "json") return block.data;
  const bytes = Uint8Array.from(atob(block.data), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).json();
}

function bytesOf(text) { return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)); }

function change(patch) {
  let same = true;
  for (const [key, value] of Object.entries(patch)) {
    if (state[key] !== value) { state[key] = value; same = false; }
  }
  if (same) return;
  if (patch.step !== undefined || patch.layer !== undefined || patch.head !== undefined) writeHash();
  schedule();
}

function schedule() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => { pending = false; drawAll(); });
}

function drawAll() {
  for (const draw of panels) draw();
}

function nearestIndex(steps, step) {
  let best = 0;
  for (let i = 1; i < steps.length; i++) {
    if (Math.abs(steps[i] - step) < Math.abs(steps[best] - step)) best = i;
  }
  return best;
}

function examplesAt(step) {
  const { steps, examples } = DATA;
  const exact = steps.indexOf(step);
  if (exact >= 0 && examples[exact] !== null) return examples[exact];
  const last = steps.length - 1;
  if (examples[last] === null || !steps[last]) return null;
  return step * examples[last] / steps[last];
}

function axisValue(step) {
  if (state.axis === "steps") return step;
  const examples = examplesAt(step);
  return examples === null ? step : examples;
}

function stepText(step) {
  const examples = examplesAt(step);
  return "step " + step + (examples === null ? "" : ", " + Math.round(examples) + " examples");
}

function number(value) {
  if (value === null || value === undefined || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  let text;
  if (size >= 1e6) text = value.toExponential(2).replace("e+", "e");
  else if (Number.isInteger(value)) text = String(value);
  else if (size >= 0.01) text = value.toFixed(size < 1 ? 3 : size < 10 ? 2 : size < 100 ? 1 : 0);
  else text = value.toExponential(1);
  return text.replace("-", "−");
}

// The value as it is carried: four digits.
function exact(value) {
  return value === null || value === undefined ? "–" : String(Number(value.toPrecision(4))).replace("-", "−");
}

function span(low, high) {
  return low === null || low === undefined || high === null ? "" : "[" + number(low) + ", " + number(high) + "]";
}

function layerName(layer) { return layer === -1 ? "embed" : "layer " + layer; }

// Untrusted text: control and direction characters become visible.
function visible(text) {
  return text.replace(/[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (letter) => {
    const code = letter.charCodeAt(0);
    if (code < 0x20) return String.fromCharCode(0x2400 + code);
    return "⟨U+" + code.toString(16).toUpperCase().padStart(4, "0") + "⟩";
  });
}

// Deep links: #step=24&layer=3&head=negative
function writeHash() {
  const parts = ["step=" + state.step];
  if (state.layer !== null) parts.push("layer=" + state.layer);
  if (state.head !== null) parts.push("head=" + state.head);
  try { history.replaceState(null, "", "#" + parts.join("&")); } catch (error) { /* a sandboxed frame */ }
}

function readHash() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const notice = document.getElementById("notice");
  if (notice) notice.textContent = "";
  const patch = {};
  if (wanted.has("step") && wanted.get("step") !== "" && Number.isFinite(Number(wanted.get("step")))) {
    const asked = Number(wanted.get("step"));
    patch.step = DATA.steps[nearestIndex(DATA.steps, asked)];
    if (patch.step !== asked && notice) {
      notice.textContent = "Step " + asked + " was not saved; showing the nearest, step " + patch.step + ".";
    }
  }
  if (wanted.has("layer")) {
    const layer = Number(wanted.get("layer"));
    const known = all("#layer option").some((option) => option.value === String(layer));
    patch.layer = wanted.get("layer") !== "" && known ? layer : null;
  }
  if (wanted.has("head") && all("input[name=head]").some((input) => input.value === wanted.get("head"))) {
    patch.head = wanted.get("head");
  }
  Object.assign(state, patch);
  if (DATA && root.dataset.ready) schedule();
}

function readInk() {
  const style = getComputedStyle(root);
  for (const key of ["ink", "paper", "quiet", "line", "panel", "accent", "jump", "font"]) {
    ink[key] = style.getPropertyValue("--" + key).trim();
  }
  ink.dark = root.dataset.theme === "dark";
}
