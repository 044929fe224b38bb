// ---- The values at one place ----------------------------------------------------------------------------------------

const bits = (value) => (Number.isNaN(value)
  ? 'first character, not predicted'
  : `${written(value, 2)} bits of surprisal`);

function drawReadout() {
  const place = here();
  const mark = make('span', 'mark', alone(characters[place]));
  mark.style.backgroundColor = shader()(place);
  element('place').replaceChildren(
    `Position ${grouped(place)} of ${grouped(length)}: `, mark,
    ` ${callName(characters[place])}, ${bits(surprisal[place])}`);
  const held = Array.from(signals.keys(), (signal) => {
    const which = { ...chosen(), signal };
    const value = make('dd', '', writtenValue(which, valueOf(which, place)));
    return make('div', signal === state.signal ? 'current' : '', make('dt', '', signal), value);
  });
  element('held').replaceChildren(make('div', '', `Unit ${state.layer}:${state.unit}`), ...held);
  element('sum').replaceChildren(...stepInWords(place).map((line) => make('span', '', line)));
  const share = state.colour === 'unit' ? shareOf(chosen())(place) : surprisal[place] / facts.blind;
  element('scale').style.setProperty('--mark', Number.isNaN(share) ? '-99rem' : `${clamp(share, 0, 1) * 100}%`);
}

/** Return the equations of the cell with their values at a place, those whose terms were all traced. */
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
  const percent = written(100 * 2 ** -surprisal[place + 1], 2);
  element('came').textContent = next < 0
    ? 'End of the text.'
    : `Next character: ${alone(next)} (${callName(next)}), predicted with ${percent} %: ${bits(surprisal[place + 1])}.`;
}

/** Announce the cursor's position to screen readers. */
const announce = whenStill(() => {
  element('live').textContent = `Position ${state.cursor}: ${atPlace(state.cursor)}`;
}, 200);

/** Return a short description of a place. */
function atPlace(place, which = chosen()) {
  const value = writtenValue(which, valueOf(which, place));
  return `${alone(characters[place])}, ${nameOf(which)} = ${value}, ${bits(surprisal[place])}`;
}

/** Show a tooltip at the pointer, or hide it. */
function showTip(event, words) {
  const tip = element('tip');
  tip.hidden = words === null;
  if (tip.hidden) return;
  tip.textContent = words;
  const left = clamp(event.clientX + 12, 4, innerWidth - tip.offsetWidth - 4);
  const above = event.clientY - tip.offsetHeight - 10;
  tip.style.translate = `${left}px ${above > 0 ? above : event.clientY + 20}px`;
}
