// ---- Over time: a line for each selected unit, and a heat map of all ------------------------------------------------

const COLUMNS = 1000; // largest number of points that a figure draws
let windowFrom = 0;
let windowTo = length;

/** Divide [from, to) into at most COLUMNS bins and call ``visit`` with each bin's index, first place and end. */
function eachBin(from, to, visit) {
  const bins = Math.min(to - from, COLUMNS);
  for (let bin = 0; bin < bins; bin++) {
    const start = from + Math.floor((bin * (to - from)) / bins);
    visit(bin, start, from + Math.floor(((bin + 1) * (to - from)) / bins));
  }
  return bins;
}

/** Draw values from 0 (bottom) to 1 (top) as a line over an area; bins with several values span minimum to maximum. */
function drawLine(svg, share) {
  const [tops, bottoms] = [[], []];
  const bins = eachBin(windowFrom, windowTo, (bin, start, end) => {
    let [least, most] = [Infinity, -Infinity];
    for (let place = start; place < end; place++) {
      least = Math.min(least, share(place));
      most = Math.max(most, share(place));
    }
    if (!(least <= most)) [least, most] = [0.5, 0.5]; // not a number
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

/** The rows of the chart: surprisal, the selected unit, and the kept units. */
const lines = [];

function layLines() {
  const shown = [chosen(), ...state.kept.filter((which) => !sameUnit(which, chosen()))];
  lines.length = 0;
  lines.push({ of: null, row: lineRow('surprisal', `0 to ${written(facts.blind, 1)} bits`, 'bits') });
  shown.forEach((which, index) => {
    const row = lineRow(nameOf(which), rangeOf(which).join(' to '), index ? '' : 'current', index ? which : null);
    lines.push({ of: which, row });
  });
  element('lines').replaceChildren(...lines.map(({ row }) => row));
  const isKept = state.kept.some((which) => sameUnit(which, chosen()));
  element('keep').textContent = isKept ? 'Remove this unit from the chart' : 'Keep this unit in the chart';
}

function lineRow(name, range, kind, removable = null) {
  const label = make('span', 'name', make('span', '', name, make('small', '', range)));
  if (removable) {
    const button = make('button', '', '×');
    button.type = 'button';
    button.setAttribute('aria-label', `Remove ${name} from the chart`);
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
    else drawBars(svg, (place) => surprisal[place] / facts.blind);
  }
}

function drawHeatMap() {
  const canvas = element('heat').firstChild;
  drawHeat(canvas, sortedUnits().map((unit) => levelsOf({ ...chosen(), unit })), windowFrom, windowTo);
  canvas.style.height = `${clamp(units, 160, 512)}px`;
  canvas.classList.toggle('many', units > 512);
}

const sortedUnits = () => signals.get(state.signal).order[facts.layers.indexOf(state.layer)];

/** Draw the axis below the chart: the characters if they fit, otherwise positions. */
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

/** Move the cursor, the selection and the mark of the selected row; no figure is redrawn. */
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
    row.lastChild.textContent = of ? writtenValue(of, valueOf(of, place)) : written(surprisal[place], 2);
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
