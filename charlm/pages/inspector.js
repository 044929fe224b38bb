/* The inspector: what every unit held after each character of a text, and what the network expected next.

   Read it from top to bottom: the numbers, what is chosen, and then a part for each figure of the page. Nothing draws
   itself: change({ unit: 3 }) notes what is new, and with the next frame the views that read it are drawn again.

   A place is the position of a character, from 0. A stretch is [from, to) of places. A level is a number as it came:
   −127 is the bottom of its unit's scale, 127 the top, −128 no number at all. */

const element = (id) => document.getElementById(id);

function make(tag, className = '', ...content) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...content);
  return made;
}

function makeShape(tag, attributes, ...content) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...content);
  return made;
}

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);


// ---- The numbers ----------------------------------------------------------------------------------------------------

if (!globalThis.DecompressionStream) {
  element('trouble').textContent = 'This page needs a browser of 2023 or later.';
  element('trouble').hidden = false;
}

const facts = JSON.parse(element('facts').textContent);
const { length, units } = facts; // characters in the text, units in each layer
const signals = new Map(facts.signals.map((signal) => [signal.name, signal]));
const activity = new Map(); // a signal's name → its levels, layer by layer, unit by unit, over time

/** Decode what a script element holds (base64 of deflated bytes), and forget the element. */
async function unpack(id) {
  const packed = element(id);
  const binary = atob(packed.textContent);
  const bytes = new Uint8Array(binary.length);
  for (let index = 0; index < bytes.length; index++) bytes[index] = binary.charCodeAt(index);
  packed.remove();
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Response(stream).arrayBuffer();
}

const loading = new Map();

function load(name) {
  if (!loading.has(name)) {
    loading.set(name, unpack(`signal-${name}`).then((buffer) => activity.set(name, new Int8Array(buffer))));
  }
  return loading.get(name);
}

/** The levels of a unit over time; undefined while its signal is being decoded. */
function levelsOf({ signal, layer, unit }) {
  const start = (facts.layers.indexOf(layer) * units + unit) * length;
  return activity.get(signal)?.subarray(start, start + length);
}

/** The range of a unit, and the distance of neighbouring levels. */
function scaleOf({ signal, layer, unit }) {
  const { low, high } = signals.get(signal);
  const row = facts.layers.indexOf(layer);
  return { low: low[row][unit], high: high[row][unit], step: (high[row][unit] - low[row][unit]) / 254 };
}

/** What a unit held over time, as a function of the place; not a number while its signal is being decoded. */
function course(which) {
  const levels = levelsOf(which);
  const { low, step } = scaleOf(which);
  return (place) => (levels && levels[place] !== -128 ? low + (levels[place] + 127) * step : NaN);
}

/** The ends of a unit's scale in words. */
const rangeOf = (which) => {
  const { low, high } = scaleOf(which);
  return [low, high].map((end) => written(end, Number.isInteger(end) ? 0 : 2));
};

const valueOf = (which, place) => course(which)(place);

function mean(values, from, to) {
  let sum = 0;
  for (let place = from; place < to; place++) sum += values(place);
  return sum / (to - from);
}

function written(value, digits) {
  if (Number.isNaN(value)) return '–';
  const text = Math.abs(value) >= 1e6 ? value.toPrecision(4) : value.toFixed(digits);
  return text.replace(/^-(?=[0.]*$)/, '').replace('-', '−');
}

/** A unit's value, with as many digits as its levels can tell apart. */
const writtenValue = (which, value) => written(value, clamp(Math.ceil(-Math.log10(scaleOf(which).step)), 0, 6));
const grouped = (number) => number.toLocaleString('en');
const counted = (number, one, many = `${one}s`) => `${grouped(number)} ${number === 1 ? one : many}`;
const nameOf = ({ signal, layer, unit }) => `${signal} ${layer}:${unit}`;

const [characters, guesses, probabilities, surprise] = await (async () => {
  const wide = facts.symbols.length > 65535 ? Uint32Array : Uint16Array;
  return [
    new wide(await unpack('characters')), // (length)
    new wide(await unpack('guesses')), // (guesses, length): first the likeliest next symbol at every place
    new Float32Array(await unpack('probabilities')), // (guesses, length)
    new Float32Array(await unpack('surprise')), // (length): bits; not a number at the first place
  ];
})();

const markOf = (place) => facts.marks[characters[place]];

/** A symbol's mark where it stands alone, and nothing around it shows a space. */
const alone = (symbol) => (facts.marks[symbol] === ' ' ? '␣' : facts.marks[symbol]);

/** What a symbol is called where its mark does not say it: U+000A, byte 0xC3, <unk>. */
function callName(symbol) {
  const name = facts.symbols[symbol];
  const point = name.codePointAt(0).toString(16).toUpperCase();
  if ([...name].length > 1) return name;
  return facts.unit === 'byte' ? `byte 0x${point.padStart(2, '0')}` : `U+${point.padStart(4, '0')}`;
}


// ---- What is chosen, and the address that says so -------------------------------------------------------------------

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

