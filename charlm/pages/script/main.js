// ---- Start ----------------------------------------------------------------------------------------------------------

const UNIT = ['signal', 'layer', 'unit'];
const COLOUR = [...UNIT, 'colour', 'theme'];
const PLACE = ['cursor', 'probe'];

/** Each view and the parts of the state that it reads, in drawing order. */
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
window.charlm = { state, change, render, valueOf, characters, guesses, probabilities, surprisal }; // for the console
