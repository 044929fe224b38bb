// ---- The text -------------------------------------------------------------------------------------------------------

const text = element('text');
const spans = [];
const placeOfSpan = new Map();
const flags = new Uint8Array(length); // a bit for each of FLAGS
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

/** Return the first place at or below a vertical offset, by binary search. */
function firstPlaceBelow(height) {
  let [from, to] = [0, length];
  while (from < to) {
    const middle = (from + to) >> 1;
    if (spans[middle].offsetTop < height) from = middle + 1;
    else to = middle;
  }
  return from;
}

/** Colour the visible text and a screen above and below it; the rest is coloured when scrolled to. */
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

/** Set a flag on the stretches and clear it elsewhere. */
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

/** Scroll the text to the current place; runs after the other views, because their size changes the text's. */
function keepInSight(news) {
  if (news.has('probe') && probedFrom === text) return;
  showPlace(here());
  paintText();
}

/** Scroll the text, and only the text, until a place is visible. */
function showPlace(place) {
  const { offsetTop, offsetHeight } = spans[place];
  const [top, screen] = [text.scrollTop, text.clientHeight];
  const inSight = offsetTop >= top + offsetHeight && offsetTop + 2 * offsetHeight <= top + screen;
  if (!inSight) text.scrollTop = offsetTop - screen / 2;
}

/** Move the cursor to a place, and scroll the page to the text if it is not visible. */
function goTo(place) {
  change({ cursor: place, probe: null });
  const { top, bottom } = text.getBoundingClientRect();
  if (bottom > 0 && top < innerHeight) return;
  const still = matchMedia('(prefers-reduced-motion: reduce)').matches;
  text.scrollIntoView({ block: 'center', behavior: still ? 'auto' : 'smooth' });
}

/** Return the number of characters of the text before a boundary of the browser's selection. */
function placesBefore(node, offset) {
  if (node === text) {
    let before = node.childNodes[offset - 1];
    while (before && !placeOfSpan.has(before)) before = before.previousSibling;
    return before ? placeOfSpan.get(before) + 1 : 0;
  }
  const span = placeOfSpan.has(node) ? node : node.parentNode;
  if (placeOfSpan.has(span)) return placeOfSpan.get(span) + (offset > 0 ? 1 : 0);
  return placeOfSpan.get(node.previousSibling) + 1; // in the line break that follows a newline
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