/** How each choice stands in the address. What cannot be read is passed over. */
const fields = {
  signal: { read: oneOf(...signals.keys()), write: String },
  layer: { read: whole((layer) => facts.layers.includes(layer)), write: String },
  unit: { read: whole((unit) => unit < units), write: String },
  cursor: { read: whole((place) => place < length), write: String },
  colour: { read: oneOf('unit', 'surprise'), write: String },
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

/** Units as in "hidden.0.41 cell.1.7". */
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

/** Choose something else; the views follow with the next frame. */
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

/** Return a function that does ``work`` once nobody has called it for a while: for what need not keep up. */
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


// ---- Colour ---------------------------------------------------------------------------------------------------------

let palette; // CSS colours of the levels from −128 on
let pixels; // the same, as canvases want them
let surprisePalette; // from 0 bits to as many as a blind guess

/** Take the colours from the style sheet, which knows light and dark. */
function mixColours() {
  const style = getComputedStyle(document.documentElement);
  const [low, middle, high, surprised] = ['--low', '--middle', '--high', '--surprise'].map((name) =>
    [1, 3, 5].map((at) => parseInt(style.getPropertyValue(name).trim().slice(at, at + 2), 16)));
  const mix = (from, to, share) => from.map((value, index) => Math.round(value + (to[index] - value) * share));
  const shades = Array.from({ length: 256 }, (_, index) => {
    const share = clamp((index - 1) / 127 - 1, -1, 1); // −1 low, 0 middle, 1 high
    return mix(middle, share < 0 ? low : high, index ? Math.abs(share) : 0);
  });
  palette = shades.map((shade) => `rgb(${shade})`);
  pixels = Uint32Array.from(shades, ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red);
  surprisePalette = Array.from({ length: 101 }, (_, index) => `rgb(${mix(middle, surprised, index / 100)})`);
}

/** Return place → the colour that the text has there. */
function shader() {
  if (state.colour === 'surprise') {
    const share = (place) => clamp(surprise[place] / facts.blind, 0, 1) || 0; // the first place has no surprise
    return (place) => surprisePalette[Math.round(100 * share(place))];
  }
  const levels = levelsOf(chosen());
  return (place) => palette[levels[place] + 128];
}


// ---- The text -------------------------------------------------------------------------------------------------------

const text = element('text');
const spans = [];
const placeOfSpan = new Map();
const flags = new Uint8Array(length); // what a character is besides its colour
const FLAGS = ['match', 'agrees', 'selected', 'probe', 'cursor'];
const [MATCH, AGREES, SELECTED, PROBE, CURSOR] = FLAGS.map((_, index) => 1 << index);
const CLASSES = Array.from({ length: 32 }, (_, bits) => FLAGS.filter((_, index) => bits & (1 << index)).join(' '));
const painted = new Array(length).fill('');

function writeText() {
  const content = document.createDocumentFragment();
  for (let place = 0; place < length; place++) {
    const span = make('span', '', markOf(place));
    spans.push(span);
    placeOfSpan.set(span, place);
    content.append(span);
    if (facts.symbols[characters[place]] === '\n') content.append('\n');
  }
  text.append(content);
}

/** The first place at or below a height of the text: lines go down, so a search by halves finds it. */
function firstPlaceBelow(height) {
  let [from, to] = [0, length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (spans[middle].offsetTop < height) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Colour what can be seen, with a screen to spare on either side; scrolling calls for the rest. */
function paintText() {
  const [top, screen] = [text.scrollTop, text.clientHeight];
  paint(firstPlaceBelow(top - screen), firstPlaceBelow(top + 2 * screen));
}

function paint(from, to) {
  const shade = shader();
  for (let place = from; place < to; place++) {
    const look = shade(place) + flags[place];
    if (painted[place] === look) continue;
    painted[place] = look;
    spans[place].style.backgroundColor = shade(place);
    spans[place].className = CLASSES[flags[place]];
  }
}

/** Set a flag on stretches and nowhere else. */
function flag(bit, stretches) {
  for (let place = 0; place < length; place++) flags[place] &= ~bit;
  for (const [from, to] of stretches) for (let place = from; place < to; place++) flags[place] |= bit;
}

function drawText(news) {
  if (news.has('find') || news.has('fold')) flag(MATCH, found.stretches);
  if (news.has('select')) flag(SELECTED, state.select ? [state.select] : []);
  if (news.has('probe')) flag(PROBE, state.probe === null ? [] : [[state.probe, state.probe + 1]]);
  if (news.has('cursor')) flag(CURSOR, [[state.cursor, state.cursor + 1]]);
  paintText();
}

/** The other views share the room with the text, so this comes after them. */
function keepInSight(news) {
  if (news.has('probe') && probedFrom === text) return;
  showPlace(here());
  paintText();
}

/** Scroll the text, and only the text, until a place can be seen. */
function showPlace(place) {
  const { offsetTop, offsetHeight } = spans[place];
  const [top, screen] = [text.scrollTop, text.clientHeight];
  const inSight = offsetTop >= top + offsetHeight && offsetTop + 2 * offsetHeight <= top + screen;
  if (!inSight) text.scrollTop = offsetTop - screen / 2;
}

/** Go to a place from far below, where the text itself may be out of sight. */
function goTo(place) {
  change({ cursor: place, probe: null });
  const { top, bottom } = text.getBoundingClientRect();
  if (bottom > 0 && top < innerHeight) return;
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  text.scrollIntoView({ block: 'center', behavior: still ? 'auto' : 'smooth' });
}

/** How many characters of the text stand before a boundary of the browser's own selection. */
function placesBefore(node, offset) {
  if (node === text) {
    let before = node.childNodes[offset - 1];
    while (before && !placeOfSpan.has(before)) before = before.previousSibling;
    return before ? placeOfSpan.get(before) + 1 : 0;
  }
  const span = placeOfSpan.has(node) ? node : node.parentNode;
  if (placeOfSpan.has(span)) return placeOfSpan.get(span) + (offset > 0 ? 1 : 0);
  return placeOfSpan.get(node.previousSibling) + 1; // in the line break behind a newline
}

function takeSelection() {
  const selection = getSelection();
  if (!selection.rangeCount || selection.isCollapsed || !text.contains(selection.anchorNode)) return;
  const range = selection.getRangeAt(0);
  const from = text.contains(range.startContainer) ? placesBefore(range.startContainer, range.startOffset) : 0;
  const to = text.contains(range.endContainer) ? placesBefore(range.endContainer, range.endOffset) : length;
  if (from < to) change({ select: [from, to], cursor: to - 1 });
}

function unselect() {
  getSelection().removeAllRanges();
  change({ select: null });
}


// ---- One place in numbers -------------------------------------------------------------------------------------------

const bits = (value) => (Number.isNaN(value) ? 'nothing foretold it' : `${written(value, 2)} bits of surprise`);

function drawReadout() {
  const place = here();
  const mark = make('span', 'mark', alone(characters[place]));
  mark.style.backgroundColor = shader()(place);
  element('place').replaceChildren(
    `Place ${grouped(place)} of ${grouped(length)}: `, mark,
    ` ${callName(characters[place])}, ${bits(surprise[place])}`);
  const held = Array.from(signals.keys(), (signal) => {
    const which = { ...chosen(), signal };
    const value = make('dd', '', writtenValue(which, valueOf(which, place)));
    return make('div', signal === state.signal ? 'current' : '', make('dt', '', signal), value);
  });
  element('held').replaceChildren(make('div', '', `Unit ${state.layer}:${state.unit}`), ...held);
  element('sum').replaceChildren(...stepInWords(place).map((line) => make('span', '', line)));
  const share = state.colour === 'unit' ? shareOf(chosen())(place) : surprise[place] / facts.blind;
  element('scale').style.setProperty('--mark', Number.isNaN(share) ? '-99rem' : `${clamp(share, 0, 1) * 100}%`);
}

/** The cell's own arithmetic at a place, line by line, where all its terms were traced. */
function stepInWords(place) {
  const traced = (...names) => names.every((name) => activity.has(name));
  const value = (signal, at = place) => (at < 0 ? 0 : valueOf({ ...chosen(), signal }, at));
  const term = (number, name) => `${number < 0 ? `(${written(number, 2)})` : written(number, 2)} ${name}`;
  const now = (signal) => term(value(signal), signal);
  const before = (signal) => term(value(signal, place - 1), `${signal} before`);
  const result = (signal) => written(value(signal), 2);
  const lines = [];
  if (facts.kind === 'lstm' && traced('cell', 'forget', 'input', 'candidate')) {
    const sum = `${now('forget')} × ${before('cell')} + ${now('input')} × ${now('candidate')}`;
    lines.push(`cell = ${sum} ≈ ${result('cell')}`);
  }
  if (facts.kind === 'lstm' && traced('hidden', 'output', 'cell')) {
    lines.push(`hidden = ${now('output')} × ${term(Math.tanh(value('cell')), 'tanh(cell)')} ≈ ${result('hidden')}`);
  }
  if (facts.kind === 'gru' && traced('hidden', 'update', 'candidate')) {
    const fresh = `${term(1 - value('update'), '(1 − update)')} × ${now('candidate')}`;
    lines.push(`hidden = ${fresh} + ${now('update')} × ${before('hidden')} ≈ ${result('hidden')}`);
  }
  return lines;
}

function drawExpected() {
  const place = here();
  const next = place + 1 < length ? characters[place + 1] : -1;
  element('expected').replaceChildren(...Array.from({ length: facts.guesses }, (_, rank) => {
    const symbol = guesses[rank * length + place];
    const percent = probabilities[rank * length + place] * 100;
    const bar = make('div', 'bar');
    bar.style.width = `${percent}%`;
    const share = `${percent < 0.05 ? '<0.1' : written(percent, 1)} %`;
    const cells = [make('td', 'mark', alone(symbol)), make('td', '', bar), make('td', 'percent', share)];
    const row = make('tr', symbol === next ? 'came' : '', ...cells);
    row.title = callName(symbol);
    return row;
  }));
  const percent = written(100 * 2 ** -surprise[place + 1], 2);
  element('came').textContent = next < 0
    ? 'Here the text ends.'
    : `Then came ${alone(next)} (${callName(next)}), which it had given ${percent} %: ${bits(surprise[place + 1])}.`;
}

/** Tell those who do not see the screen where the cursor is. */
const announce = whenStill(() => {
  element('live').textContent = `Place ${state.cursor}: ${atPlace(state.cursor)}`;
}, 200);

/** A place in a few words. */
function atPlace(place, which = chosen()) {
  const value = writtenValue(which, valueOf(which, place));
  return `${alone(characters[place])}, ${nameOf(which)} = ${value}, ${bits(surprise[place])}`;
}

/** A label at the pointer. */
function showTip(event, words) {
  const tip = element('tip');
  tip.hidden = words === null;
  if (tip.hidden) return;
  tip.textContent = words;
  const left = clamp(event.clientX + 12, 4, innerWidth - tip.offsetWidth - 4);
  const above = event.clientY - tip.offsetHeight - 10;
  tip.style.translate = `${left}px ${above > 0 ? above : event.clientY + 20}px`;
}


// ---- Guesses beneath every character --------------------------------------------------------------------------------

const strip = element('strip');
let stripFrom = 0;

/** Move a window of ``size`` places no further than needed to hold ``place`` with some room around it. */
function follow(from, size, place) {
  const room = Math.min(Math.floor(size / 8), 12);
  if (place < from - size || place > from + 2 * size) from = place - (size >> 1);
  from = Math.min(from, place - room);
  from = Math.max(from, place - size + 1 + room);
  return clamp(from, 0, Math.max(length - size, 0));
}

function drawStrip() {
  const letter = 1.05 * parseFloat(getComputedStyle(strip).fontSize);
  const columns = Math.min(length, Math.max(8, Math.floor(strip.clientWidth / letter)));
  const pointed = probedFrom === strip && state.probe !== null; // under the pointer nothing moves by itself
  stripFrom = pointed ? clamp(stripFrom, 0, length - columns) : follow(stripFrom, columns, here());
  const shade = shader();
  const rows = Array.from({ length: facts.guesses + 1 }, (_, rank) => {
    const row = make('tr');
    for (let place = stripFrom; place < stripFrom + columns; place++) {
      const cell = make(rank ? 'td' : 'th', place === here() ? 'here' : '');
      row.append(cell);
      if (rank === 0) {
        cell.append(make('span', '', markOf(place)));
        cell.style.backgroundColor = shade(place);
      } else if (place > 0) {
        const guess = (rank - 1) * length + place - 1;
        cell.append(make('span', guesses[guess] === characters[place] ? 'came' : '', alone(guesses[guess])));
        cell.style.backgroundColor = surprisePalette[Math.round(probabilities[guess] * 100)];
      }
    }
    return row;
  });
  strip.replaceChildren(...rows);
}

function placeInStrip(event) {
  const cell = event.target.closest('td, th');
  return cell ? stripFrom + cell.cellIndex : null;
}


// ---- Over time: a line for each chosen unit, and a heat map of all --------------------------------------------------

const COLUMNS = 1000; // no figure is wider, in drawn points
let windowFrom = 0;
let windowTo = length;

/** Cut [from, to) into at most COLUMNS bins and call ``visit`` with each bin's number, first place and end. */
function eachBin(from, to, visit) {
  const bins = Math.min(to - from, COLUMNS);
  for (let bin = 0; bin < bins; bin++) {
    const start = from + Math.floor((bin * (to - from)) / bins);
    visit(bin, start, from + Math.floor(((bin + 1) * (to - from)) / bins));
  }
  return bins;
}

/** Draw numbers between 0 (bottom) and 1 (top) as a line over an area; where bins hold several, from least to most. */
function drawLine(svg, share) {
  const [tops, bottoms] = [[], []];
  const bins = eachBin(windowFrom, windowTo, (bin, start, end) => {
    let [least, most] = [Infinity, -Infinity];
    for (let place = start; place < end; place++) {
      least = Math.min(least, share(place));
      most = Math.max(most, share(place));
    }
    if (!(least <= most)) [least, most] = [0.5, 0.5]; // no number
    tops.push(`${bin + 0.5} ${(1 - most).toFixed(4)}`);
    bottoms.push(`${bin + 0.5} ${(1 - least).toFixed(4)}`);
  });
  const several = bins < windowTo - windowFrom;
  const line = [...tops, ...(several ? bottoms.reverse() : [])].join('L');
  const area = several ? line : `0.5 0.5L${line}L${bins - 0.5} 0.5`;
  svg.setAttribute('viewBox', `0 0 ${bins} 1`);
  svg.replaceChildren(
    makeShape('path', { class: 'area', d: `M${area}Z` }),
    makeShape('path', { class: 'line', d: `M${line}` }));
}

function drawBars(svg, share) {
  let path = '';
  const bins = eachBin(windowFrom, windowTo, (bin, start, end) => {
    let most = 0;
    for (let place = start; place < end; place++) most = Math.max(most, share(place) || 0);
    path += `M${bin + 0.1} 1V${(1 - Math.min(most, 1)).toFixed(4)}h0.8V1`;
  });
  svg.setAttribute('viewBox', `0 0 ${bins} 1`);
  svg.replaceChildren(makeShape('path', { class: 'area', d: path }));
}

function drawHeat(canvas, rows, from, to) {
  const columns = Math.min(to - from, COLUMNS);
  const image = new ImageData(columns, rows.length);
  const words = new Uint32Array(image.data.buffer);
  rows.forEach((levels, row) => eachBin(from, to, (bin, start, end) => {
    let sum = 0;
    for (let place = start; place < end; place++) sum += levels[place];
    words[row * columns + bin] = pixels[Math.round(sum / (end - start)) + 128];
  }));
  canvas.width = columns;
  canvas.height = rows.length;
  canvas.getContext('2d').putImageData(image, 0, 0);
}

const shareOf = (which) => {
  const levels = levelsOf(which);
  return (place) => (levels ? (levels[place] + 127) / 254 : NaN);
};

/** The rows of the chart: surprise, the unit that is chosen, and those that are kept. */
const lines = [];

function layLines() {
  const shown = [chosen(), ...state.kept.filter((which) => !sameUnit(which, chosen()))];
  lines.length = 0;
  lines.push({ of: null, row: lineRow('surprise', `0 to ${written(facts.blind, 1)} bits`, 'bits') });
  shown.forEach((which, index) => {
    const row = lineRow(nameOf(which), rangeOf(which).join(' to '), index ? '' : 'current', index ? which : null);
    lines.push({ of: which, row });
  });
  element('lines').replaceChildren(...lines.map(({ row }) => row));
  const isKept = state.kept.some((which) => sameUnit(which, chosen()));
  element('keep').textContent = isKept ? 'Take this unit out of the chart' : 'Keep this unit in the chart';
}

function lineRow(name, range, kind, removable = null) {
  const label = make('span', 'name', make('span', '', name, make('small', '', range)));
  if (removable) {
    const button = make('button', '', '×');
    button.type = 'button';
    button.setAttribute('aria-label', `Take ${name} out of the chart`);
    button.addEventListener('click', () => change({ kept: state.kept.filter((which) => !sameUnit(which, removable)) }));
    label.append(button);
  }
  const svg = makeShape('svg', { preserveAspectRatio: 'none', role: 'img', 'aria-label': `${name} over time` });
  return make('div', `row ${kind}`, label, make('div', `plot ${kind}`, svg), make('span', 'value'));
}

function toggleKept() {
  const isKept = state.kept.some((which) => sameUnit(which, chosen()));
  change({ kept: isKept ? state.kept.filter((which) => !sameUnit(which, chosen())) : [...state.kept, chosen()] });
}

function drawTimeline(news) {
  const has = (...names) => names.some((name) => news.has(name));
  const size = Math.min(state.window || length, length);
  const pointed = probedFrom?.id === 'timeline' && state.probe !== null;
  const held = pointed && state.cursor >= windowFrom && state.cursor < windowTo;
  const from = held ? windowFrom : follow(windowFrom, size, pointed ? state.cursor : here());
  const moved = has('window', 'theme') || from !== windowFrom || windowTo !== from + size;
  [windowFrom, windowTo] = [from, from + size];
  if (has('signal', 'layer', 'unit', 'kept', 'start')) layLines();
  if (moved || has('signal', 'layer', 'unit', 'kept', 'loaded')) drawLines();
  if (moved || has('signal', 'layer')) drawHeatMap();
  if (moved || has('find', 'fold', 'size')) drawAxis();
  if (has('signal', 'layer', 'unit', 'theme')) drawHeat(element('whole').firstChild, [levelsOf(chosen())], 0, length);
  placeMarks();
}

function drawLines() {
  for (const { of, row } of lines) {
    const svg = row.querySelector('svg');
    if (of) drawLine(svg, shareOf(of));
    else drawBars(svg, (place) => surprise[place] / facts.blind);
  }
}

function drawHeatMap() {
  const canvas = element('heat').firstChild;
  drawHeat(canvas, sortedUnits().map((unit) => levelsOf({ ...chosen(), unit })), windowFrom, windowTo);
  canvas.style.height = `${clamp(units, 160, 512)}px`;
  canvas.classList.toggle('many', units > 512);
}

const sortedUnits = () => signals.get(state.signal).order[facts.layers.indexOf(state.layer)];

/** Beneath the chart the characters themselves where they fit, else places. */
function drawAxis() {
  const axis = element('axis');
  const size = windowTo - windowFrom;
  const fits = axis.clientWidth / size >= 0.5 * parseFloat(getComputedStyle(axis).fontSize);
  axis.classList.toggle('letters', fits);
  const places = fits
    ? Array.from({ length: size }, (_, index) => windowFrom + index)
    : [0, 0.25, 0.5, 0.75, 1].map((share) => Math.round(windowFrom + share * (size - 1)));
  axis.replaceChildren(...places.map((place) =>
    make('span', fits && flags[place] & MATCH ? 'match' : '', fits ? markOf(place) : grouped(place))));
}

/** Put cursor, selection and chosen row where they belong; no figure is drawn anew for that. */
function placeMarks() {
  const timeline = element('timeline').style;
  const size = windowTo - windowFrom;
  const percent = (place) => `${(100 * clamp(place - windowFrom, 0, size)) / size}%`;
  const place = here();
  const inside = place >= windowFrom && place < windowTo;
  timeline.setProperty('--cursor', inside ? percent(place + 0.5) : '-99rem');
  timeline.setProperty('--cursor-of-all', `${(100 * (place + 0.5)) / length}%`);
  timeline.setProperty('--window', `${(100 * windowFrom) / length}%`);
  timeline.setProperty('--windowed', `${(100 * size) / length}%`);
  const [from, to] = state.select ?? [0, 0];
  timeline.setProperty('--stretch', percent(from));
  timeline.setProperty('--stretched', `calc(${percent(to)} - ${percent(from)})`);
  timeline.setProperty('--stretch-edge', state.select ? '1px' : '0');
  timeline.setProperty('--chosen', `${(100 * (sortedUnits().indexOf(state.unit) + 0.5)) / units}%`);
  for (const { of, row } of lines) {
    row.lastChild.textContent = of ? writtenValue(of, valueOf(of, place)) : written(surprise[place], 2);
  }
}

const shareAcross = (event, plot) => {
  const { left, width } = plot.getBoundingClientRect();
  return clamp((event.clientX - left) / width, 0, 1 - 1e-9);
};

function placeInTimeline(event) {
  const plot = event.target.closest('.plot');
  if (!plot) return null;
  const share = shareAcross(event, plot);
  return plot.id === 'whole' ? Math.floor(share * length) : windowFrom + Math.floor(share * (windowTo - windowFrom));
}

function unitInHeat(event) {
  const { top, height } = element('heat').getBoundingClientRect();
  return sortedUnits()[Math.floor(clamp((event.clientY - top) / height, 0, 1 - 1e-9) * units)];
}


// ---- Finding by expression ------------------------------------------------------------------------------------------

/** The text as a string, and for each of its code units the place it belongs to; bytes are read as UTF-8. */
function readable() {
  const [pieces, places] = [[], []];
  for (let place = 0; place < length;) {
    const [character, size] = facts.unit === 'byte' ? decodedAt(place) : [facts.symbols[characters[place]], 1];
    const piece = [...character].length > 1 ? '\ufffd' : character;
    pieces.push(piece);
    for (let index = 0; index < piece.length; index++) places.push(place);
    place += size;
  }
  places.push(length);
  return { string: pieces.join(''), places };
}

function decodedAt(place) {
  const byte = (at) => facts.symbols[characters[at]].charCodeAt(0);
  const first = byte(place);
  const size = first < 0xc2 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 1;
  if (place + size > length) return ['\ufffd', 1];
  const bytes = Uint8Array.from({ length: size }, (_, index) => byte(place + index));
  try {
    return [new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes), size];
  } catch {
    return ['\ufffd', 1];
  }
}

let searchable = null;
let found = { stretches: [], complaint: '' };

/** Find all matches; an expression that is none is told in words. */
function findMatches() {
  found = { stretches: [], complaint: '' };
  if (!state.find) return;
  searchable ??= readable();
  const pattern = facts.normalization ? state.find.normalize(facts.normalization) : state.find;
  let expression;
  try {
    expression = new RegExp(pattern, state.fold ? 'gimu' : 'gmu');
  } catch (error) {
    found.complaint = `This is no regular expression: ${error.message.replace(/^[\s\S]*: /, '').toLowerCase()}.`;
    return;
  }
  for (const match of searchable.string.matchAll(expression)) {
    const end = match.index + match[0].length;
    if (match[0]) found.stretches.push([searchable.places[match.index], searchable.places[end]]);
  }
  const empty = !found.stretches.length && expression.test(searchable.string);
  if (empty) found.complaint = 'It only matches between characters, where there is nothing to mark.';
}

/** The mean of the chosen unit inside and outside the matches. */
function meansInWords() {
  const value = course(chosen());
  const inside = new Uint8Array(length);
  for (const [from, to] of found.stretches) inside.fill(1, from, to);
  const sums = [0, 0];
  const sizes = [0, 0];
  for (let place = 0; place < length; place++) {
    sums[inside[place]] += value(place);
    sizes[inside[place]] += 1;
  }
  const [outside, within] = sums.map((sum, side) => writtenValue(chosen(), sum / sizes[side]));
  return `${nameOf(chosen())} is ${within} on average inside, ${outside} outside.`;
}

let means = '';

function drawFound(news) {
  const { stretches, complaint } = found;
  element('find').setAttribute('aria-invalid', String(complaint !== ''));
  element('match-before').disabled = element('match-after').disabled = stretches.length === 0;
  if (!state.find) element('found').textContent = 'For example "[^"]*" or ^\\w+ (^ and $ are the ends of a line).';
  else if (complaint || !stretches.length) element('found').textContent = complaint || 'No match.';
  else {
    if (news.size > 1 || !news.has('cursor')) means = meansInWords();
    const current = stretches.findIndex(([from, to]) => from <= state.cursor && state.cursor < to);
    const which = current < 0 ? '' : `${grouped(current + 1)} of `;
    element('found').textContent = `${which}${counted(stretches.length, 'match', 'matches')}; ${means}`;
  }
}

function goToMatch(direction) {
  const starts = found.stretches.map(([from]) => from);
  if (!starts.length) return;
  const next = direction > 0
    ? starts.find((start) => start > state.cursor) ?? starts[0]
    : starts.findLast((start) => start < state.cursor) ?? starts.at(-1);
  goTo(next);
}


// ---- Finding by activation ------------------------------------------------------------------------------------------

/* A unit is on where it is beyond a share of its scale: above it for gates, on either side for the others, but on the
   same side throughout. LSTMVis (Strobelt et al. 2018) asks which units are on in a stretch and off around it. */

const threshold = () => state.threshold ?? (signals.get(state.signal).gate ? 0.9 : 0.3);

/** For each side (1 above, −1 below) a table: level + 128 → whether a unit is on. */
function onTables() {
  const { gate } = signals.get(state.signal);
  const share = gate ? (level) => (level + 127) / 254 : (level) => level / 127;
  const levels = Array.from({ length: 256 }, (_, index) => index - 128);
  const isOn = (level, side) => level > -128 && side * share(level) > threshold();
  return (gate ? [1] : [1, -1]).map((side) => [side, Uint8Array.from(levels, (level) => isOn(level, side))]);
}

/** The units that are on throughout a stretch, each with its side, and off just before and after it if so asked. */
function unitsOn([from, to], tables, rows) {
  const answer = [];
  rows.forEach((levels, unit) => {
    for (const [side, on] of tables) {
      let place = from;
      while (place < to && on[levels[place] + 128]) place++;
      if (place < to) continue;
      const spills = (from > 0 && on[levels[from - 1] + 128]) || (to < length && on[levels[to] + 128]);
      if (!(state.apart && spills)) answer.push({ unit, side, on, levels });
    }
  });
  return answer;
}

/** The other stretches where at least half of the units are on together, in the order of LSTMVis: those that share most
    units with the answer first, then those where fewest others are on, then the longest. */
function agreeing(answer, tables, rows) {
  const together = new Uint16Array(length);
  for (const { on, levels } of answer) {
    for (let place = 0; place < length; place++) together[place] += on[levels[place] + 128];
  }
  const candidates = new Map();
  for (const needed of [1, 0.75, 0.5].map((share) => Math.max(1, Math.ceil(share * answer.length)))) {
    for (let from = 0; from < length; from++) {
      if (together[from] < needed) continue;
      let to = from;
      while (to < length && together[to] >= needed) to++;
      candidates.set(`${from}-${to}`, [from, to]);
      from = to;
    }
  }
  const asked = new Set(answer.map(({ unit, side }) => unit * 2 + (side > 0)));
  const ranked = [...candidates.values()].map((stretch) => {
    const there = unitsOn(stretch, tables, rows);
    const shared = there.filter(({ unit, side }) => asked.has(unit * 2 + (side > 0))).length;
    return { stretch, shared, others: there.length - shared, size: stretch[1] - stretch[0] };
  });
  ranked.sort((a, b) => b.shared - a.shared || a.others - b.others || b.size - a.size || a.stretch[0] - b.stretch[0]);
  const taken = new Uint8Array(length).fill(1, ...state.select);
  return ranked.filter(({ stretch, shared }) => {
    const free = shared && !taken.subarray(...stretch).includes(1);
    if (free) taken.fill(1, ...stretch);
    return free;
  });
}

const SHOWN = 20; // places in the list

const drawAnswer = whenStill(() => {
  const tables = onTables();
  const rows = Array.from({ length: units }, (_, unit) => levelsOf({ ...chosen(), unit }));
  const answer = state.select ? unitsOn(state.select, tables, rows) : [];
  const places = answer.length ? agreeing(answer, tables, rows) : [];
  drawAnswerUnits(answer);
  drawElsewhere(answer, places);
  flag(AGREES, places.slice(0, SHOWN).map(({ stretch }) => stretch));
  paintText();
}, 120);

function drawQuestion() {
  const { gate, bounded } = signals.get(state.signal);
  const usual = bounded ? '0.3' : '0.3 of its own largest value';
  const meaning = gate
    ? 'A gate is on while it is above a threshold, 0.9 unless you choose another.'
    : `A unit is on while it is beyond a threshold, above or below zero but on the same side throughout: ${usual}
       unless you choose another.`;
  element('question').textContent =
    `Select a stretch of the text: drag over it, or hold Shift and press →. ${meaning}`;
  element('on-words').textContent = gate ? 'above' : 'beyond ±';
  element('threshold').value = threshold();
  element('unselect').disabled = !state.select;
}

function drawAnswerUnits(answer) {
  const [from, to] = state.select ?? [0, 0];
  const of = `of ${state.signal}, layer ${state.layer},`;
  const where = to - from > 1 ? `places ${from} to ${to - 1}` : `place ${from}`;
  const asked = `on throughout ${where}${state.apart ? ' and off around' : ''}`;
  let said = 'Nothing is selected yet.';
  if (answer.length) said = `${counted(answer.length, 'unit')} ${of} ${answer.length === 1 ? 'is' : 'are'} ${asked}:`;
  else if (state.select) said = `No unit ${of} is ${asked}. Try a lower threshold or a shorter stretch.`;
  element('answer').textContent = said;
  element('answer-units').replaceChildren(...answer.map(({ unit, side }) => {
    const which = { ...chosen(), unit };
    const average = writtenValue(which, mean(course(which), from, to));
    const button = make('button', '', make('b', '', unit), ` ${side > 0 ? '+' : ''}${average}`);
    button.type = 'button';
    button.setAttribute('aria-label', `Unit ${unit}, ${average} on average`);
    button.setAttribute('aria-pressed', String(unit === state.unit));
    button.addEventListener('click', () => change({ unit }));
    return make('li', '', button);
  }));
  element('answer-units').hidden = !answer.length;
}

function drawElsewhere(answer, places) {
  for (const id of ['elsewhere-title', 'elsewhere-words', 'elsewhere']) element(id).hidden = !answer.length;
  const many = counted(places.length, 'other stretch', 'other stretches');
  const cut = places.length > SHOWN ? `; these are the first ${SHOWN}` : '';
  element('elsewhere-words').textContent = places.length
    ? `${many} with at least half of these units on; the same question is asked of each. First come those that share
       most units, then those with fewest others, then the longest${cut}.`
    : 'Nowhere else are half of these units on.';
  element('elsewhere').replaceChildren(...places.slice(0, SHOWN).map(({ stretch, shared, others, size }) => {
    const note = `${counted(size, 'character')} at place ${grouped(stretch[0])}`;
    const rest = others ? `, ${counted(others, 'other unit')} on too` : '';
    return contextLine(stretch, `${shared} of ${answer.length}`, note + rest);
  }));
}


// ---- Contexts, and the saturation of gates --------------------------------------------------------------------------

const AROUND = 44; // characters on either side; what does not fit is cut off
const APART = 12;
const STRONGEST = 6;

/** A line of text with a stretch marked; pressing it goes there. */
function contextLine([from, to], figure, note = '') {
  const shade = shader();
  const part = (name, start, end) => {
    const stretch = make('span', name);
    for (let place = Math.max(start, 0); place < Math.min(end, length); place++) {
      const span = make('span', '', markOf(place));
      span.style.backgroundColor = shade(place);
      stretch.append(span);
    }
    return stretch;
  };
  const parts = [part('before', from - AROUND, from), part('place', from, to), part('after', to, to + AROUND)];
  const line = make('button', 'context', make('span', 'figure', figure), ...parts);
  line.type = 'button';
  line.setAttribute('aria-label', `${figure}, ${note || `place ${from}`}. Go there.`);
  if (note) line.append(make('span', 'note', note));
  line.addEventListener('click', () => goTo(from));
  return make('li', '', line);
}

/** The places where levels are furthest in a direction, none near a further one; ties go to the earlier. */
function peaks(levels, direction) {
  const chosenPlaces = [];
  while (chosenPlaces.length < STRONGEST) {
    let best = -1;
    for (let place = 0; place < length; place++) {
      if (levels[place] === -128 || (best >= 0 && direction * levels[place] <= direction * levels[best])) continue;
      if (chosenPlaces.every((other) => Math.abs(other - place) >= APART)) best = place;
    }
    if (best < 0) break;
    chosenPlaces.push(best);
  }
  return chosenPlaces;
}

const drawContexts = whenStill(() => {
  const levels = levelsOf(chosen());
  element('strongest-unit').textContent = nameOf(chosen());
  const list = (id, places) => element(id).replaceChildren(...places.map((place) =>
    contextLine([place, place + 1], writtenValue(chosen(), valueOf(chosen(), place)))));
  list('highest', peaks(levels, 1));
  list('lowest', peaks(levels, -1));
  list('random', facts.random);
}, 80);

const panels = [...document.querySelectorAll('[data-gate]')];

/** Shares of the text for which each unit's gate was shut and open. */
function saturationOf(gate) {
  const row = facts.layers.indexOf(state.layer);
  const { shut, open } = facts.saturation[gate];
  return Array.from({ length: units }, (_, unit) => [shut[row][unit] / length, open[row][unit] / length]);
}

function saturationInWords(signal, unit) {
  const [shut, open] = saturationOf(signal)[unit].map((share) => written(100 * share, 1));
  return `${nameOf({ ...chosen(), signal, unit })}: shut ${shut} % of the time, open ${open} %`;
}

function drawGates(news) {
  for (const panel of panels) {
    const { gate } = panel.dataset;
    const spots = saturationOf(gate).map(([shut, open]) => ({ cx: 100 * shut, cy: 100 - 100 * open }));
    if (news.has('layer') || news.has('start')) {
      panel.querySelector('g').replaceChildren(...spots.map((spot) => makeShape('circle', { ...spot, r: 1.7 })));
    }
    panel.querySelector('.current').setAttribute('cx', spots[state.unit].cx);
    panel.querySelector('.current').setAttribute('cy', spots[state.unit].cy);
    panel.querySelector('figcaption').textContent = saturationInWords(gate, state.unit);
  }
}

/** The unit whose point is nearest to the pointer. */
function unitInPanel(panel, event) {
  const { left, top, width, height } = panel.querySelector('svg').getBoundingClientRect();
  const x = ((event.clientX - left) / width) * 106 - 3; // the picture reaches from −3 to 103
  const y = 103 - ((event.clientY - top) / height) * 106;
  const distances = saturationOf(panel.dataset.gate).map(([shut, open]) => Math.hypot(100 * shut - x, 100 * open - y));
  return distances.indexOf(Math.min(...distances));
}


// ---- The controls, the pointer and the keys -------------------------------------------------------------------------

function drawControls() {
  document.body.classList.toggle('by-surprise', state.colour === 'surprise');
  element('signal').value = state.signal;
  element('layer').value = state.layer;
  if (element('unit').valueAsNumber !== state.unit) element('unit').value = state.unit;
  document.querySelector(`input[name="colour"][value="${state.colour}"]`).checked = true;
  const [low, high] = state.colour === 'unit' ? rangeOf(chosen()) : ['0', `${written(facts.blind, 1)} bits`];
  element('scale-low').textContent = low;
  element('scale-high').textContent = high;
  element('coloured-by').textContent = state.colour === 'unit' ? nameOf(chosen()) : 'surprise';
  element('signal-words').textContent = signals.get(state.signal).words;
  if (element('find').value !== state.find) element('find').value = state.find;
  element('fold').checked = state.fold;
  element('apart').checked = state.apart;
  element('window').value = state.window;
}

const step = (list, current, by) => list[(list.indexOf(current) + by + list.length) % list.length];
const stepUnit = (by) => change({ unit: (state.unit + by + units) % units });
const stepRow = (by) => change({ unit: step(sortedUnits(), state.unit, by) });
const otherSignal = (signal) => change({ signal, threshold: null });

function zoom(by) {
  change({ window: windows[clamp(windows.indexOf(state.window) + by, 0, windows.length - 1)] });
}

/** Move the cursor; with Shift the selection follows it. */
function moveCursor(to, selecting) {
  const place = clamp(to, 0, length - 1);
  if (!selecting) {
    change({ cursor: place, probe: null });
    return;
  }
  const [from, end] = state.select ?? [state.cursor, state.cursor + 1];
  const anchor = state.cursor === from && end - from > 1 ? end - 1 : from; // the end that stays
  change({ cursor: place, probe: null, select: [Math.min(anchor, place), Math.max(anchor, place) + 1] });
}

function endOfLine(by) {
  const isBreak = (place) => facts.symbols[characters[place]] === '\n';
  let place = state.cursor;
  while (by < 0 ? place > 0 && !isBreak(place - 1) : place < length - 1 && !isBreak(place)) place += by;
  return place;
}

const LETTERS = {
  s: () => otherSignal(step([...signals.keys()], state.signal, 1)),
  l: () => change({ layer: step(facts.layers, state.layer, 1) }),
  c: () => change({ colour: state.colour === 'unit' ? 'surprise' : 'unit' }),
  k: toggleKept,
  '+': () => zoom(-1),
  '-': () => zoom(1),
  '/': () => element('find').select(),
  n: () => goToMatch(1),
  p: () => goToMatch(-1),
  '?': () => element('help').showModal(),
};

/** Keys that act in the text and in the figures; true if there was something to do. */
function pressInView(event) {
  const inHeat = element('heat').contains(event.target);
  switch (event.key) {
    case 'ArrowLeft': moveCursor(state.cursor - 1, event.shiftKey); return true;
    case 'ArrowRight': moveCursor(state.cursor + 1, event.shiftKey); return true;
    case 'ArrowUp': if (inHeat) stepRow(-1); else stepUnit(-1); return true;
    case 'ArrowDown': if (inHeat) stepRow(1); else stepUnit(1); return true;
    case 'Home': moveCursor(event.ctrlKey ? 0 : endOfLine(-1), event.shiftKey); return true;
    case 'End': moveCursor(event.ctrlKey ? length - 1 : endOfLine(1), event.shiftKey); return true;
    default: return false;
  }
}

function press(event) {
  if (event.altKey || event.metaKey || element('help').open) return;
  if (event.key === 'Escape') {
    showTip(event, null);
    if (event.target.matches('input, select')) text.focus();
    else unselect();
    return;
  }
  if (event.target.matches('input, select, textarea')) return;
  const inView = text.contains(event.target) || element('timeline').contains(event.target);
  const letter = !event.ctrlKey && element('letters').checked && LETTERS[event.key];
  if (letter) letter();
  if (letter || (inView && pressInView(event))) event.preventDefault();
}

let probedFrom = null; // the view that the pointer is in

/** Let a view show the place under the pointer everywhere, and take it for good when pressed. */
function probing(view, placeAt, press, tip) {
  view.addEventListener('pointermove', (event) => {
    if (event.pointerType === 'touch') return;
    const place = placeAt(event);
    probedFrom = view;
    showTip(event, place === null ? null : tip(place, event));
    change({ probe: place });
  });
  view.addEventListener('pointerleave', (event) => {
    showTip(event, null);
    change({ probe: null });
  });
  view.addEventListener('click', (event) => {
    const place = placeAt(event);
    if (place !== null) press(place, event);
  });
}

function listen() {
  probing(text, (event) => placeOfSpan.get(event.target) ?? null, (place) => {
    if (getSelection().isCollapsed) change({ cursor: place, select: null });
  }, (place) => atPlace(place));
  probing(strip, placeInStrip, (place) => change({ cursor: place }), (place) => atPlace(place));
  probing(element('timeline'), placeInTimeline, (place, event) => {
    const inHeat = element('heat').contains(event.target);
    change(inHeat ? { cursor: place, unit: unitInHeat(event) } : { cursor: place });
  }, (place, event) => {
    if (element('heat').contains(event.target)) return atPlace(place, { ...chosen(), unit: unitInHeat(event) });
    const line = lines.find(({ row }) => row.contains(event.target));
    return atPlace(place, line?.of ?? chosen());
  });
  for (const panel of panels) {
    const svg = panel.querySelector('svg');
    const signal = panel.dataset.gate;
    svg.addEventListener('click', (event) => change({ signal, unit: unitInPanel(panel, event), threshold: null }));
    svg.addEventListener('pointermove', (event) => {
      showTip(event, saturationInWords(signal, unitInPanel(panel, event)));
    });
    svg.addEventListener('pointerleave', (event) => showTip(event, null));
  }

  const on = (id, kind, act) => element(id).addEventListener(kind, act);
  on('signal', 'change', ({ target }) => otherSignal(target.value));
  on('layer', 'change', ({ target }) => change({ layer: Number(target.value) }));
  on('unit', 'input', ({ target }) => change({ unit: fields.unit.read(target.value) ?? state.unit }));
  on('unit', 'blur', ({ target }) => { target.value = state.unit; });
  on('unit-before', 'click', () => stepUnit(-1));
  on('unit-after', 'click', () => stepUnit(1));
  on('chooser', 'change', ({ target }) => { if (target.name === 'colour') change({ colour: target.value }); });
  on('find', 'input', ({ target }) => change({ find: target.value }));
  on('find', 'keydown', (event) => { if (event.key === 'Enter') goToMatch(event.shiftKey ? -1 : 1); });
  on('fold', 'change', ({ target }) => change({ fold: target.checked }));
  on('match-before', 'click', () => goToMatch(-1));
  on('match-after', 'click', () => goToMatch(1));
  on('window', 'change', ({ target }) => change({ window: Number(target.value) }));
  on('keep', 'click', toggleKept);
  on('download', 'click', download);
  on('threshold', 'change', ({ target }) => {
    const share = clamp(target.valueAsNumber, 0, 1);
    change({ threshold: Number.isNaN(share) ? null : Number(share.toFixed(4)) });
  });
  on('apart', 'change', ({ target }) => change({ apart: target.checked }));
  on('unselect', 'click', unselect);
  on('help-button', 'click', () => element('help').showModal());
  on('text', 'scroll', () => requestAnimationFrame(paintText));
  for (const form of ['chooser', 'finder']) on(form, 'submit', (event) => event.preventDefault());

  document.addEventListener('keydown', press);
  document.addEventListener('selectionchange', takeSelection);
  addEventListener('hashchange', () => change(readAddress()));
  addEventListener('beforeprint', () => paint(0, length));
  new ResizeObserver(() => {
    touched.add('size');
    change({});
  }).observe(text);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
    mixColours();
    touched.add('theme');
    change({});
  });
}


