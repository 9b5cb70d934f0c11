"use strict";
// One state drives every panel. `over` is what the pointer is on: it is shown, not kept.
const root = document.documentElement;
const state = { step: 0, layer: null, attention: null, head: null, axis: "steps", spacing: "linear", over: null };
const KEPT = ["step", "layer", "attention", "head"];
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
  if (KEPT.some((key) => patch[key] !== undefined)) writeHash();
  schedule();
}

// Point at a layer and attention head, or at nothing.
function pointAt(layer, attention) {
  const before = state.over;
  if (layer === null ? before === null : before && before.layer === layer && before.attention === attention) return;
  state.over = layer === null ? null : { layer, attention };
  schedule();
}

function focus() { return state.over || state; }

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

// Deep links: #step=24&layer=3&head=2&adapter=negative. A head by name is an adapter's, too.
function writeHash() {
  const parts = ["step=" + state.step];
  if (state.layer !== null) parts.push("layer=" + state.layer);
  if (state.attention !== null) parts.push("head=" + state.attention);
  if (state.head !== null) parts.push("adapter=" + state.head);
  try { history.replaceState(null, "", "#" + parts.join("&")); } catch (error) { /* a sandboxed frame */ }
}

function readHash() {
  const wanted = new URLSearchParams(location.hash.slice(1));
  const notice = document.getElementById("notice");
  if (notice) notice.textContent = "";
  showTarget();
  const patch = {};
  if (wanted.has("step") && wanted.get("step") !== "" && Number.isFinite(Number(wanted.get("step")))) {
    const asked = Number(wanted.get("step"));
    patch.step = DATA.steps[nearestIndex(DATA.steps, asked)];
    if (patch.step !== asked && notice) {
      notice.textContent = "Step " + asked + " was not saved; showing the nearest, step " + patch.step + ".";
    }
  }
  for (const [name, key, from] of [["layer", "layer", "#layer"], ["head", "attention", "#attention-head"]]) {
    if (!wanted.has(name)) continue;
    const asked = wanted.get(name), known = all(from + " option").some((option) => option.value === asked);
    if (name === "layer" || known || /^\d*$/.test(asked)) patch[key] = asked !== "" && known ? Number(asked) : null;
  }
  for (const name of [...wanted.getAll("adapter"), ...wanted.getAll("head")]) {
    if (all("input[name=head]").some((input) => input.value === name)) patch.head = name;
  }
  Object.assign(state, patch);
  if (DATA && root.dataset.ready) schedule();
}

// A link to a part that is folded unfolds it.
function showTarget() {
  const target = location.hash.length > 1 && document.getElementById(decodedHash());
  if (!target) return;
  for (let node = target; node; node = node.parentElement) if (node.tagName === "DETAILS") node.open = true;
  requestAnimationFrame(() => target.scrollIntoView());
}

function decodedHash() {
  try { return decodeURIComponent(location.hash.slice(1)); } catch (error) { return ""; }
}

function readInk() {
  const style = getComputedStyle(root);
  for (const key of ["ink", "paper", "quiet", "line", "edge", "panel", "accent", "jump", "font"]) {
    ink[key] = style.getPropertyValue("--" + key).trim();
  }
  ink.dark = root.dataset.theme === "dark";
}
