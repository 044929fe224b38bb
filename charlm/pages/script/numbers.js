/* The inspector: the value of each unit after each character of a text, and the network's predictions.

   The parts in order: the data, the state, then one part for each figure of the page. Views do not redraw themselves:
   change({ unit: 3 }) records what changed, and the views that read it are redrawn in the next frame.

   A place is the position of a character, from 0. A stretch is a range [from, to) of places. A level is a quantized
   value: −127 is the bottom of its unit's scale, 127 the top, −128 not a number. */

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


// ---- The data -------------------------------------------------------------------------------------------------------

if (!globalThis.DecompressionStream) {
  element('trouble').textContent = 'This page needs a browser from 2023 or later.';
  element('trouble').hidden = false;
}

const facts = JSON.parse(element('facts').textContent);
const { length, units } = facts; // characters in the text, units in each layer
const signals = new Map(facts.signals.map((signal) => [signal.name, signal]));
const activity = new Map(); // a signal's name → its levels, layer by layer, unit by unit, over time

/** Return the decoded content of a script element (base64 of zlib-compressed bytes), and remove the element. */
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

/** Return the levels of a unit over time; undefined while its signal is being decoded. */
function levelsOf({ signal, layer, unit }) {
  const start = (facts.layers.indexOf(layer) * units + unit) * length;
  return activity.get(signal)?.subarray(start, start + length);
}

/** Return the range of a unit, and the distance between adjacent levels. */
function scaleOf({ signal, layer, unit }) {
  const { low, high } = signals.get(signal);
  const row = facts.layers.indexOf(layer);
  return { low: low[row][unit], high: high[row][unit], step: (high[row][unit] - low[row][unit]) / 254 };
}

/** Return a function from a place to a unit's value there; NaN while its signal is being decoded. */
function course(which) {
  const levels = levelsOf(which);
  const { low, step } = scaleOf(which);
  return (place) => (levels && levels[place] !== -128 ? low + (levels[place] + 127) * step : NaN);
}

/** Return the formatted ends of a unit's scale. */
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

/** Return a unit's value with as many digits as its levels resolve. */
const writtenValue = (which, value) => written(value, clamp(Math.ceil(-Math.log10(scaleOf(which).step)), 0, 6));
const grouped = (number) => number.toLocaleString('en');
const counted = (number, one, many = `${one}s`) => `${grouped(number)} ${number === 1 ? one : many}`;
const nameOf = ({ signal, layer, unit }) => `${signal} ${layer}:${unit}`;

const [characters, guesses, probabilities, surprisal] = await (async () => {
  const wide = facts.symbols.length > 65535 ? Uint32Array : Uint16Array;
  return [
    new wide(await unpack('characters')), // (length)
    new wide(await unpack('guesses')), // (guesses, length): row 0 is the likeliest next symbol after each place
    new Float32Array(await unpack('probabilities')), // (guesses, length)
    new Float32Array(await unpack('surprisal')), // (length): bits; NaN at the first place
  ];
})();

const markOf = (place) => facts.marks[characters[place]];

/** Return a symbol's mark for use outside the text, where a space would be invisible. */
const alone = (symbol) => (facts.marks[symbol] === ' ' ? '␣' : facts.marks[symbol]);

/** Return a symbol's name: U+000A, byte 0xC3, <unk>. */
function callName(symbol) {
  const name = facts.symbols[symbol];
  const point = name.codePointAt(0).toString(16).toUpperCase();
  if ([...name].length > 1) return name;
  return facts.unit === 'byte' ? `byte 0x${point.padStart(2, '0')}` : `U+${point.padStart(4, '0')}`;
}
