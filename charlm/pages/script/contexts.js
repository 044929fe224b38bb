// ---- Contexts, and the saturation of gates --------------------------------------------------------------------------

const AROUND = 44; // characters on either side; text that does not fit is clipped
const APART = 12;
const STRONGEST = 6;

/** Return a line of text with a stretch marked; clicking it goes there. */
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
  line.setAttribute('aria-label', `${figure}, ${note || `position ${from}`}. Go there.`);
  if (note) line.append(make('span', 'note', note));
  line.addEventListener('click', () => goTo(from));
  return make('li', '', line);
}

/** Return the places of the highest (direction 1) or lowest (−1) levels, at least APART apart; ties: the earlier. */
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

/** Return the shares of the text for which each unit's gate was shut and open. */
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

/** Return the unit whose point is nearest to the pointer. */
function unitInPanel(panel, event) {
  const { left, top, width, height } = panel.querySelector('svg').getBoundingClientRect();
  const x = ((event.clientX - left) / width) * 106 - 3; // the view box ranges from −3 to 103
  const y = 103 - ((event.clientY - top) / height) * 106;
  const distances = saturationOf(panel.dataset.gate).map(([shut, open]) => Math.hypot(100 * shut - x, 100 * open - y));
  return distances.indexOf(Math.min(...distances));
}
