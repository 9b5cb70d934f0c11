// A panel that is drawn late has its whole height before, so that nothing moves under the reader.
const rooms = [];

function keepRoom(box, fit) { rooms.push({ box, fit, wide: 0 }); }

// All widths are read before any height is set: the page is laid out once.
function giveRoom() {
  const changed = [];
  for (const room of rooms) {
    const wide = room.box.clientWidth;
    if (wide && wide !== room.wide) changed.push(Object.assign(room, { wide }));
  }
  for (const { fit, wide } of changed) fit(wide);
}
