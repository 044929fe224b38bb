// ---- Search by activation -------------------------------------------------------------------------------------------

/* A unit is on where its value exceeds a share of its scale: above it for gates, in either direction for the others,
   but in the same direction throughout. The search follows LSTMVis (Strobelt et al. 2018): units on in a stretch and
   off around it. */

const threshold = () => state.threshold ?? (signals.get(state.signal).gate ? 0.9 : 0.3);

/** Return for each side (1 above, −1 below) a table from level + 128 to whether a unit is on. */
function onTables() {
  const { gate } = signals.get(state.signal);
  const share = gate ? (level) => (level + 127) / 254 : (level) => level / 127;
  const levels = Array.from({ length: 256 }, (_, index) => index - 128);
  const isOn = (level, side) => level > -128 && side * share(level) > threshold();
  return (gate ? [1] : [1, -1]).map((side) => [side, Uint8Array.from(levels, (level) => isOn(level, side))]);
}

/** Return the units that are on throughout a stretch, with their sides; if requested, only those off around it. */
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

/** Return the other stretches where at least half of the units are on, ordered as in LSTMVis: by most units shared with
    the answer, then by fewest other units that are on, then by length. */
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

const SHOWN = 20; // stretches in the list

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
    ? 'A gate is on while it is above a threshold, 0.9 by default.'
    : `A unit is on while its absolute value exceeds a threshold and its sign does not change: ${usual} by default.`;
  element('question').textContent =
    `Select a stretch of the text to find the units that are on there: drag over it, or press Shift and →. ${meaning}`;
  element('on-words').textContent = gate ? 'above' : 'beyond ±';
  element('threshold').value = threshold();
  element('unselect').disabled = !state.select;
}

function drawAnswerUnits(answer) {
  const [from, to] = state.select ?? [0, 0];
  const of = `of ${state.signal}, layer ${state.layer},`;
  const where = to - from > 1 ? `positions ${from} to ${to - 1}` : `position ${from}`;
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
    ? `${many} with at least half of these units on, ordered by most units shared with the selection, then by fewest
       other units that are on, then by length${cut}.`
    : 'There is no other stretch with at least half of these units on.';
  element('elsewhere').replaceChildren(...places.slice(0, SHOWN).map(({ stretch, shared, others, size }) => {
    const note = `${counted(size, 'character')} at position ${grouped(stretch[0])}`;
    const rest = others ? `, ${counted(others, 'other unit')} on` : '';
    return contextLine(stretch, `${shared} of ${answer.length}`, note + rest);
  }));
}
