// ---- The controls, the pointer and the keys -------------------------------------------------------------------------

function drawControls() {
  document.body.classList.toggle('by-surprisal', state.colour === 'surprisal');
  element('signal').value = state.signal;
  element('layer').value = state.layer;
  if (element('unit').valueAsNumber !== state.unit) element('unit').value = state.unit;
  document.querySelector(`input[name="colour"][value="${state.colour}"]`).checked = true;
  const [low, high] = state.colour === 'unit' ? rangeOf(chosen()) : ['0', `${written(facts.blind, 1)} bits`];
  element('scale-low').textContent = low;
  element('scale-high').textContent = high;
  element('coloured-by').textContent = state.colour === 'unit' ? nameOf(chosen()) : 'surprisal';
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
  const anchor = state.cursor === from && end - from > 1 ? end - 1 : from; // the end that does not move
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
  c: () => change({ colour: state.colour === 'unit' ? 'surprisal' : 'unit' }),
  k: toggleKept,
  '+': () => zoom(-1),
  '-': () => zoom(1),
  '/': () => element('find').select(),
  n: () => goToMatch(1),
  p: () => goToMatch(-1),
  '?': () => element('help').showModal(),
};

/** Handle a key in the text and in the figures; return whether it has a function. */
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

let probedFrom = null; // the view under the pointer

/** Make a view show the place under the pointer in all views, and select it when clicked. */
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
