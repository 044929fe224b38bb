// ---- Search by regular expression -----------------------------------------------------------------------------------

/** Return the text as a string, and the place of each of its code units; bytes are decoded as UTF-8. */
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

/** Find all matches; an invalid expression is reported. */
function findMatches() {
  found = { stretches: [], complaint: '' };
  if (!state.find) return;
  searchable ??= readable();
  const pattern = facts.normalization ? state.find.normalize(facts.normalization) : state.find;
  let expression;
  try {
    expression = new RegExp(pattern, state.fold ? 'gimu' : 'gmu');
  } catch (error) {
    found.complaint = `Not a regular expression: ${error.message.replace(/^[\s\S]*: /, '').toLowerCase()}.`;
    return;
  }
  for (const match of searchable.string.matchAll(expression)) {
    const end = match.index + match[0].length;
    if (match[0]) found.stretches.push([searchable.places[match.index], searchable.places[end]]);
  }
  const empty = !found.stretches.length && expression.test(searchable.string);
  if (empty) found.complaint = 'All matches are empty, so there is nothing to mark.';
}

/** Return a sentence with the mean of the selected unit inside and outside the matches. */
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
  return `mean of ${nameOf(chosen())}: ${within} inside, ${outside} outside.`;
}

let means = '';

function drawFound(news) {
  const { stretches, complaint } = found;
  element('find').setAttribute('aria-invalid', String(complaint !== ''));
  element('match-before').disabled = element('match-after').disabled = stretches.length === 0;
  if (!state.find) element('found').textContent = 'For example "[^"]*" or ^\\w+ (^ and $ match at line ends).';
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