// ---- CSV ------------------------------------------------------------------------------------------------------------

/** The units of the chart over time, in the form of ``charlm inspect-hidden --format csv``. */
function asCsv() {
  const shown = lines.map(({ of }) => of).filter(Boolean);
  const columns = shown.map((which) => [course(which), clamp(Math.ceil(-Math.log10(scaleOf(which).step)), 0, 6)]);
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);
  const rows = [['position', 'character', ...shown.map(nameOf)]];
  for (let place = 0; place < length; place++) {
    rows.push([place, quoted(markOf(place)), ...columns.map(([value, digits]) => value(place).toFixed(digits))]);
  }
  return `${rows.map((row) => row.join(',')).join('\n')}\n`;
}

function download() {
  const link = make('a');
  link.href = URL.createObjectURL(new Blob([asCsv()], { type: 'text/csv' }));
  link.download = 'charlm-units.csv';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}


// ---- The beginning --------------------------------------------------------------------------------------------------

const UNIT = ['signal', 'layer', 'unit'];
const COLOUR = [...UNIT, 'colour', 'theme'];
const PLACE = ['cursor', 'probe'];

/** Each view, and the names of what it reads, in the order in which they are drawn. */
const views = [
  [drawControls, ...UNIT, 'colour', 'find', 'fold', 'apart', 'window'],
  [findMatches, 'find', 'fold'],
  [drawText, ...COLOUR, ...PLACE, 'find', 'fold', 'select', 'size'],
  [drawReadout, ...COLOUR, ...PLACE, 'loaded'],
  [drawExpected, ...PLACE],
  [drawStrip, ...COLOUR, ...PLACE, 'size'],
  [drawTimeline, ...COLOUR, ...PLACE, 'kept', 'window', 'select', 'find', 'fold', 'loaded', 'size'],
  [drawFound, ...UNIT, 'find', 'fold', 'cursor'],
  [drawQuestion, 'signal', 'select', 'threshold'],
  [drawAnswer, ...COLOUR, 'select', 'threshold', 'apart'],
  [drawContexts, ...COLOUR],
  [drawGates, ...UNIT],
  [keepInSight, ...PLACE, 'size', 'start'],
  [announce, ...UNIT, 'cursor'],
  [whenStill(writeAddress, 250), ...Object.keys(fields)],
];

Object.assign(state, readAddress());
await load(state.signal);
mixColours();
writeText();
touched.add('start');
render();
listen();
for (const name of signals.keys()) {
  await load(name);
  touched.add('loaded');
  change({});
}
render();
document.querySelector('main').removeAttribute('aria-busy');
window.charlm = { state, change, render, valueOf, characters, guesses, probabilities, surprise }; // for the console
