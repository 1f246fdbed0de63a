/* Mouse and finger on the wall.

   Mouse: a click moves the focus, with Ctrl it chooses or leaves out, with Shift it chooses a range, a double click
   opens the large view. Finger: a tap opens the large view, a long press chooses; while photos are chosen, a tap
   chooses too. */

const LONG = 450; // milliseconds

/** Follow mouse and finger on the wall. `look(number)` opens the large view, `retry()` saves what failed again. */
export function followPointer(wall, { look, retry }) {
  const { list } = wall;
  const cellAt = (event) => event.target.closest?.(".cell")?.cell;
  let press = null;
  let held = false; // whether the press that ends now was a long one

  list.addEventListener("pointerdown", (event) => {
    held = false;
    clearTimeout(press);
    const cell = cellAt(event);
    if (!cell || event.pointerType !== "touch") return;
    const { number } = cell;
    press = setTimeout(() => {
      held = true;
      wall.toggle(wall.placeOf(number));
      navigator.vibrate?.(15);
    }, LONG);
  });
  for (const name of ["pointerup", "pointercancel", "pointermove"]) {
    list.addEventListener(name, (event) => {
      if (name !== "pointermove" || Math.hypot(event.movementX, event.movementY) > 6) clearTimeout(press);
    });
  }
  list.addEventListener("contextmenu", (event) => {
    if (event.pointerType === "touch" || held) event.preventDefault();
  });
  list.addEventListener("mousedown", (event) => {
    if (event.shiftKey) event.preventDefault(); // else the browser marks text
  });
  list.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (!cell || held) return;
    list.focus({ preventScroll: true });
    if (cell.root.dataset.saved === "failed" && event.target.closest(".verdict")) {
      retry();
      return;
    }
    if (event.shiftKey) wall.focus(cell.index, { extend: true });
    else if (event.ctrlKey || event.metaKey || (event.pointerType === "touch" && wall.chosen.size)) {
      wall.focus(cell.index);
      wall.toggle(cell.index);
    } else {
      wall.focus(cell.index);
      if (event.pointerType === "touch") look(cell.number);
      else if (wall.chosen.size) wall.choose([]);
    }
  });
  list.addEventListener("dblclick", (event) => {
    const cell = cellAt(event);
    if (cell && !event.ctrlKey && !event.shiftKey && !event.metaKey) look(cell.number);
  });
}
