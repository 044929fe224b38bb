// ---- Predictions below each character -------------------------------------------------------------------------------

const strip = element('strip');
let stripFrom = 0;

/** Return the start of a window of ``size`` places, moved by the least that shows ``place`` with some margin. */
function follow(from, size, place) {
  const room = Math.min(Math.floor(size / 8), 12);
  if (place < from - size || place > from + 2 * size) from = place - (size >> 1);
  from = Math.min(from, place - room);
  from = Math.max(from, place - size + 1 + room);
  return clamp(from, 0, Math.max(length - size, 0));
}

function drawStrip() {
  const letter = 1.05 * parseFloat(getComputedStyle(strip).fontSize);
  const columns = Math.min(length, Math.max(8, Math.floor(strip.clientWidth / letter)));
  const pointed = probedFrom === strip && state.probe !== null; // do not scroll while the pointer is inside
  stripFrom = pointed ? clamp(stripFrom, 0, length - columns) : follow(stripFrom, columns, here());
  const shade = shader();
  const rows = Array.from({ length: facts.guesses + 1 }, (_, rank) => {
    const row = make('tr');
    for (let place = stripFrom; place < stripFrom + columns; place++) {
      const cell = make(rank ? 'td' : 'th', place === here() ? 'here' : '');
      row.append(cell);
      if (rank === 0) {
        cell.append(make('span', '', markOf(place)));
        cell.style.backgroundColor = shade(place);
      } else if (place > 0) {
        const guess = (rank - 1) * length + place - 1;
        cell.append(make('span', guesses[guess] === characters[place] ? 'came' : '', alone(guesses[guess])));
        cell.style.backgroundColor = surprisalPalette[Math.round(probabilities[guess] * 100)];
      }
    }
    return row;
  });
  strip.replaceChildren(...rows);
}

function placeInStrip(event) {
  const cell = event.target.closest('td, th');
  return cell ? stripFrom + cell.cellIndex : null;
}
