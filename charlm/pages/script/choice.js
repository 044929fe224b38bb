// ---- The state of the page, and its address -------------------------------------------------------------------------

const [[firstLayer, firstUnit], ...others] = facts.liveliest;
const firstSignal = facts.signals[0].name;
const defaults = {
  signal: firstSignal,
  layer: firstLayer,
  unit: firstUnit,
  cursor: 0,
  colour: 'unit',
  find: '',
  fold: false,
  select: null, // a stretch
  threshold: null, // as a share of the scale; null: 0.3, and 0.9 for gates
  apart: true,
  kept: others.map(([layer, unit]) => ({ signal: firstSignal, layer, unit })), // units that stay in the chart
  window: 60, // characters in the chart; 0: all
};
const state = { ...defaults, probe: null }; // the probe is the place under the pointer

const windows = [...element('window').options].map((option) => Number(option.value));

const whole = (allowed) => (text) => (/^\d{1,9}$/.test(text) && allowed(Number(text)) ? Number(text) : undefined);
const oneOf = (...names) => (text) => (names.includes(text) ? text : undefined);
const choice = {
  read: (text) => (/^[01]$/.test(text) ? text === '1' : undefined),
  write: (value) => (value ? '1' : '0'),
};

/** How each part of the state is written in the address. Invalid values are ignored. */
const fields = {
  signal: { read: oneOf(...signals.keys()), write: String },
  layer: { read: whole((layer) => facts.layers.includes(layer)), write: String },
  unit: { read: whole((unit) => unit < units), write: String },
  cursor: { read: whole((place) => place < length), write: String },
  colour: { read: oneOf('unit', 'surprisal'), write: String },
  find: { read: String, write: String },
  fold: choice,
  select: { read: readStretch, write: (stretch) => (stretch ? `${stretch[0]}-${stretch[1] - 1}` : '') },
  threshold: { read: readShare, write: (share) => share ?? '' },
  apart: choice,
  kept: { read: readUnits, write: (list) => list.map((which) => Object.values(which).join('.')).join(' ') },
  window: { read: whole((size) => windows.includes(size)), write: String },
};

function readStretch(text) {
  const found = /^(\d{1,9})-(\d{1,9})$/.exec(text);
  if (!found) return undefined;
  const [from, last] = [Number(found[1]), Number(found[2])];
  return from <= last && last < length ? [from, last + 1] : undefined;
}

function readShare(text) {
  return /^(0|0?\.\d+|1)$/.test(text) ? Number(text) : undefined;
}

/** Return the units of a text such as "hidden.0.41 cell.1.7". */
function readUnits(text) {
  const list = text.split(' ').map((word) => {
    const [signal, layer = '', unit = ''] = word.split('.');
    return { signal: fields.signal.read(signal), layer: fields.layer.read(layer), unit: fields.unit.read(unit) };
  });
  return list.filter((which) => !Object.values(which).includes(undefined)).slice(0, 24);
}

function readAddress() {
  const given = new URLSearchParams(location.hash.slice(1));
  const read = { ...defaults };
  for (const [name, field] of Object.entries(fields)) {
    const value = given.has(name) ? field.read(given.get(name)) : undefined;
    if (value !== undefined) read[name] = value;
  }
  return read;
}

function writeAddress() {
  const said = new URLSearchParams();
  for (const [name, field] of Object.entries(fields)) {
    const text = String(field.write(state[name]));
    if (text !== String(field.write(defaults[name]))) said.set(name, text);
  }
  if (`#${said}` !== (location.hash || '#')) history.replaceState(null, '', `#${said}`);
}

const touched = new Set(Object.keys(state));
let frame = 0;

/** Change the state; views are redrawn in the next frame. */
function change(news) {
  if (news.signal && !activity.has(news.signal)) {
    load(news.signal).then(() => change(news));
    return;
  }
  for (const [name, value] of Object.entries(news)) {
    if (state[name] === value) continue;
    state[name] = value;
    touched.add(name);
  }
  if (touched.size && !frame) frame = requestAnimationFrame(render);
}

function render() {
  cancelAnimationFrame(frame);
  frame = 0;
  const news = new Set(touched);
  touched.clear();
  for (const [draw, ...reads] of views) if (reads.some((name) => news.has(name))) draw(news);
}

/** Return a debounced function: it does ``work`` when it has not been called for this long. */
function whenStill(work, milliseconds) {
  let timer = 0;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, milliseconds);
  };
}

const here = () => state.probe ?? state.cursor;
const chosen = () => ({ signal: state.signal, layer: state.layer, unit: state.unit });
const sameUnit = (one, other) => nameOf(one) === nameOf(other);
