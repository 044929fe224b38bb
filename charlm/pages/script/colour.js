// ---- Colour ---------------------------------------------------------------------------------------------------------

let palette; // CSS colours of the levels from −128 on
let pixels; // the same, as the 32-bit values of a canvas
let surprisalPalette; // CSS colours from 0 bits to those of a uniform distribution

/** Read the colours from the style sheet, which has a light and a dark scheme. */
function mixColours() {
  const style = getComputedStyle(document.documentElement);
  const [low, middle, high, surprising] = ['--low', '--middle', '--high', '--surprisal'].map((name) =>
    [1, 3, 5].map((at) => parseInt(style.getPropertyValue(name).trim().slice(at, at + 2), 16)));
  const mix = (from, to, share) => from.map((value, index) => Math.round(value + (to[index] - value) * share));
  const shades = Array.from({ length: 256 }, (_, index) => {
    const share = clamp((index - 1) / 127 - 1, -1, 1); // −1 low, 0 middle, 1 high
    return mix(middle, share < 0 ? low : high, index ? Math.abs(share) : 0);
  });
  palette = shades.map((shade) => `rgb(${shade})`);
  pixels = Uint32Array.from(shades, ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red);
  surprisalPalette = Array.from({ length: 101 }, (_, index) => `rgb(${mix(middle, surprising, index / 100)})`);
}

/** Return a function from a place to its colour in the text. */
function shader() {
  if (state.colour === 'surprisal') {
    const share = (place) => clamp(surprisal[place] / facts.blind, 0, 1) || 0; // the first place has no surprisal
    return (place) => surprisalPalette[Math.round(100 * share(place))];
  }
  const levels = levelsOf(chosen());
  return (place) => palette[levels[place] + 128];
}
